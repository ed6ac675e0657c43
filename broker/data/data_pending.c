/* data_pending: what was delivered and not acknowledged: XACK, XPENDING, XCLAIM, XAUTOCLAIM. */
#include "data/data_args.h"
#include "data/data_group.h"

static void no_group(struct data_call *call)
{
    reply_errorf(call->reply, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                 SLICE_ARG(call->argv[1]), SLICE_ARG(call->argv[2]));
}

/* ---- XACK ---- */

void data_xack(struct data_call *call)
{
    struct data_group group;
    enum group_find found = group_find(call, call->argv[1], call->argv[2], &group);
    if (found == GROUP_WRONG_TYPE) { return; }
    if (found == GROUP_ABSENT) {
        reply_int(call->reply, 0);
        return;
    }
    struct store_id id;
    for (uint32_t i = 3; i < call->argc; i++) {
        if (!text_to_id(call->argv[i], 0, &id)) {
            reply_error(call->reply, data_invalid_id);
            return;
        }
    }
    int64_t acknowledged = 0;
    for (uint32_t i = 3; i < call->argc; i++) {
        (void)text_to_id(call->argv[i], 0, &id);
        acknowledged += store_pending_delete(call->txn, &group.key.object, &group.group, id);
    }
    if (acknowledged > 0) { group_save(&group, NULL); }
    reply_int(call->reply, acknowledged);
}

/* ---- XPENDING ---- */

static void pending_summary(struct data_group *group)
{
    struct data_call *call = group->key.call;
    struct store_walk walk;
    reply_array(call->reply, 4);
    reply_int(call->reply, (int64_t)group->group.pending);
    bool any = store_pending_walk(&walk, call->txn, &group->key.object, &group->group, 0,
                                  (struct store_id){0, 0});
    if (!any) {
        store_walk_end(&walk);
        reply_null(call->reply);
        reply_null(call->reply);
        reply_null_array(call->reply);
        return;
    }
    reply_id(call->reply, store_pending_of(&walk, &group->key.object, &group->group).id);
    store_walk_end(&walk);
    struct store_pending last = {.cid = 0};
    (void)store_pending_last(call->txn, &group->key.object, &group->group, &last);
    reply_id(call->reply, last.id);
    struct buf consumers = {0};
    struct reply out = {.out = &consumers, .version = call->reply->version};
    size_t count = 0;
    any = store_consumers_walk(&walk, call->txn, &group->key.object, &group->group);
    for (; any; any = store_walk_next(&walk)) {
        uint64_t pending = store_consumers_consumer(&walk).pending;
        if (pending == 0) { continue; }
        char text[20];
        reply_array(&out, 2);
        reply_bulk(&out, store_consumers_name(&walk));
        reply_bulk(&out, slice_of(text, uint64_to_text(pending, text)));
        count++;
    }
    store_walk_end(&walk);
    reply_array(call->reply, count);
    buf_append(call->reply->out, buf_slice(&consumers));
    buf_fini(&consumers);
}

struct xpending {
    int64_t idle_ms;
    struct entry_range range;
    int64_t count;
    bool has_consumer;
    struct slice consumer;
};

