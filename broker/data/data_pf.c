/* data_pf: HyperLogLog counters. */
#include "base/buf.h"
#include "data/data_args.h"
#include "data/data_hll.h"
#include "data/data_text.h"

static const char damaged[] = "INVALIDOBJ Corrupted HLL object detected";

/* Open a counter, or a key that is not there. `text` gets its bytes. False: it is none, and the reply says so. */
static bool hll_open(struct data_call *call, struct slice name, struct data_key *key,
                     struct buf *text)
{
    struct buf scratch = {0};
    if (!key_open(call, name, STORE_STRING, key)) { return false; }
    text->len = 0;
    if (!key->is_there) { return true; }
    buf_append(text, text_of(key, &scratch));
    buf_fini(&scratch);
    if (hll_is_one(buf_slice(text))) { return true; }
    reply_error(call->reply, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    return false;
}

static void hll_save(struct data_key *key, struct buf *text)
{
    text_assign(key, buf_slice(text));
    key->object.encoding = TEXT_ENCODING_RAW;
    key_save(key, "pfadd", EVENT_STRING);
}

static void add(struct data_call *call, struct data_key *key, struct buf *text)
{
    bool is_changed = !key->is_there;
    if (!key->is_there) { hll_new(text); }
    for (uint32_t i = 2; i < call->argc; i++) {
        bool is_higher;
        if (!hll_add(text, call->argv[i], &is_higher)) {
            reply_error(call->reply, damaged);
            return;
        }
        is_changed = is_changed || is_higher;
    }
    if (is_changed) { hll_save(key, text); }
    reply_int(call->reply, is_changed);
}

void data_pfadd(struct data_call *call)
{
    struct data_key key;
    struct buf text = {0};
    if (hll_open(call, call->argv[1], &key, &text)) { add(call, &key, &text); }
    buf_fini(&text);
}

/* Raise the registers to those of the keys from argument `at` on. False: the reply says why. */
static bool merge_all(struct data_call *call, uint32_t at, uint8_t registers[HLL_REGISTERS],
                      bool *is_dense)
{
    struct buf text = {0};
    bool is_good = true;
    for (uint32_t i = at; is_good && i < call->argc; i++) {
        struct data_key key;
        is_good = hll_open(call, call->argv[i], &key, &text);
        if (!is_good || !key.is_there) { continue; }
        *is_dense = *is_dense || hll_is_dense(buf_slice(&text));
        is_good = hll_merge(buf_slice(&text), registers);
        if (!is_good) { reply_error(call->reply, damaged); }
    }
    buf_fini(&text);
    return is_good;
}

/* Of one key, as its head has it if that still holds. Counting is a read: it does not renew the head. */
static bool count_cached(struct data_call *call)
{
    struct buf text = {0};
    struct data_key key;
    uint64_t count = 0;
    bool is_answered = true;
    if (hll_open(call, call->argv[1], &key, &text)) {
        is_answered = !key.is_there || hll_cached(buf_slice(&text), &count);
        if (is_answered) { reply_int(call->reply, (int64_t)count); }
    }
    buf_fini(&text);
    return is_answered;
}

void data_pfcount(struct data_call *call)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    bool is_dense = false;
    if (call->argc == 2 && count_cached(call)) { return; }
    if (!merge_all(call, 1, registers, &is_dense)) { return; }
    reply_int(call->reply, (int64_t)hll_estimate(registers));
}

void data_pfmerge(struct data_call *call)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    bool is_dense = false;
    if (!merge_all(call, 1, registers, &is_dense)) { return; }
    struct data_key key = key_find(call, call->argv[1]);
    struct buf text = {0};
    hll_make(&text, registers, is_dense);
    hll_save(&key, &text);
    buf_fini(&text);
    reply_ok(call->reply);
}

/* ---- PFDEBUG ---- */

/* Gives: it was sparse. */
static bool make_dense(struct data_key *key, struct buf *text, uint8_t registers[HLL_REGISTERS])
{
    if (hll_is_dense(buf_slice(text))) { return false; }
    hll_make(text, registers, true);
    hll_save(key, text);
    return true;
}

enum { DEBUG_ENCODING, DEBUG_TODENSE, DEBUG_GETREG, DEBUG_DECODE, DEBUG_VERBS };

static uint32_t debug_verb(const struct data_call *call)
{
    static const char *const words[] = {"ENCODING", "TODENSE", "GETREG", "DECODE"};
    uint32_t verb = 0;
    while (verb < DEBUG_VERBS && !arg_is(call, 1, words[verb])) {
        verb++;
    }
    return verb;
}

static void runs_reply(struct reply *reply, const struct buf *text)
{
    struct buf out = {0};
    if (hll_is_dense(buf_slice(text))) {
        reply_error(reply, "ERR HLL encoding is not sparse");
    } else if (!hll_runs_text(buf_slice(text), &out)) {
        reply_error(reply, damaged);
    } else {
        reply_bulk(reply, buf_slice(&out));
    }
    buf_fini(&out);
}

static void debug(struct data_call *call, struct data_key *key, struct buf *text)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    uint32_t verb = debug_verb(call);
    if (verb == DEBUG_VERBS) {
        reply_errorf(call->reply, "ERR Unknown PFDEBUG subcommand '%.*s'",
                     (int)(call->argv[1].len < 128 ? call->argv[1].len : 128), call->argv[1].data);
    } else if (verb == DEBUG_ENCODING) {
        reply_status(call->reply, hll_is_dense(buf_slice(text)) ? "dense" : "sparse");
    } else if (verb == DEBUG_DECODE) {
        runs_reply(call->reply, text);
    } else if (!hll_merge(buf_slice(text), registers)) {
        reply_error(call->reply, damaged);
    } else if (verb == DEBUG_TODENSE) {
        reply_int(call->reply, make_dense(key, text, registers));
    } else {
        (void)make_dense(key, text, registers);
        reply_array(call->reply, HLL_REGISTERS);
        for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
            reply_int(call->reply, registers[i]);
        }
    }
}

void data_pfdebug(struct data_call *call)
{
    struct data_key key;
    struct buf text = {0};
    if (hll_open(call, call->argv[2], &key, &text)) {
        if (key.is_there) {
            debug(call, &key, &text);
        } else {
            reply_error(call->reply, "ERR The specified key does not exist");
        }
    }
    buf_fini(&text);
}
