/* data_stream_info: XINFO. */
#include "data/data_args.h"
#include "data/data_group.h"

enum { FULL_COUNT = 10 };

static void field_int(struct reply *reply, const char *name, uint64_t v)
{
    reply_bulk_str(reply, name);
    reply_int(reply, (int64_t)v);
}

static void field_id(struct reply *reply, const char *name, struct store_id id)
{
    reply_bulk_str(reply, name);
    reply_id(reply, id);
}

enum { NODE_ENTRIES = 100 }; /* Redis's stream-node-max-entries */

/* What a stream remembers of its producers is told of one that was used so, or set. */
static size_t idmp_fields(const struct store_object *stream)
{
    return stream->stream.idmp.duration_s != 0 ? 6 : 0;
}

/* Redis tells of its radix tree here; ours is the store's, of which a stream has no count: that tree would be about this. */
static void stream_head(struct reply *reply, const struct store_object *stream)
{
    struct store_id none = {0, 0};
    field_int(reply, "length", stream->count);
    uint64_t nodes = (stream->count + NODE_ENTRIES - 1) / NODE_ENTRIES;
    field_int(reply, "radix-tree-keys", (int64_t)nodes);
    field_int(reply, "radix-tree-nodes", (int64_t)nodes + 1);
    field_id(reply, "last-generated-id", stream->stream.last);
    field_id(reply, "max-deleted-entry-id", stream->stream.max_deleted);
    field_int(reply, "entries-added", stream->stream.added);
    field_id(reply, "recorded-first-entry-id", stream->count > 0 ? stream->stream.first : none);
    if (idmp_fields(stream) > 0) {
        const struct store_idmp *idmp = &stream->stream.idmp;
        field_int(reply, "idmp-duration", idmp->duration_s);
        field_int(reply, "idmp-maxsize", idmp->maxsize);
        field_int(reply, "pids-tracked", (int64_t)idmp->pids);
        field_int(reply, "iids-tracked", (int64_t)idmp->iids);
        field_int(reply, "iids-added", (int64_t)idmp->added);
        field_int(reply, "iids-duplicates", (int64_t)idmp->duplicates);
    }
}

static void entry_or_null(const struct data_key *key, enum store_walk_way way)
{
    struct store_entries entries;
    struct reply *reply = key->call->reply;
    struct store_id from = way == STORE_UP ? (struct store_id){0, 0} : STORE_ID_MAX;
    if (store_entries_begin(&entries, key->call->txn, &key->object, from, way)) {
        entry_reply(reply, &entries);
    } else {
        reply_null(reply);
    }
    store_entries_end(&entries);
}

static void info_stream(struct data_call *call, const struct data_key *key)
{
    reply_map(call->reply, 10 + idmp_fields(&key->object));
    stream_head(call->reply, &key->object);
    field_int(call->reply, "groups", key->object.stream.groups);
    reply_bulk_str(call->reply, "first-entry");
    entry_or_null(key, STORE_UP);
    reply_bulk_str(call->reply, "last-entry");
    entry_or_null(key, STORE_DOWN);
}

/* ---- groups ---- */

static void field_read(struct reply *reply, const struct store_group *group)
{
    reply_bulk_str(reply, "entries-read");
    if (group->read == STORE_READ_UNKNOWN) {
        reply_null(reply);
    } else {
        reply_int(reply, (int64_t)group->read);
    }
}

static void field_lag(struct reply *reply, const struct store_object *stream,
                      const struct store_group *group)
{
    uint64_t read = group->read;
    if (stream->stream.added == 0) {
        read = 0;
    } else if (read == STORE_READ_UNKNOWN || stream_has_holes(stream, group->last, STORE_ID_MAX)) {
        read = stream_distance(stream, group->last);
    }
    reply_bulk_str(reply, "lag");
    if (read == STORE_READ_UNKNOWN) {
        reply_null(reply);
    } else {
        reply_int(reply, (int64_t)(stream->stream.added - read));
    }
}

