/* data_geo_search: what lies within a circle or a box: GEOSEARCH, GEORADIUS and their kin. */
#include <stdlib.h>

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_geo.h"
#include "data/data_zset.h"

enum { WALKED_WHOLE = 512 }; /* members of a set that is not searched by cells */

enum order { ORDER_NONE, ORDER_NEAR, ORDER_FAR };

/* Which command it is, and where its options begin. */
struct form {
    bool has_place;  /* GEORADIUS: a place at argument 2, a radius and unit behind it */
    bool has_member; /* GEORADIUSBYMEMBER: a member there */
    bool may_store;  /* with STORE or STOREDIST */
    bool is_search;  /* GEOSEARCH and GEOSEARCHSTORE */
    uint32_t key_at;
    uint32_t store_at; /* GEOSEARCHSTORE; 0: none */
    uint32_t options_at;
};

struct search {
    struct data_call *call;
    const struct form *form;
    struct data_key key;
    struct geo_shape shape;
    double metres; /* of the unit */
    bool has_centre;
    bool has_shape;
    bool is_any;
    bool has_distance;
    bool has_hash;
    bool has_place;
    bool stores_distance;
    enum order order;
    int64_t count;     /* 0: all */
    uint32_t store_at; /* 0: a reply */
};

/* ---- arguments ---- */

static bool length_read(const struct data_call *call, uint32_t at, const char *error, double *v)
{
    if (text_to_double(call->argv[at], v)) { return true; }
    reply_error(call->reply, error);
    return false;
}

static bool radius_read(struct search *search, uint32_t at)
{
    const struct data_call *call = search->call;
    if (!length_read(call, at, "ERR need numeric radius", &search->shape.radius)) { return false; }
    if (search->shape.radius < 0) {
        reply_error(call->reply, "ERR radius cannot be negative");
        return false;
    }
    if (!arg_unit(call, at + 1, &search->metres)) { return false; }
    search->shape.radius *= search->metres;
    search->has_shape = true;
    return true;
}

static bool box_read(struct search *search, uint32_t at)
{
    const struct data_call *call = search->call;
    struct geo_shape *shape = &search->shape;
    if (!length_read(call, at, "ERR need numeric width", &shape->width) ||
        !length_read(call, at + 1, "ERR need numeric height", &shape->height)) {
        return false;
    }
    if (shape->width < 0 || shape->height < 0) {
        reply_error(call->reply, "ERR height or width cannot be negative");
        return false;
    }
    if (!arg_unit(call, at + 2, &search->metres)) { return false; }
    shape->width *= search->metres;
    shape->height *= search->metres;
    shape->is_box = true;
    search->has_shape = true;
    return true;
}

/* Of a key that is not there, any member is good. */
static bool member_read(struct search *search, uint32_t at)
{
    search->has_centre = true;
    if (!search->key.is_there ||
        geo_member(&search->key, search->call->argv[at], &search->shape.centre)) {
        return true;
    }
    reply_error(search->call->reply, "ERR could not decode requested zset member");
    return false;
}

static bool count_read(struct search *search, uint32_t at)
{
    if (!arg_int(search->call, at, &search->count)) { return false; }
    if (search->count > 0) { return true; }
    reply_error(search->call->reply, "ERR COUNT must be > 0");
    return false;
}

/* One word that stands alone. False: it is none. */
static bool word_read(struct search *search, uint32_t i)
{
    const struct data_call *call = search->call;
    if (arg_is(call, i, "WITHDIST")) {
        search->has_distance = true;
    } else if (arg_is(call, i, "WITHHASH")) {
        search->has_hash = true;
    } else if (arg_is(call, i, "WITHCOORD")) {
        search->has_place = true;
    } else if (arg_is(call, i, "ANY")) {
        search->is_any = true;
    } else if (arg_is(call, i, "ASC")) {
        search->order = ORDER_NEAR;
    } else if (arg_is(call, i, "DESC")) {
        search->order = ORDER_FAR;
    } else if (arg_is(call, i, "STOREDIST") && search->form->store_at != 0) {
        search->stores_distance = true;
    } else {
        return false;
    }
    return true;
}

