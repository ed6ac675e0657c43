/* data_stream_read: XREAD and XREADGROUP. */
#include "data/data_args.h"
#include "data/data_claim.h"

struct xread {
    struct data_call *call;
    bool is_group;
    bool is_blocking;
    bool is_noack;
    bool is_claim;
    uint64_t min_idle_ms;
    uint64_t count;     /* 0: all, of a stream */
    uint64_t max_count; /* of all streams together; 0: all */
    uint64_t max_bytes; /* of the reply, but for one entry; 0: any */
    uint64_t taken;
    uint64_t bytes; /* of the reply so far */
    bool is_full;   /* an entry did not fit: nothing is read any more */
    struct slice group;
    struct slice consumer;
    uint32_t keys_at;
    uint32_t stream_count;
    struct buf found;         /* encoded */
    struct reply out;         /* into it */
    struct reply entries_out; /* of the stream that is being read */
    uint32_t found_count;
};

/* ---- options ---- */

static bool xread_option(struct xread *read, uint32_t *i)
{
    struct data_call *call = read->call;
    int64_t v;
    if (arg_is_with_value(call, *i, "BLOCK")) {
        if (!slice_to_int64(call->argv[++*i], &v)) {
            reply_error(call->reply, "ERR timeout is not an integer or out of range");
            return false;
        }
        if (v < 0) {
            reply_error(call->reply, "ERR timeout is negative");
            return false;
        }
        read->is_blocking = true;
    } else if (arg_is_with_value(call, *i, "COUNT")) {
        if (!arg_int(call, ++*i, &v)) { return false; }
        read->count = v > 0 ? (uint64_t)v : 0;
    } else if (arg_is_with_value(call, *i, "MAXCOUNT")) {
        if (!arg_int_in(call, ++*i, 1, INT64_MAX, "ERR MAXCOUNT must be a positive integer", &v)) {
            return false;
        }
        read->max_count = (uint64_t)v;
    } else if (arg_is_with_value(call, *i, "MAXSIZE")) {
        if (!arg_int_in(call, ++*i, 1, INT64_MAX, "ERR MAXSIZE must be a positive integer", &v)) {
            return false;
        }
        read->max_bytes = (uint64_t)v;
    } else if (read->is_group && arg_is(call, *i, "GROUP") && *i + 2 < call->argc) {
        read->group = call->argv[++*i];
        read->consumer = call->argv[++*i];
    } else if (read->is_group && arg_is_with_value(call, *i, "CLAIM")) {
        if (!slice_to_int64(call->argv[++*i], &v)) {
            reply_error(call->reply, "ERR min-idle-time is not an integer");
            return false;
        }
        if (v < 0) {
            reply_error(call->reply, "ERR min-idle-time must be a positive integer");
            return false;
        }
        read->is_claim = true;
        read->min_idle_ms = (uint64_t)v;
    } else if (read->is_group && arg_is(call, *i, "NOACK")) {
        read->is_noack = true;
    } else {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return true;
}

static bool xread_options(struct xread *read)
{
    struct data_call *call = read->call;
    const char *name = read->is_group ? "xreadgroup" : "xread";
    uint32_t i = 1;
    for (; i < call->argc && !arg_is(call, i, "STREAMS"); i++) {
        if (!xread_option(read, &i)) { return false; }
    }
    if (i + 1 >= call->argc) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    uint32_t words = call->argc - i - 1;
    if (words % 2 != 0) {
        reply_errorf(call->reply,
                     "ERR Unbalanced '%s' list of streams: for each stream key an ID or '%c' must "
                     "be specified.",
                     name, read->is_group ? '>' : '$');
        return false;
    }
    if (read->is_group && read->group.data == NULL) {
        reply_error(call->reply, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    if (read->max_count > 0 && read->max_count < read->count) {
        reply_error(call->reply, "ERR MAXCOUNT must be greater than or equal to COUNT");
        return false;
    }
    read->keys_at = i + 1;
    read->stream_count = words / 2;
    return true;
}

/* ---- how much ---- */

/* How many entries the next stream may give; 0: all. False: none. */
static bool may_read(const struct xread *read, uint64_t *wanted)
{
    uint64_t left = read->max_count - read->taken;
    *wanted = read->count;
    if (read->is_full || (read->max_count > 0 && left == 0)) { return false; }
    if (read->max_count > 0 && (*wanted == 0 || *wanted > left)) { *wanted = left; }
    return true;
}

/* One more entry, written from `before` on. False: it does not fit, and is taken back. */
static bool take_entry(struct xread *read, size_t before)
{
    struct buf *entries = read->entries_out.out;
    uint64_t bytes = entries->len - before;
    if (read->max_bytes > 0 && read->taken > 0 && read->bytes + bytes > read->max_bytes) {
        entries->len = before;
        read->is_full = true;
        return false;
    }
    read->taken++;
    read->bytes += bytes;
    return true;
}

/* Entries from an id on: encoded, and their ids noted, since nothing may be written meanwhile. NULL: they are not wanted. */
static size_t take_entries(struct xread *read, const struct store_object *stream,
                           struct store_id from, uint64_t wanted, struct buf *ids)
{
    struct store_entries entries;
    size_t count = 0;
    bool any = store_entries_begin(&entries, read->call->txn, stream, from, STORE_UP);
    for (; any && (wanted == 0 || count < wanted); any = store_entries_next(&entries)) {
        size_t before = read->entries_out.out->len;
        entry_reply(&read->entries_out, &entries);
        if (!take_entry(read, before)) { break; }
        if (ids != NULL) { buf_append(ids, slice_of(&entries.id, sizeof entries.id)); }
        count++;
    }
    store_entries_end(&entries);
    return count;
}

/* ---- what is found ---- */

/* A stream's entries are found: its head goes before them. */
static void found_stream(struct xread *read, uint32_t s, size_t count, const struct buf *entries)
{
    struct data_call *call = read->call;
    size_t before = read->found.len;
    if (call->reply->version < 3) { reply_array(&read->out, 2); }
    reply_bulk(&read->out, call->argv[read->keys_at + s]);
    reply_array(&read->out, count);
    read->bytes += read->found.len - before;
    buf_append(&read->found, buf_slice(entries));
    read->found_count++;
}

static void xread_end(struct xread *read)
{
    struct reply *reply = read->call->reply;
    if (read->found_count == 0 && read->is_blocking) {
        park_or_null(read->call, true);
    } else if (read->found_count == 0) {
        reply_null_array(reply);
    } else {
        if (reply->version >= 3) {
            reply_map(reply, read->found_count);
        } else {
            reply_array(reply, read->found_count);
        }
        buf_append(reply->out, buf_slice(&read->found));
    }
    buf_fini(&read->found);
}

/* ---- XREAD ---- */

/* The id after which to read stream `s`. False: the reply says why it is none. */
static bool xread_id(struct xread *read, uint32_t s, const struct data_key *key,
                     struct store_id *id)
{
    struct data_call *call = read->call;
    uint32_t i = read->keys_at + read->stream_count + s;
    if (slice_equal(call->argv[i], SLICE("$"))) {
        *id = key->object.stream.last;
        return true;
    }
    if (slice_equal(call->argv[i], SLICE(">"))) {
        reply_error(call->reply, "ERR The > ID can be specified only when calling XREADGROUP using "
                                 "the GROUP <group> <consumer> option.");
        return false;
    }
    return arg_id(call, i, 0, id);
}

static bool xread_stream(struct xread *read, uint32_t s)
{
    struct data_key key;
    struct store_id from;
    uint64_t wanted;
    if (!key_open(read->call, read->call->argv[read->keys_at + s], STORE_STREAM, &key)) {
        return false;
    }
    if (!xread_id(read, s, &key, &from)) { return false; }
    if (!key.is_there || !id_next(&from) || !may_read(read, &wanted)) { return true; }
    struct buf entries = {0};
    read->entries_out = (struct reply){.out = &entries, .version = read->call->reply->version};
    size_t count = take_entries(read, &key.object, from, wanted, NULL);
    if (count > 0) { found_stream(read, s, count, &entries); }
    buf_fini(&entries);
    return true;
}

void data_xread(struct data_call *call)
{
    struct xread read = {.call = call};
    read.out = (struct reply){.out = &read.found, .version = call->reply->version};
    bool is_good = xread_options(&read);
    for (uint32_t s = 0; is_good && s < read.stream_count; s++) {
        is_good = xread_stream(&read, s);
    }
    if (is_good) {
        xread_end(&read);
    } else {
        buf_fini(&read.found);
    }
}

/* ---- XREADGROUP ---- */

/* Of what others, or nobody, had for too long. */
static size_t claim_entries(struct xread *read, struct data_group *group,
                            struct store_consumer *consumer, uint64_t wanted)
{
    const struct buf *out = read->entries_out.out;
    size_t before = out->len;
    uint64_t left = read->max_bytes > read->bytes ? read->max_bytes - read->bytes : 1;
    struct claim_idle claim = {.group = group,
                               .consumer = consumer,
                               .min_idle_ms = read->min_idle_ms,
                               .count = wanted,
                               .bytes_max = read->max_bytes > 0 ? left : 0,
                               .takes_one = read->taken == 0,
                               .out = &read->entries_out};
    size_t claimed = claim_idle(&claim);
    read->taken += claimed;
    read->bytes += out->len - before;
    read->is_full = claim.is_full;
    return claimed;
}

/* What others, or nobody, had for too long, then what nobody has had. */
static size_t next_entries(struct xread *read, struct data_group *group,
                           struct store_consumer *consumer, uint64_t wanted, struct buf *ids)
{
    size_t claimed = read->is_claim ? claim_entries(read, group, consumer, wanted) : 0;
    struct store_id from = group->group.last;
    bool is_enough = read->is_full || (wanted > 0 && claimed == wanted);
    if (is_enough || !id_next(&from)) { return claimed; }
    uint64_t left = wanted > 0 ? wanted - claimed : 0;
    return claimed + take_entries(read, &group->key.object, from, left, ids);
}

/* The group has seen one more entry. */
static void group_advance(struct data_group *group, struct store_id id)
{
    struct store_group *g = &group->group;
    const struct store_object *stream = &group->key.object;
    g->last = id;
    if (g->read != STORE_READ_UNKNOWN && !stream_has_holes(stream, id, STORE_ID_MAX)) {
        g->read++;
    } else if (stream->stream.added > 0) {
        g->read = stream_distance(stream, id);
    }
}

static void deliver(struct xread *read, struct data_group *group, struct store_consumer *consumer,
                    const struct buf *ids)
{
    struct store_txn *txn = read->call->txn;
    for (size_t at = 0; at < ids->len; at += sizeof(struct store_id)) {
        struct store_id id;
        memcpy(&id, ids->data + at, sizeof id);
        group_advance(group, id);
        if (read->is_noack) { continue; }
        const struct store_pending pending = {id, consumer->cid, store_txn_now_ms(txn), 1};
        store_pending_put(txn, &group->key.object, &group->group, consumer, &pending);
    }
}

/* What is pending for the consumer above an id, as it stands: entries that are gone with no fields. */
static size_t old_entries(struct xread *read, struct data_group *group,
                          const struct store_consumer *consumer, struct store_id after,
                          uint64_t wanted, struct buf *ids)
{
    struct reply *out = &read->entries_out;
    struct store_txn *txn = read->call->txn;
    struct store_walk walk;
    size_t count = 0;
    if (!id_next(&after)) { return 0; }
    bool any =
        store_pending_walk(&walk, txn, &group->key.object, &group->group, consumer->cid, after);
    for (; any && (wanted == 0 || count < wanted); any = store_walk_next(&walk)) {
        struct store_pending pending = store_pending_of(&walk, &group->key.object, &group->group);
        struct store_entries entries;
        size_t before = out->out->len;
        bool is_there =
            store_entries_begin(&entries, txn, &group->key.object, pending.id, STORE_UP) &&
            store_id_compare(entries.id, pending.id) == 0;
        if (is_there) {
            entry_reply(out, &entries);
        } else {
            reply_array(out, 2);
            reply_id(out, pending.id);
            reply_null_array(out);
        }
        store_entries_end(&entries);
        if (!take_entry(read, before)) { break; }
        if (is_there) { buf_append(ids, slice_of(&pending, sizeof pending)); }
        count++;
    }
    store_walk_end(&walk);
    return count;
}

/* Reading one's own history counts as another delivery of each entry that is still there. */
static void deliver_again(struct xread *read, struct data_group *group,
                          struct store_consumer *consumer, const struct buf *ids)
{
    struct store_txn *txn = read->call->txn;
    for (size_t at = 0; at < ids->len; at += sizeof(struct store_pending)) {
        struct store_pending pending;
        memcpy(&pending, ids->data + at, sizeof pending);
        pending.delivered_ms = store_txn_now_ms(txn);
        pending.count++;
        store_pending_put(txn, &group->key.object, &group->group, consumer, &pending);
    }
}

static bool xreadgroup_id(struct xread *read, uint32_t s, bool *is_new, struct store_id *after)
{
    struct data_call *call = read->call;
    uint32_t i = read->keys_at + read->stream_count + s;
    *is_new = slice_equal(call->argv[i], SLICE(">"));
    if (*is_new) { return true; }
    if (slice_equal(call->argv[i], SLICE("$"))) {
        reply_error(call->reply,
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read "
                    "the history of this consumer by specifying a proper ID, or use the > ID to "
                    "get new messages. The $ ID would just return an empty result set.");
        return false;
    }
    return arg_id(call, i, 0, after);
}

static void xreadgroup_stream(struct xread *read, uint32_t s)
{
    struct data_call *call = read->call;
    struct data_group group;
    struct slice key = call->argv[read->keys_at + s];
    bool is_new;
    struct store_id after = {0, 0};
    uint64_t wanted;
    if (!may_read(read, &wanted)) { return; }
    bool is_there = group_find(call, key, read->group, &group) == GROUP_FOUND;
    CHECK(is_there); /* xreadgroup_check has seen it */
    bool has_id = xreadgroup_id(read, s, &is_new, &after);
    CHECK(has_id);
    struct buf entries = {0};
    struct buf ids = {0};
    read->entries_out = (struct reply){.out = &entries, .version = call->reply->version};
    struct store_consumer consumer = group_consumer(&group, read->consumer, NULL);
    size_t count = is_new ? next_entries(read, &group, &consumer, wanted, &ids)
                          : old_entries(read, &group, &consumer, after, wanted, &ids);
    if (is_new) {
        deliver(read, &group, &consumer, &ids);
    } else {
        deliver_again(read, &group, &consumer, &ids);
    }
    if (count > 0) { consumer.active_ms = store_txn_now_ms(call->txn); }
    store_consumer_save(call->txn, &group.key.object, &group.group, read->consumer, &consumer);
    group_save(&group, NULL);
    if (count > 0 || !is_new) { found_stream(read, s, count, &entries); }
    buf_fini(&entries);
    buf_fini(&ids);
}

/* All groups must be there before anything is read. */
static bool xreadgroup_check(struct xread *read)
{
    struct data_call *call = read->call;
    for (uint32_t s = 0; s < read->stream_count; s++) {
        struct data_group group;
        bool is_new;
        struct store_id after;
        struct slice key = call->argv[read->keys_at + s];
        enum group_find found = group_find(call, key, read->group, &group);
        if (found == GROUP_WRONG_TYPE) { return false; }
        if (found == GROUP_ABSENT) {
            reply_errorf(call->reply,
                         "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with "
                         "GROUP option",
                         SLICE_ARG(key), SLICE_ARG(read->group));
            return false;
        }
        if (!xreadgroup_id(read, s, &is_new, &after)) { return false; }
    }
    return true;
}

void data_xreadgroup(struct data_call *call)
{
    struct xread read = {.call = call, .is_group = true};
    read.out = (struct reply){.out = &read.found, .version = call->reply->version};
    bool is_good = xread_options(&read) && xreadgroup_check(&read);
    for (uint32_t s = 0; is_good && s < read.stream_count; s++) {
        xreadgroup_stream(&read, s);
    }
    if (is_good) {
        xread_end(&read);
    } else {
        buf_fini(&read.found);
    }
}
