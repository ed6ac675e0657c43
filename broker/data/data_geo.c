/* data_geo: places as members of sorted sets. */
#include "data/data_geo.h"

#include <stdio.h>

#include "base/mem.h"
#include "data/data_args.h"
#include "store/store_zset.h"

/* ---- arguments and replies ---- */

bool arg_place(const struct data_call *call, uint32_t at, struct geo_place *place)
{
    if (!arg_double(call, at, &place->lon) || !arg_double(call, at + 1, &place->lat)) {
        return false;
    }
    if (geo_is_place(*place)) { return true; }
    reply_errorf(call->reply, "ERR invalid longitude,latitude pair %f,%f", place->lon, place->lat);
    return false;
}

bool arg_unit(const struct data_call *call, uint32_t at, double *metres)
{
    static const struct {
        const char *word;
        double metres;
    } units[] = {{"M", 1}, {"KM", 1000}, {"FT", 0.3048}, {"MI", 1609.34}};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (!arg_is(call, at, units[i].word)) { continue; }
        *metres = units[i].metres;
        return true;
    }
    reply_error(call->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

bool geo_member(const struct data_key *key, struct slice member, struct geo_place *place)
{
    double score;
    if (!key->is_there || !store_zset_score(key->call->txn, &key->object, member, &score)) {
        return false;
    }
    *place = geo_decode(geo_score_bits(score));
    return true;
}

void geo_reply_distance(struct reply *reply, double v)
{
    char text[512];
    reply_bulk(reply, slice_of(text, (size_t)snprintf(text, sizeof text, "%.4f", v)));
}

void geo_reply_place(struct reply *reply, struct geo_place place)
{
    char text[FLOAT_TEXT_MAX];
    reply_array(reply, 2);
    reply_double_text(reply, slice_of(text, long_double_to_text(place.lon, text)));
    reply_double_text(reply, slice_of(text, long_double_to_text(place.lat, text)));
}

/* ---- GEOADD ---- */

/* A score is below 2^54, so that its digits are all of it. */
enum { SCORE_TEXT_BYTES = 20 };

/* As ZADD: options, scores for places, members. */
static void add(struct data_call *call, uint32_t places_at)
{
    uint32_t count = (call->argc - places_at) / 3;
    struct slice *argv = mem_new((places_at + 2 * count) * sizeof *argv);
    char *scores = mem_new(count * SCORE_TEXT_BYTES + 1);
    memcpy(argv, call->argv, places_at * sizeof *argv);
    argv[0] = SLICE("zadd");
    bool is_good = true;
    for (uint32_t i = 0; is_good && i < count; i++) {
        struct geo_place place;
        is_good = arg_place(call, places_at + 3 * i, &place);
        if (!is_good) { break; }
        char *text = scores + i * SCORE_TEXT_BYTES;
        argv[places_at + 2 * i] = slice_of(text, uint64_to_text(geo_encode(place), text));
        argv[places_at + 2 * i + 1] = call->argv[places_at + 3 * i + 2];
    }
    if (is_good) {
        struct data_call zadd = *call;
        zadd.argv = argv;
        zadd.argc = places_at + 2 * count;
        data_zadd(&zadd);
        call->hits = zadd.hits;
        call->misses = zadd.misses;
    }
    mem_free(argv);
    mem_free(scores);
}

void data_geoadd(struct data_call *call)
{
    uint32_t at = 2;
    bool is_nx = false;
    bool is_xx = false;
    for (;; at++) {
        if (arg_is(call, at, "NX")) {
            is_nx = true;
        } else if (arg_is(call, at, "XX")) {
            is_xx = true;
        } else if (!arg_is(call, at, "CH")) {
            break;
        }
    }
    if ((call->argc - at) % 3 != 0 || at >= call->argc || (is_nx && is_xx)) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    add(call, at);
}

/* ---- members ---- */

void data_geodist(struct data_call *call)
{
    double metres = 1;
    struct data_key key;
    struct geo_place places[2];
    if (call->argc > 5) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (call->argc == 5 && !arg_unit(call, 4, &metres)) { return; }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    if (!geo_member(&key, call->argv[2], &places[0]) ||
        !geo_member(&key, call->argv[3], &places[1])) {
        reply_null(call->reply);
        return;
    }
    geo_reply_distance(call->reply, geo_distance(places[0], places[1]) / metres);
}

void data_geohash(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        struct geo_place place;
        char text[GEO_TEXT_BYTES];
        if (geo_member(&key, call->argv[i], &place)) {
            geo_text(place, text);
            reply_bulk(call->reply, slice_of(text, sizeof text));
        } else {
            reply_null(call->reply);
        }
    }
}

void data_geopos(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        struct geo_place place;
        if (geo_member(&key, call->argv[i], &place)) {
            geo_reply_place(call->reply, place);
        } else {
            reply_null_array(call->reply);
        }
    }
}
