/* data_claim: what has been pending for too long, and what is given back: XREADGROUP's CLAIM, and XNACK. */
#include "data/data_claim.h"

#include <stdlib.h>

#include "base/mem.h"
#include "data/data_args.h"

/* ---- CLAIM ---- */

struct idle_list {
    struct store_pending *pending;
    size_t count;
    size_t room;
    uint64_t oldest_ms; /* of those that stay */
};

static int by_delivery(const void *a, const void *b)
{
    const struct store_pending *one = a;
    const struct store_pending *other = b;
    if (one->delivered_ms != other->delivered_ms) {
        return one->delivered_ms < other->delivered_ms ? -1 : 1;
    }
    return store_id_compare(one->id, other->id);
}

/* All that is idle for long enough. Who has nothing that old is not walked through: the group knows. */
static void idle_collect(const struct claim_idle *claim, uint64_t before_ms, struct idle_list *list)
{
    const struct data_group *group = claim->group;
    struct store_walk walk;
    bool any = store_pending_walk(&walk, group->key.call->txn, &group->key.object, &group->group, 0,
                                  (struct store_id){0, 0});
    list->oldest_ms = UINT64_MAX;
    for (; any; any = store_walk_next(&walk)) {
        struct store_pending one = store_pending_of(&walk, &group->key.object, &group->group);
        if (one.delivered_ms > before_ms) {
            if (one.delivered_ms < list->oldest_ms) { list->oldest_ms = one.delivered_ms; }
            continue;
        }
        if (list->count == list->room) {
            list->room = list->room > 0 ? list->room * 2 : 64;
            list->pending = mem_resize(list->pending, list->room * sizeof *list->pending);
        }
        list->pending[list->count++] = one;
    }
    store_walk_end(&walk);
    if (list->count > 0) { qsort(list->pending, list->count, sizeof *list->pending, by_delivery); }
}

/* Does what has been appended since fit? Else it is taken back. */
static bool fits(struct claim_idle *claim, size_t begin, size_t before, bool is_first)
{
    struct buf *out = claim->out->out;
    claim->is_full = claim->bytes_max > 0 && !(is_first && claim->takes_one) &&
                     out->len - begin > claim->bytes_max;
    if (claim->is_full) { out->len = before; }
    return !claim->is_full;
}

/* Delivered to the consumer once more. False: the stream has it no more. */
static bool claim_one(struct claim_idle *claim, struct store_pending pending, size_t begin,
                      bool is_first)
{
    size_t before = claim->out->out->len;
    struct data_group *group = claim->group;
    struct store_txn *txn = group->key.call->txn;
    uint64_t now_ms = store_txn_now_ms(txn);
    struct store_entries entries;
    bool is_there = store_entries_begin(&entries, txn, &group->key.object, pending.id, STORE_UP) &&
                    store_id_compare(entries.id, pending.id) == 0;
    if (is_there) {
        uint64_t idle_ms = now_ms > pending.delivered_ms ? now_ms - pending.delivered_ms : 0;
        reply_array(claim->out, 4);
        entry_parts_reply(claim->out, &entries);
        reply_int(claim->out, (int64_t)idle_ms);
        reply_int(claim->out, (int64_t)pending.count);
    }
    store_entries_end(&entries);
    if (is_there && !fits(claim, begin, before, is_first)) { return false; }
    if (!is_there) {
        (void)store_pending_delete(txn, &group->key.object, &group->group, pending.id);
        if (pending.cid == claim->consumer->cid) { claim->consumer->pending--; }
        return false;
    }
    pending.cid = claim->consumer->cid;
    pending.delivered_ms = now_ms;
    if (pending.count < INT64_MAX) { pending.count++; }
    store_pending_put(txn, &group->key.object, &group->group, claim->consumer, &pending);
    return true;
}

size_t claim_idle(struct claim_idle *claim)
{
    struct store_group *group = &claim->group->group;
    uint64_t now_ms = store_txn_now_ms(claim->group->key.call->txn);
    uint64_t before_ms = now_ms > claim->min_idle_ms ? now_ms - claim->min_idle_ms : 0;
    struct idle_list list = {0};
    size_t claimed = 0;
    if (group->pending == 0 || group->oldest_ms > before_ms) { return 0; }
    idle_collect(claim, before_ms, &list);
    size_t begin = claim->out->out->len;
    size_t at = 0;
    for (; at < list.count && (claim->count == 0 || claimed < claim->count); at++) {
        claimed += claim_one(claim, list.pending[at], begin, claimed == 0);
        if (claim->is_full) { break; }
    }
    uint64_t oldest_ms = list.oldest_ms < now_ms ? list.oldest_ms : now_ms;
    group->oldest_ms = at < list.count ? list.pending[at].delivered_ms : oldest_ms;
    mem_free(list.pending);
    return claimed;
}

