/* data_list: lists. */
#include "data/data_list.h"

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_encoding.h"

static const char *push_event(enum store_end end)
{
    return end == STORE_HEAD ? "lpush" : "rpush";
}

static const char *pop_event(enum store_end end)
{
    return end == STORE_HEAD ? "lpop" : "rpop";
}

bool arg_end(const struct data_call *call, uint32_t i, enum store_end *end)
{
    *end = arg_is(call, i, "LEFT") ? STORE_HEAD : STORE_TAIL;
    return *end == STORE_HEAD || arg_is(call, i, "RIGHT");
}

/* ---- pushing ---- */

static void list_push(struct data_key *key, enum store_end end, struct slice element)
{
    struct store_object *list = key_make(key, STORE_LIST);
    store_list_push(key->call->txn, list, end, element);
    encoding_note(list, element);
}

static void push(struct data_call *call, enum store_end end, bool needs_list)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (needs_list && !key.is_there) {
        reply_int(call->reply, 0);
        return;
    }
    for (uint32_t i = 2; i < call->argc; i++) {
        list_push(&key, end, call->argv[i]);
    }
    key_save(&key, push_event(end), EVENT_LIST);
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_lpush(struct data_call *call)
{
    push(call, STORE_HEAD, false);
}

void data_rpush(struct data_call *call)
{
    push(call, STORE_TAIL, false);
}

void data_lpushx(struct data_call *call)
{
    push(call, STORE_HEAD, true);
}

void data_rpushx(struct data_call *call)
{
    push(call, STORE_TAIL, true);
}

/* ---- popping ---- */

void list_pop(struct data_key *key, enum store_end end, struct buf *out)
{
    store_list_pop(key->call->txn, &key->object, end, out);
    key_save(key, pop_event(end), EVENT_LIST);
}

void list_pop_many(struct data_key *key, enum store_end end, uint64_t count)
{
    struct data_call *call = key->call;
    struct buf out = {0};
    if (count > key->object.count) { count = key->object.count; }
    reply_array(call->reply, count);
    for (uint64_t i = 0; i < count; i++) {
        out.len = 0;
        store_list_pop(call->txn, &key->object, end, &out);
        reply_bulk(call->reply, buf_slice(&out));
    }
    buf_fini(&out);
    if (count > 0) { key_save(key, pop_event(end), EVENT_LIST); }
}

static void pop(struct data_call *call, enum store_end end)
{
    int64_t count = 1;
    bool has_count = call->argc == 3;
    struct data_key key;
    if (call->argc > 3) {
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", pop_event(end));
        return;
    }
    if (!arg_count(call, 2, &count)) { return; }
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (!key.is_there && has_count) {
        reply_null_array(call->reply);
    } else if (!key.is_there) {
        reply_null(call->reply);
    } else if (has_count) {
        list_pop_many(&key, end, (uint64_t)count);
    } else {
        struct buf out = {0};
        list_pop(&key, end, &out);
        reply_bulk(call->reply, buf_slice(&out));
        buf_fini(&out);
    }
}

void data_lpop(struct data_call *call)
{
    pop(call, STORE_HEAD);
}

void data_rpop(struct data_call *call)
{
    pop(call, STORE_TAIL);
}

/* ---- looking ---- */

