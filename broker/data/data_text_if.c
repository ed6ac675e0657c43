/* data_text_if: conditions on a string's text; DELEX, DIGEST, MSETEX. */
#include "data/data_text_if.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/data_args.h"
#include "data/data_expiry.h"

enum { DIGEST_BYTES = 16 }; /* in hexadecimal */

static void digest_of(struct slice text, char out[DIGEST_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t digest = XXH3_64bits(text.data, text.len);
    for (int i = DIGEST_BYTES - 1; i >= 0; i--, digest >>= 4) {
        out[i] = digits[digest & 15];
    }
}

/* ---- conditions ---- */

bool arg_is_condition(const struct data_call *call, uint32_t i, struct text_condition *condition)
{
    static const struct {
        const char *word;
        struct text_condition condition;
    } words[] = {{"IFEQ", {.is_given = true}},
                 {"IFNE", {.is_given = true, .is_not = true}},
                 {"IFDEQ", {.is_given = true, .is_digest = true}},
                 {"IFDNE", {.is_given = true, .is_digest = true, .is_not = true}}};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!arg_is_with_value(call, i, words[w].word)) { continue; }
        *condition = words[w].condition;
        return true;
    }
    return false;
}

static bool is_hexadecimal(struct slice text)
{
    bool is_good = text.len == DIGEST_BYTES;
    for (size_t i = 0; is_good && i < text.len; i++) {
        char c = text.data[i];
        is_good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    }
    return is_good;
}

bool text_condition_is_good(const struct data_call *call, uint32_t i,
                            struct text_condition *condition)
{
    condition->text = call->argv[i];
    if (!condition->is_digest || is_hexadecimal(condition->text)) { return true; }
    reply_errorf(call->reply, "ERR digest must be exactly %d hexadecimal characters", DIGEST_BYTES);
    return false;
}

bool text_condition_holds(const struct text_condition *condition, const struct data_key *key)
{
    if (!key->is_there) { return condition->is_not; }
    struct buf scratch = {0};
    struct slice text = text_of(key, &scratch);
    char digest[DIGEST_BYTES];
    bool is_equal;
    if (condition->is_digest) {
        digest_of(text, digest);
        is_equal = slice_equal_nocase(slice_of(digest, sizeof digest), condition->text);
    } else {
        is_equal = slice_equal(text, condition->text);
    }
    buf_fini(&scratch);
    return is_equal != condition->is_not;
}

/* ---- DIGEST, DELEX ---- */

void data_digest(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    if (!key.is_there) {
        reply_null(call->reply);
        return;
    }
    struct buf scratch = {0};
    char digest[DIGEST_BYTES];
    digest_of(text_of(&key, &scratch), digest);
    buf_fini(&scratch);
    reply_bulk(call->reply, slice_of(digest, sizeof digest));
}

void data_delex(struct data_call *call)
{
    struct text_condition condition = {.is_given = false};
    bool is_good = call->argc == 2 || (call->argc == 4 && arg_is_condition(call, 2, &condition));
    if (!is_good) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (condition.is_given && !text_condition_is_good(call, 3, &condition)) { return; }
    struct data_key key = key_find(call, call->argv[1]);
    if (condition.is_given && key.is_there && key.object.type != STORE_STRING) {
        reply_error(call->reply, data_wrong_type);
        return;
    }
    bool may = key.is_there && (!condition.is_given || text_condition_holds(&condition, &key));
    if (may) { key_remove(&key, "del", EVENT_GENERIC); }
    reply_int(call->reply, may);
}

/* ---- MSETEX ---- */

struct msetex {
    uint32_t pairs_end;
    bool is_nx;
    bool is_xx;
    bool keeps_ttl;
    bool has_expiry;
    uint32_t expiry_at;
    struct expiry_unit unit;
    uint64_t expire_ms;
};

static bool msetex_options(struct data_call *call, struct msetex *set)
{
    for (uint32_t i = set->pairs_end; i < call->argc; i++) {
        bool has_ttl = set->keeps_ttl || set->has_expiry;
        if (arg_is(call, i, "NX") && !set->is_xx) {
            set->is_nx = true;
        } else if (arg_is(call, i, "XX") && !set->is_nx) {
            set->is_xx = true;
        } else if (arg_is(call, i, "KEEPTTL") && !set->has_expiry) {
            set->keeps_ttl = true;
        } else if (!has_ttl && arg_is_expiry(call, i, &set->unit)) {
            set->has_expiry = true;
            set->expiry_at = ++i;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return !set->has_expiry || arg_expiry(call, set->expiry_at, set->unit, &set->expire_ms);
}

static bool msetex_read(struct data_call *call, struct msetex *set)
{
    int64_t count;
    if (!arg_int_in(call, 1, 1, INT32_MAX, "ERR invalid numkeys value", &count)) { return false; }
    if (2 * count > (int64_t)call->argc - 2) {
        reply_error(call->reply, "ERR wrong number of arguments for 'msetex' command");
        return false;
    }
    set->pairs_end = (uint32_t)(2 + 2 * count);
    return msetex_options(call, set);
}

void data_msetex(struct data_call *call)
{
    struct msetex set = {.is_nx = false};
    if (!msetex_read(call, &set)) { return; }
    bool may = true;
    for (uint32_t i = 2; i < set.pairs_end; i += 2) {
        bool is_there = key_find(call, call->argv[i]).is_there;
        may = may && !(is_there ? set.is_nx : set.is_xx);
    }
    for (uint32_t i = 2; may && i < set.pairs_end; i += 2) {
        struct data_key key = key_find(call, call->argv[i]);
        text_set(&key, call->argv[i + 1], set.keeps_ttl ? key.object.expire_ms : set.expire_ms);
        if (set.has_expiry) { key_changed(call, key.ref.name, "expire", EVENT_GENERIC); }
    }
    reply_int(call->reply, may);
}