/* Centre and shape of GEOSEARCH. False: it is none, or no good; *is_bad tells. */
static bool shape_option(struct search *search, uint32_t *i, bool *is_bad)
{
    const struct data_call *call = search->call;
    uint32_t at = *i + 1;
    uint32_t words = call->argc - at;
    bool is_good;
    if (words >= 1 && arg_is(call, *i, "FROMMEMBER") && !search->has_centre) {
        is_good = member_read(search, at);
        *i += 1;
    } else if (words >= 2 && arg_is(call, *i, "FROMLONLAT") && !search->has_centre) {
        is_good = arg_place(call, at, &search->shape.centre);
        search->has_centre = true;
        *i += 2;
    } else if (words >= 2 && arg_is(call, *i, "BYRADIUS") && !search->has_shape) {
        is_good = radius_read(search, at);
        *i += 2;
    } else if (words >= 3 && arg_is(call, *i, "BYBOX") && !search->has_shape) {
        is_good = box_read(search, at);
        *i += 3;
    } else {
        return false;
    }
    *is_bad = !is_good;
    return is_good;
}

static bool options_read(struct search *search)
{
    const struct data_call *call = search->call;
    const struct form *form = search->form;
    for (uint32_t i = form->options_at; i < call->argc; i++) {
        bool is_bad = false;
        if (word_read(search, i)) { continue; }
        if (form->is_search && shape_option(search, &i, &is_bad)) { continue; }
        if (is_bad) { return false; }
        if (arg_is_with_value(call, i, "COUNT")) {
            if (!count_read(search, ++i)) { return false; }
        } else if (form->may_store && (arg_is_with_value(call, i, "STORE") ||
                                       arg_is_with_value(call, i, "STOREDIST"))) {
            search->stores_distance = arg_is(call, i, "STOREDIST");
            search->store_at = ++i;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

/* Do the options fit each other? */
static bool options_fit(const struct search *search)
{
    struct reply *reply = search->call->reply;
    const struct form *form = search->form;
    if (search->store_at != 0 && (search->has_distance || search->has_hash || search->has_place)) {
        reply_errorf(reply,
                     "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     form->store_at != 0 ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    } else if (!search->has_centre) {
        reply_errorf(reply, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                     SLICE_ARG(search->call->argv[0]));
    } else if (!search->has_shape) {
        reply_errorf(reply, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
                     SLICE_ARG(search->call->argv[0]));
    } else if (search->is_any && search->count == 0) {
        reply_error(reply, "ERR the ANY argument requires COUNT argument");
    } else {
        return true;
    }
    return false;
}

static bool search_read(struct search *search)
{
    const struct form *form = search->form;
    if (form->has_place) {
        search->has_centre = true;
        if (!arg_place(search->call, 2, &search->shape.centre) || !radius_read(search, 4)) {
            return false;
        }
    }
    if (form->has_member) {
        if (!member_read(search, 2)) { return false; }
        search->has_shape = true;
        if (search->key.is_there && !radius_read(search, 3)) { return false; }
    }
    return options_read(search) && options_fit(search);
}

/* ---- what is found ---- */

struct point {
    uint64_t score;
    double distance;
    struct geo_place place;
    size_t name_at; /* in `names` */
    size_t name_len;
};

struct points {
    const struct search *search;
    struct point *point;
    size_t count;
    size_t room;
    struct buf names;
};

static bool is_enough(const struct points *points)
{
    const struct search *search = points->search;
    return search->is_any && points->count >= (uint64_t)search->count;
}

static void point_visit(void *arg, struct store_walk *walk)
{
    struct points *points = arg;
    struct point point = {.score = geo_score_bits(store_walk_score(walk))};
    point.place = geo_decode(point.score);
    if (is_enough(points) || !geo_contains(&points->search->shape, point.place, &point.distance)) {
        return;
    }
    struct slice name = store_walk_name(walk);
    point.name_at = points->names.len;
    point.name_len = name.len;
    buf_append(&points->names, name);
    if (points->count == points->room) {
        points->room = points->room > 0 ? points->room * 2 : 64;
        points->point = mem_resize(points->point, points->room * sizeof *points->point);
    }
    points->point[points->count++] = point;
}

static void points_find(struct points *points)
{
    const struct search *search = points->search;
    uint64_t count = search->key.object.count;
    if (count <= WALKED_WHOLE) {
        range_visit(&search->key, (struct rank_range){0, count}, false, point_visit, points);
        return;
    }
    struct geo_range cells[GEO_RANGES_MAX];
    uint32_t cell_count = geo_cover(&search->shape, cells);
    for (uint32_t i = 0; i < cell_count && !is_enough(points); i++) {
        const struct zset_range range = {
            .by = RANGE_BY_SCORE,
            .min = {.score = (double)cells[i].first},
            .max = {.score = (double)cells[i].end},
        };
        range_visit(&search->key, range_resolve(&search->key, &range), false, point_visit, points);
    }
}

static int by_distance(const void *a, const void *b)
{
    const struct point *one = a;
    const struct point *other = b;
    if (one->distance != other->distance) { return one->distance < other->distance ? -1 : 1; }
    return (one->name_at > other->name_at) - (one->name_at < other->name_at);
}

static int by_distance_down(const void *a, const void *b)
{
    return by_distance(b, a);
}

static void points_order(struct points *points)
{
    const struct search *search = points->search;
    enum order order = search->order;
    if (order == ORDER_NONE && search->count > 0 && !search->is_any) { order = ORDER_NEAR; }
    if (order != ORDER_NONE && points->count > 0) {
        qsort(points->point, points->count, sizeof *points->point,
              order == ORDER_NEAR ? by_distance : by_distance_down);
    }
    if (search->count > 0 && points->count > (uint64_t)search->count) {
        points->count = (size_t)search->count;
    }
}

/* ---- what is done with it ---- */

static struct slice point_name(const struct points *points, const struct point *point)
{
    return slice_of(points->names.data + point->name_at, point->name_len);
}

static void points_reply(const struct points *points)
{
    const struct search *search = points->search;
    struct reply *reply = search->call->reply;
    size_t more = (size_t)search->has_distance + search->has_hash + search->has_place;
    reply_array(reply, points->count);
    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->point[i];
        if (more > 0) { reply_array(reply, more + 1); }
        reply_bulk(reply, point_name(points, point));
        if (search->has_distance) { geo_reply_distance(reply, point->distance / search->metres); }
        if (search->has_hash) { reply_int(reply, (int64_t)point->score); }
        if (search->has_place) { geo_reply_place(reply, point->place); }
    }
}

static void points_store(const struct points *points)
{
    const struct search *search = points->search;
    struct data_key out = key_replace(search->call, search->call->argv[search->store_at]);
    for (size_t i = 0; i < points->count; i++) {
        const struct point *point = &points->point[i];
        zset_put(&out, point_name(points, point),
                 search->stores_distance ? point->distance / search->metres : (double)point->score);
    }
    key_replaced(&out, search->form->is_search ? "geosearchstore" : "georadiusstore", EVENT_ZSET);
}

static void search(struct data_call *call, const struct form *form)
{
    struct search search = {.call = call, .form = form, .metres = 1, .store_at = form->store_at};
    if (!key_open(call, call->argv[form->key_at], STORE_ZSET, &search.key)) { return; }
    if (!search_read(&search)) { return; }
    struct points points = {.search = &search};
    if (search.key.is_there) { points_find(&points); }
    points_order(&points);
    if (search.store_at != 0) {
        points_store(&points);
    } else {
        points_reply(&points);
    }
    mem_free(points.point);
    buf_fini(&points.names);
}

void data_georadius(struct data_call *call)
{
    static const struct form form = {
        .has_place = true, .may_store = true, .key_at = 1, .options_at = 6};
    search(call, &form);
}

void data_georadius_ro(struct data_call *call)
{
    static const struct form form = {.has_place = true, .key_at = 1, .options_at = 6};
    search(call, &form);
}

void data_georadiusbymember(struct data_call *call)
{
    static const struct form form = {
        .has_member = true, .may_store = true, .key_at = 1, .options_at = 5};
    search(call, &form);
}

void data_georadiusbymember_ro(struct data_call *call)
{
    static const struct form form = {.has_member = true, .key_at = 1, .options_at = 5};
    search(call, &form);
}

void data_geosearch(struct data_call *call)
{
    static const struct form form = {.is_search = true, .key_at = 1, .options_at = 2};
    search(call, &form);
}

void data_geosearchstore(struct data_call *call)
{
    static const struct form form = {
        .is_search = true, .key_at = 2, .store_at = 1, .options_at = 3};
    search(call, &form);
}