void data_llen(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

/* Redis's index as one from the head. False: it is outside. */
static bool index_of(const struct data_key *key, int64_t given, uint64_t *index)
{
    int64_t count = (int64_t)key->object.count;
    if (given < 0) { given += count; }
    *index = (uint64_t)given;
    return given >= 0 && given < count;
}

void data_lindex(struct data_call *call)
{
    int64_t given;
    uint64_t index;
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (!key.is_there) {
        reply_null(call->reply);
        return;
    }
    if (!arg_int(call, 2, &given)) { return; }
    struct buf out = {0};
    if (index_of(&key, given, &index) && store_list_get(call->txn, &key.object, index, &out)) {
        reply_bulk(call->reply, buf_slice(&out));
    } else {
        reply_null(call->reply);
    }
    buf_fini(&out);
}

void data_lrange(struct data_call *call)
{
    int64_t start;
    int64_t end;
    struct data_key key;
    if (!arg_int(call, 2, &start) || !arg_int(call, 3, &end)) { return; }
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (!key.is_there || !range_clamp(&start, &end, key.object.count)) {
        reply_array(call->reply, 0);
        return;
    }
    struct store_walk walk;
    reply_array(call->reply, (size_t)(end - start + 1));
    bool any = store_list_walk(&walk, call->txn, &key.object, (uint64_t)start, STORE_UP);
    for (int64_t i = start; any && i <= end; i++, any = store_walk_next(&walk)) {
        reply_bulk(call->reply, store_walk_value(&walk));
    }
    store_walk_end(&walk);
}

struct lpos {
    int64_t rank;
    int64_t count; /* 0: all; -1: one, as a number and not an array */
    int64_t length_max;
};

static bool lpos_options(struct data_call *call, struct lpos *lpos)
{
    *lpos = (struct lpos){1, -1, 0};
    for (uint32_t i = 3; i < call->argc; i += 2) {
        if (arg_is_with_value(call, i, "RANK")) {
            if (!arg_int(call, i + 1, &lpos->rank)) { return false; }
            if (lpos->rank == INT64_MIN) {
                lpos->rank = -INT64_MAX;
            } /* as far from the end as any */
            if (lpos->rank == 0) {
                reply_error(call->reply,
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from "
                            "the second ... or use negative to start from the end of the list");
                return false;
            }
        } else if (arg_is_with_value(call, i, "COUNT")) {
            if (!arg_int_in(call, i + 1, 0, INT64_MAX, "ERR COUNT can't be negative",
                            &lpos->count)) {
                return false;
            }
        } else if (arg_is_with_value(call, i, "MAXLEN")) {
            if (!arg_int_in(call, i + 1, 0, INT64_MAX, "ERR MAXLEN can't be negative",
                            &lpos->length_max)) {
                return false;
            }
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

/* Indexes of the element, as int64_t. */
static void lpos_find(const struct data_key *key, const struct lpos *lpos, struct buf *found)
{
    struct data_call *call = key->call;
    bool is_up = lpos->rank > 0;
    int64_t skip = (is_up ? lpos->rank : -lpos->rank) - 1;
    size_t want = lpos->count < 0 ? 1 : (size_t)lpos->count;
    int64_t last = (int64_t)key->object.count - 1;
    struct store_walk walk;
    bool any = store_list_walk(&walk, call->txn, &key->object, is_up ? 0 : (uint64_t)last,
                               is_up ? STORE_UP : STORE_DOWN);
    for (int64_t i = 0; any; i++, any = store_walk_next(&walk)) {
        if (lpos->length_max > 0 && i >= lpos->length_max) { break; }
        if (store_walk_value_len(&walk) != call->argv[2].len) { continue; }
        if (!slice_equal(store_walk_value(&walk), call->argv[2])) { continue; }
        if (skip-- > 0) { continue; }
        int64_t index = is_up ? i : last - i;
        buf_append(found, slice_of(&index, sizeof index));
        if (want > 0 && found->len / sizeof index == want) { break; }
    }
    store_walk_end(&walk);
}

void data_lpos(struct data_call *call)
{
    struct lpos lpos;
    struct data_key key;
    struct buf found = {0};
    if (!lpos_options(call, &lpos)) { return; }
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (key.is_there) { lpos_find(&key, &lpos, &found); }
    size_t count = found.len / sizeof(int64_t);
    if (lpos.count >= 0) { reply_array(call->reply, count); }
    for (size_t i = 0; i < count; i++) {
        int64_t index;
        memcpy(&index, found.data + i * sizeof index, sizeof index);
        reply_int(call->reply, index);
    }
    if (lpos.count < 0 && count == 0) { reply_null(call->reply); }
    buf_fini(&found);
}

/* ---- changing ---- */

void data_lset(struct data_call *call)
{
    int64_t given;
    uint64_t index;
    struct data_key key = key_find(call, call->argv[1]);
    if (!key.is_there) {
        reply_error(call->reply, "ERR no such key");
        return;
    }
    if (key.object.type != STORE_LIST) {
        reply_error(call->reply, data_wrong_type);
        return;
    }
    if (!arg_int(call, 2, &given)) { return; }
    if (!index_of(&key, given, &index)) {
        reply_error(call->reply, "ERR index out of range");
        return;
    }
    (void)store_list_set(call->txn, &key.object, index, call->argv[3]);
    encoding_note(&key.object, call->argv[3]);
    key_save(&key, "lset", EVENT_LIST);
    reply_ok(call->reply);
}

void data_linsert(struct data_call *call)
{
    bool is_behind = arg_is(call, 2, "AFTER");
    if (!is_behind && !arg_is(call, 2, "BEFORE")) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (!key.is_there) {
        reply_int(call->reply, 0);
        return;
    }
    struct store_walk walk;
    uint64_t index = 0;
    bool any = store_list_walk(&walk, call->txn, &key.object, 0, STORE_UP);
    for (; any && !slice_equal(store_walk_value(&walk), call->argv[3]); index++) {
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
    if (!any) {
        reply_int(call->reply, -1);
        return;
    }
    store_list_insert(call->txn, &key.object, index + is_behind, call->argv[4]);
    encoding_note(&key.object, call->argv[4]);
    key_save(&key, "linsert", EVENT_LIST);
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_lrem(struct data_call *call)
{
    int64_t given;
    struct data_key key;
    if (!arg_int(call, 2, &given)) { return; }
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    uint64_t count = given == 0 ? UINT64_MAX : given > 0 ? (uint64_t)given : -(uint64_t)given;
    uint64_t removed = 0;
    if (key.is_there) {
        removed = store_list_remove_equal(call->txn, &key.object, call->argv[3], count,
                                          given < 0 ? STORE_TAIL : STORE_HEAD);
    }
    if (removed > 0) { key_save(&key, "lrem", EVENT_LIST); }
    reply_int(call->reply, (int64_t)removed);
}

void data_ltrim(struct data_call *call)
{
    int64_t start;
    int64_t end;
    struct data_key key;
    if (!arg_int(call, 2, &start) || !arg_int(call, 3, &end)) { return; }
    if (!key_open(call, call->argv[1], STORE_LIST, &key)) { return; }
    if (key.is_there) {
        uint64_t count = key.object.count;
        if (!range_clamp(&start, &end, count)) { /* nothing stays */
            key_remove(&key, "ltrim", EVENT_LIST);
            key_changed(call, call->argv[1], "del", EVENT_GENERIC);
        } else {
            store_list_remove(call->txn, &key.object, (uint64_t)end + 1, count - (uint64_t)end - 1);
            store_list_remove(call->txn, &key.object, 0, (uint64_t)start);
            key_save(&key, "ltrim", EVENT_LIST);
        }
    }
    reply_ok(call->reply);
}