static void info_groups(struct data_call *call, const struct data_key *key)
{
    struct store_walk walk;
    reply_array(call->reply, key->object.stream.groups);
    bool any = store_groups_walk(&walk, call->txn, &key->object);
    for (; any; any = store_walk_next(&walk)) {
        struct store_group group = store_groups_group(&walk);
        reply_map(call->reply, 6);
        reply_bulk_str(call->reply, "name");
        reply_bulk(call->reply, store_groups_name(&walk));
        field_int(call->reply, "consumers", group.consumers);
        field_int(call->reply, "pending", group.pending);
        field_id(call->reply, "last-delivered-id", group.last);
        field_read(call->reply, &group);
        field_lag(call->reply, &key->object, &group);
    }
    store_walk_end(&walk);
}

static void info_consumers(struct data_call *call, const struct data_key *key)
{
    struct store_group group;
    struct store_walk walk;
    if (!store_group_find(call->txn, &key->object, call->argv[3], &group)) {
        reply_errorf(call->reply, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                     SLICE_ARG(call->argv[3]), SLICE_ARG(call->argv[2]));
        return;
    }
    uint64_t now_ms = store_txn_now_ms(call->txn);
    reply_array(call->reply, group.consumers);
    bool any = store_consumers_walk(&walk, call->txn, &key->object, &group);
    for (; any; any = store_walk_next(&walk)) {
        struct store_consumer consumer = store_consumers_consumer(&walk);
        reply_map(call->reply, 4);
        reply_bulk_str(call->reply, "name");
        reply_bulk(call->reply, store_consumers_name(&walk));
        field_int(call->reply, "pending", consumer.pending);
        field_int(call->reply, "idle", now_ms - consumer.seen_ms);
        reply_bulk_str(call->reply, "inactive");
        reply_int(call->reply,
                  consumer.active_ms > 0 ? (int64_t)(now_ms - consumer.active_ms) : -1);
    }
    store_walk_end(&walk);
}

/* ---- FULL ---- */

struct full {
    struct data_call *call;
    const struct data_key *key;
    struct store_group group;
    uint64_t count; /* of each list; 0: all */
};

/* What is pending for one consumer (cid), or for all (0): who has it is told there only. */
static void full_pending(const struct full *full, uint32_t cid)
{
    struct data_call *call = full->call;
    struct buf list = {0};
    struct reply out = {.out = &list, .version = call->reply->version};
    struct store_walk walk;
    size_t told = 0;
    bool any = store_pending_walk(&walk, call->txn, &full->key->object, &full->group, cid,
                                  (struct store_id){0, 0});
    for (; any && (full->count == 0 || told < full->count); any = store_walk_next(&walk), told++) {
        struct store_pending pending = store_pending_of(&walk, &full->key->object, &full->group);
        reply_array(&out, cid == 0 ? 4 : 3);
        reply_id(&out, pending.id);
        if (cid == 0) {
            reply_bulk(&out, store_consumer_name(call->txn, &full->key->object, &full->group,
                                                 pending.cid));
        }
        reply_int(&out, (int64_t)pending.delivered_ms);
        reply_int(&out, (int64_t)pending.count);
    }
    store_walk_end(&walk);
    reply_bulk_str(call->reply, "pending");
    reply_array(call->reply, told);
    buf_append(call->reply->out, buf_slice(&list));
    buf_fini(&list);
}

static void full_consumers(const struct full *full)
{
    struct data_call *call = full->call;
    struct store_walk walk;
    reply_bulk_str(call->reply, "consumers");
    reply_array(call->reply, full->group.consumers);
    bool any = store_consumers_walk(&walk, call->txn, &full->key->object, &full->group);
    for (; any; any = store_walk_next(&walk)) {
        struct store_consumer consumer = store_consumers_consumer(&walk);
        reply_map(call->reply, 5);
        reply_bulk_str(call->reply, "name");
        reply_bulk(call->reply, store_consumers_name(&walk));
        field_int(call->reply, "seen-time", consumer.seen_ms);
        reply_bulk_str(call->reply, "active-time");
        reply_int(call->reply, consumer.active_ms > 0 ? (int64_t)consumer.active_ms : -1);
        field_int(call->reply, "pel-count", consumer.pending);
        full_pending(full, consumer.cid);
    }
    store_walk_end(&walk);
}