/* ---- XNACK ---- */

enum nack_mode { NACK_SILENT, NACK_FAIL, NACK_FATAL, NACK_MODES };

struct nack {
    enum nack_mode mode;
    uint32_t ids_at;
    uint32_t ids_end;
    bool has_count;
    int64_t count;
    bool is_forced;
};

static bool nack_ids(const struct data_call *call, struct nack *nack)
{
    int64_t count;
    if (!arg_is_with_value(call, 4, "IDS")) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (!arg_int_in(call, 5, 1, INT32_MAX, "ERR Number of IDs must be a positive integer",
                    &count)) {
        return false;
    }
    if (count > (int64_t)call->argc - 6) {
        reply_error(call->reply, "ERR The `numids` parameter must match the number of arguments");
        return false;
    }
    nack->ids_at = 6;
    nack->ids_end = (uint32_t)(6 + count);
    for (uint32_t i = nack->ids_at; i < nack->ids_end; i++) {
        struct store_id id;
        if (text_to_id(call->argv[i], 0, &id)) { continue; }
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    return true;
}

static bool nack_read(const struct data_call *call, struct nack *nack)
{
    static const char *const modes[] = {"SILENT", "FAIL", "FATAL"};
    while (nack->mode < NACK_MODES && !arg_is(call, 3, modes[nack->mode])) {
        nack->mode++;
    }
    if (nack->mode == NACK_MODES) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (!nack_ids(call, nack)) { return false; }
    for (uint32_t i = nack->ids_end; i < call->argc; i++) {
        if (arg_is(call, i, "FORCE")) {
            nack->is_forced = true;
        } else if (arg_is_with_value(call, i, "RETRYCOUNT")) {
            nack->has_count = true;
            if (!arg_int_in(call, ++i, 0, INT64_MAX,
                            "ERR Invalid RETRYCOUNT option argument for XNACK", &nack->count)) {
                return false;
            }
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

/* How often it counts as delivered from now on. */
static uint64_t nack_count(const struct nack *nack, uint64_t count)
{
    if (nack->has_count) { return (uint64_t)nack->count; }
    switch (nack->mode) {
    case NACK_SILENT: return count > 0 ? count - 1 : 0;
    case NACK_FATAL: return INT64_MAX;
    case NACK_FAIL:
    case NACK_MODES: break;
    }
    return count;
}

/* False: it is not pending, nor forced to be. */
static bool nack_one(const struct nack *nack, struct data_group *group, struct store_id id)
{
    struct store_txn *txn = group->key.call->txn;
    struct store_pending pending = {.id = id};
    if (!store_pending_find(txn, &group->key.object, &group->group, id, &pending)) {
        struct store_entries entries;
        bool has = nack->is_forced &&
                   store_entries_begin(&entries, txn, &group->key.object, id, STORE_UP) &&
                   store_id_compare(entries.id, id) == 0;
        if (nack->is_forced) { store_entries_end(&entries); }
        if (!has) { return false; }
    }
    store_pending_release(txn, &group->key.object, &group->group, id,
                          nack_count(nack, pending.count));
    return true;
}

void data_xnack(struct data_call *call)
{
    struct nack nack = {.mode = NACK_SILENT};
    struct data_group group;
    if (!nack_read(call, &nack)) { return; }
    switch (group_find(call, call->argv[1], call->argv[2], &group)) {
    case GROUP_WRONG_TYPE: return;
    case GROUP_ABSENT:
        reply_errorf(call->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                     SLICE_ARG(call->argv[1]), SLICE_ARG(call->argv[2]));
        return;
    case GROUP_FOUND: break;
    }
    int64_t released = 0;
    for (uint32_t i = nack.ids_at; i < nack.ids_end; i++) {
        struct store_id id;
        (void)text_to_id(call->argv[i], 0, &id);
        released += nack_one(&nack, &group, id);
    }
    if (released > 0) { group_save(&group, "xnack"); } /* who waits with CLAIM has something */
    reply_int(call->reply, released);
}