static bool xpending_read(struct data_call *call, struct xpending *pending)
{
    uint32_t at = 3;
    if (arg_is(call, 3, "IDLE")) {
        if (call->argc < 5) {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
        if (!arg_int(call, 4, &pending->idle_ms)) { return false; }
        at = 5;
    }
    if (call->argc < at + 3 || call->argc > at + 4) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (!arg_int(call, at + 2, &pending->count)) { return false; }
    if (pending->count < 0) { pending->count = 0; }
    if (!arg_range_start(call, at, &pending->range.from) ||
        !arg_range_end(call, at + 1, &pending->range.to)) {
        return false;
    }
    pending->has_consumer = call->argc == at + 4;
    if (pending->has_consumer) { pending->consumer = call->argv[at + 3]; }
    return true;
}

static uint64_t idle_of(const struct data_call *call, uint64_t since_ms)
{
    uint64_t now_ms = store_txn_now_ms(call->txn);
    return now_ms > since_ms ? now_ms - since_ms : 0;
}

static void pending_list(struct data_group *group, const struct xpending *want)
{
    struct data_call *call = group->key.call;
    struct store_consumer consumer = {.cid = 0};
    if (want->has_consumer && !store_consumer_find(call->txn, &group->key.object, &group->group,
                                                   want->consumer, &consumer)) {
        reply_array(call->reply, 0);
        return;
    }
    struct buf list = {0};
    struct reply out = {.out = &list, .version = call->reply->version};
    int64_t count = 0;
    struct store_walk walk;
    bool any = store_pending_walk(&walk, call->txn, &group->key.object, &group->group, consumer.cid,
                                  want->range.from);
    for (; any && count < want->count; any = store_walk_next(&walk)) {
        struct store_pending pending = store_pending_of(&walk, &group->key.object, &group->group);
        if (store_id_compare(pending.id, want->range.to) > 0) { break; }
        uint64_t idle = idle_of(call, pending.delivered_ms);
        if (want->idle_ms > 0 && idle < (uint64_t)want->idle_ms) { continue; }
        reply_array(&out, 4);
        reply_id(&out, pending.id);
        reply_bulk(&out,
                   store_consumer_name(call->txn, &group->key.object, &group->group, pending.cid));
        reply_int(&out, pending.cid == 0 ? -1 : (int64_t)idle); /* nobody has it */
        reply_int(&out, (int64_t)pending.count);
        count++;
    }
    store_walk_end(&walk);
    reply_array(call->reply, (size_t)count);
    buf_append(call->reply->out, buf_slice(&list));
    buf_fini(&list);
}

void data_xpending(struct data_call *call)
{
    struct xpending pending = {.idle_ms = 0};
    struct data_group group;
    if (call->argc > 3 && !xpending_read(call, &pending)) { return; }
    switch (group_find(call, call->argv[1], call->argv[2], &group)) {
    case GROUP_WRONG_TYPE: return;
    case GROUP_ABSENT: no_group(call); return;
    case GROUP_FOUND: break;
    }
    if (call->argc == 3) {
        pending_summary(&group);
    } else {
        pending_list(&group, &pending);
    }
}

/* ---- XCLAIM ---- */

struct claim {
    struct data_group group;
    struct store_consumer consumer;
    struct slice consumer_name;
    uint64_t min_idle_ms;
    uint64_t delivered_ms;
    bool has_count;
    int64_t retry_count;
    bool is_forced;
    bool is_just_id;
    struct buf found;
    struct reply out;
    size_t found_count;
    struct buf deleted; /* struct store_id: pending entries that the stream has no more */
};

/* The entry goes to the consumer. False: the stream has it no more. */
static bool claim_entry(struct claim *claim, struct store_pending pending)
{
    struct data_call *call = claim->group.key.call;
    struct store_object *stream = &claim->group.key.object;
    struct store_entries entries;
    bool is_there = store_entries_begin(&entries, call->txn, stream, pending.id, STORE_UP) &&
                    store_id_compare(entries.id, pending.id) == 0;
    if (is_there && claim->is_just_id) {
        reply_id(&claim->out, pending.id);
    } else if (is_there) {
        entry_reply(&claim->out, &entries);
    }
    store_entries_end(&entries);
    if (!is_there) { return false; }
    claim->found_count++;
    pending.cid = claim->consumer.cid;
    pending.delivered_ms = claim->delivered_ms;
    if (claim->has_count) {
        pending.count = (uint64_t)claim->retry_count;
    } else if (!claim->is_just_id) {
        pending.count++;
    }
    store_pending_put(call->txn, stream, &claim->group.group, &claim->consumer, &pending);
    return true;
}

static void claim_end(struct claim *claim)
{
    struct data_call *call = claim->group.key.call;
    if (claim->found_count > 0) { claim->consumer.active_ms = store_txn_now_ms(call->txn); }
    store_consumer_save(call->txn, &claim->group.key.object, &claim->group.group,
                        claim->consumer_name, &claim->consumer);
    group_save(&claim->group, NULL);
}

/* Options of XCLAIM from argument `at` on. */
static bool xclaim_options(struct claim *claim, struct data_call *call, uint32_t at,
                           struct store_id *last)
{
    int64_t v;
    int64_t now_ms = (int64_t)store_txn_now_ms(call->txn);
    for (uint32_t i = at; i < call->argc; i++) {
        if (arg_is(call, i, "FORCE")) {
            claim->is_forced = true;
        } else if (arg_is(call, i, "JUSTID")) {
            claim->is_just_id = true;
        } else if (arg_is_with_value(call, i, "IDLE")) {
            if (!arg_int_in(call, ++i, INT64_MIN, INT64_MAX,
                            "ERR Invalid IDLE option argument for XCLAIM", &v)) {
                return false;
            }
            claim->delivered_ms = (uint64_t)(now_ms - v);
        } else if (arg_is_with_value(call, i, "TIME")) {
            if (!arg_int_in(call, ++i, INT64_MIN, INT64_MAX,
                            "ERR Invalid TIME option argument for XCLAIM", &v)) {
                return false;
            }
            claim->delivered_ms = (uint64_t)v;
        } else if (arg_is_with_value(call, i, "RETRYCOUNT")) {
            if (!arg_int_in(call, ++i, 0, INT64_MAX,
                            "ERR Invalid RETRYCOUNT option argument for XCLAIM",
                            &claim->retry_count)) {
                return false;
            }
            claim->has_count = true;
        } else if (arg_is_with_value(call, i, "LASTID")) {
            if (!text_to_id(call->argv[++i], 0, last)) {
                reply_error(call->reply, data_invalid_id);
                return false;
            }
        } else {
            reply_errorf(call->reply, "ERR Unrecognized XCLAIM option '%.*s'",
                         SLICE_ARG(call->argv[i]));
            return false;
        }
    }
    /* Not later than now, nor before the beginning of time. */
    if ((int64_t)claim->delivered_ms < 0 || (int64_t)claim->delivered_ms > now_ms) {
        claim->delivered_ms = (uint64_t)now_ms;
    }
    return true;
}

static void claim_one(struct claim *claim, struct store_id id)
{
    struct data_call *call = claim->group.key.call;
    struct store_pending pending;
    bool is_pending =
        store_pending_find(call->txn, &claim->group.key.object, &claim->group.group, id, &pending);
    if (!is_pending && !claim->is_forced) { return; }
    if (is_pending && claim->min_idle_ms > 0 &&
        idle_of(call, pending.delivered_ms) < claim->min_idle_ms) {
        return;
    }
    if (!is_pending) { pending = (struct store_pending){.id = id}; }
    if (!claim_entry(claim, pending) && is_pending) {
        (void)store_pending_delete(call->txn, &claim->group.key.object, &claim->group.group, id);
        /* Its owner's row may have been the claiming consumer's. */
        if (pending.cid == claim->consumer.cid) { claim->consumer.pending--; }
    }
}

static bool claim_min_idle(struct data_call *call, struct claim *claim, const char *error)
{
    int64_t v;
    if (!arg_int_in(call, 4, INT64_MIN, INT64_MAX, error, &v)) { return false; }
    claim->min_idle_ms = v > 0 ? (uint64_t)v : 0;
    return true;
}

void data_xclaim(struct data_call *call)
{
    struct claim claim = {.delivered_ms = store_txn_now_ms(call->txn)};
    struct store_id last = {0, 0};
    struct store_id id;
    switch (group_find(call, call->argv[1], call->argv[2], &claim.group)) {
    case GROUP_WRONG_TYPE: return;
    case GROUP_ABSENT: no_group(call); return;
    case GROUP_FOUND: break;
    }
    if (!claim_min_idle(call, &claim, "ERR Invalid min-idle-time argument for XCLAIM")) { return; }
    uint32_t end = 5;
    while (end < call->argc && text_to_id(call->argv[end], 0, &id)) {
        end++;
    }
    if (end == 5) {
        reply_error(call->reply, data_invalid_id);
        return;
    }
    if (!xclaim_options(&claim, call, end, &last)) { return; }
    if (store_id_compare(last, claim.group.group.last) > 0) { claim.group.group.last = last; }
    claim.consumer_name = call->argv[3];
    claim.consumer = group_consumer(&claim.group, claim.consumer_name, NULL);
    claim.out = (struct reply){.out = &claim.found, .version = call->reply->version};
    for (uint32_t i = 5; i < end; i++) {
        (void)text_to_id(call->argv[i], 0, &id);
        claim_one(&claim, id);
    }
    claim_end(&claim);
    reply_array(call->reply, claim.found_count);
    buf_append(call->reply->out, buf_slice(&claim.found));
    buf_fini(&claim.found);
}

/* ---- XAUTOCLAIM ---- */

enum {
    AUTOCLAIM_COUNT = 100,
    AUTOCLAIM_TRIES = 10
}; /* so many pending entries are looked at for each wanted */

struct autoclaim {
    struct store_id start;
    int64_t count;
};

static bool xautoclaim_read(struct data_call *call, struct autoclaim *autoclaim,
                            struct claim *claim)
{
    autoclaim->count = AUTOCLAIM_COUNT;
    if (!claim_min_idle(call, claim, "ERR Invalid min-idle-time argument for XAUTOCLAIM") ||
        !arg_range_start(call, 5, &autoclaim->start)) {
        return false;
    }
    for (uint32_t i = 6; i < call->argc; i++) {
        if (arg_is_with_value(call, i, "COUNT")) {
            if (!arg_int_in(call, ++i, 1, INT64_MAX / 16, "ERR COUNT must be > 0",
                            &autoclaim->count)) {
                return false;
            }
        } else if (arg_is(call, i, "JUSTID")) {
            claim->is_just_id = true;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

/* The first pending entry at or above *id. False: there is none. */
static bool pending_next(struct claim *claim, struct store_id *id, struct store_pending *pending)
{
    struct store_walk walk;
    bool any = store_pending_walk(&walk, claim->group.key.call->txn, &claim->group.key.object,
                                  &claim->group.group, 0, *id);
    if (any) {
        *pending = store_pending_of(&walk, &claim->group.key.object, &claim->group.group);
        *id = pending->id;
    }
    store_walk_end(&walk);
    return any;
}

static void autoclaim_run(struct claim *claim, const struct autoclaim *autoclaim,
                          struct store_id *cursor)
{
    struct data_call *call = claim->group.key.call;
    struct store_id id = autoclaim->start;
    struct store_pending pending;
    int64_t left = autoclaim->count;
    int64_t tries = autoclaim->count * AUTOCLAIM_TRIES;
    bool any = pending_next(claim, &id, &pending);
    for (; any && left > 0 && tries > 0; tries--) {
        bool is_idle =
            claim->min_idle_ms == 0 || idle_of(call, pending.delivered_ms) >= claim->min_idle_ms;
        if (is_idle && !claim_entry(claim, pending)) {
            buf_append(&claim->deleted, slice_of(&pending.id, sizeof pending.id));
            (void)store_pending_delete(call->txn, &claim->group.key.object, &claim->group.group,
                                       pending.id);
            if (pending.cid == claim->consumer.cid) { claim->consumer.pending--; }
        }
        left -= is_idle;
        any = id_next(&id) && pending_next(claim, &id, &pending);
    }
    *cursor = any ? id : (struct store_id){0, 0};
}

void data_xautoclaim(struct data_call *call)
{
    struct claim claim = {.delivered_ms = store_txn_now_ms(call->txn)};
    struct autoclaim autoclaim;
    struct store_id cursor;
    if (!xautoclaim_read(call, &autoclaim, &claim)) { return; }
    switch (group_find(call, call->argv[1], call->argv[2], &claim.group)) {
    case GROUP_WRONG_TYPE: return;
    case GROUP_ABSENT: no_group(call); return;
    case GROUP_FOUND: break;
    }
    claim.consumer_name = call->argv[3];
    claim.consumer = group_consumer(&claim.group, claim.consumer_name, NULL);
    claim.out = (struct reply){.out = &claim.found, .version = call->reply->version};
    autoclaim_run(&claim, &autoclaim, &cursor);
    claim_end(&claim);
    reply_array(call->reply, 3);
    reply_id(call->reply, cursor);
    reply_array(call->reply, claim.found_count);
    buf_append(call->reply->out, buf_slice(&claim.found));
    size_t deleted = claim.deleted.len / sizeof(struct store_id);
    reply_array(call->reply, deleted);
    for (size_t i = 0; i < deleted; i++) {
        struct store_id id;
        memcpy(&id, claim.deleted.data + i * sizeof id, sizeof id);
        reply_id(call->reply, id);
    }
    buf_fini(&claim.found);
    buf_fini(&claim.deleted);
}