static void full_groups(struct full *full)
{
    struct data_call *call = full->call;
    struct store_walk walk;
    reply_bulk_str(call->reply, "groups");
    reply_array(call->reply, full->key->object.stream.groups);
    bool any = store_groups_walk(&walk, call->txn, &full->key->object);
    for (; any; any = store_walk_next(&walk)) {
        full->group = store_groups_group(&walk);
        reply_map(call->reply, 7);
        reply_bulk_str(call->reply, "name");
        reply_bulk(call->reply, store_groups_name(&walk));
        field_id(call->reply, "last-delivered-id", full->group.last);
        field_read(call->reply, &full->group);
        field_lag(call->reply, &full->key->object, &full->group);
        field_int(call->reply, "pel-count", full->group.pending);
        full_pending(full, 0);
        full_consumers(full);
    }
    store_walk_end(&walk);
}

static void info_full(struct data_call *call, const struct data_key *key)
{
    int64_t count = FULL_COUNT;
    bool is_good = call->argc == 4 || (call->argc == 6 && arg_is(call, 4, "COUNT"));
    if (!is_good) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (call->argc == 6 && !arg_int(call, 5, &count)) { return; }
    if (count < 0) { count = FULL_COUNT; }
    struct full full = {.call = call, .key = key, .count = (uint64_t)count};
    reply_map(call->reply, 9 + idmp_fields(&key->object));
    stream_head(call->reply, &key->object);
    struct buf found = {0};
    struct reply out = {.out = &found, .version = call->reply->version};
    const struct entry_range all = {.to = STORE_ID_MAX, .count = full.count};
    reply_bulk_str(call->reply, "entries");
    reply_array(call->reply, entries_collect(key, &all, &out));
    buf_append(call->reply->out, buf_slice(&found));
    buf_fini(&found);
    full_groups(&full);
}

enum xinfo_verb { XINFO_CONSUMERS, XINFO_GROUPS, XINFO_STREAM, XINFO_HELP };

static const struct subcommand xinfo_verbs[] = {
    {"consumers", 4, 4}, {"groups", 3, 3}, {"stream", 3, 0}, {"help", 2, 2}};

static const char *const xinfo_help[] = {
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    The consumers of a group.",
    "GROUPS <key>",
    "    The groups of a stream.",
    "STREAM <key> [FULL [COUNT <count>]]",
    "    What a stream holds.",
    "HELP",
    "    Print this help."};

static void info_run(struct data_call *call, enum xinfo_verb verb, const struct data_key *key)
{
    switch (verb) {
    case XINFO_CONSUMERS: info_consumers(call, key); return;
    case XINFO_GROUPS: info_groups(call, key); return;
    case XINFO_STREAM:
        if (call->argc == 3) {
            info_stream(call, key);
        } else if (arg_is(call, 3, "FULL")) {
            info_full(call, key);
        } else {
            reply_error(call->reply, data_syntax_error);
        }
        return;
    case XINFO_HELP: return;
    }
}

void data_xinfo(struct data_call *call)
{
    int verb = subcommand_find(call, "xinfo", xinfo_verbs, COUNT_OF(xinfo_verbs));
    if (verb < 0) { return; }
    if (verb == XINFO_HELP) {
        reply_array(call->reply, COUNT_OF(xinfo_help));
        for (size_t i = 0; i < COUNT_OF(xinfo_help); i++) {
            reply_status(call->reply, xinfo_help[i]);
        }
        return;
    }
    struct data_key key = key_find(call, call->argv[2]);
    if (!key.is_there) {
        reply_error(call->reply, "ERR no such key");
    } else if (key.object.type != STORE_STREAM) {
        reply_error(call->reply, data_wrong_type);
    } else {
        info_run(call, (enum xinfo_verb)verb, &key);
    }
}
