/* data_restore: RESTORE: a value from Redis's own format.
 *
 * All of the payload is read once before anything is written. What then still may be wrong is that a name comes twice: what was
 * written until then stands under an id of its own, and goes again. */
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_group.h"
#include "data/data_text.h"
#include "rdb/rdb_write.h"
#include "store/store_hash.h"
#include "store/store_list.h"
#include "store/store_set.h"
#include "store/store_string.h"
#include "store/store_zset.h"

struct restore {
    struct data_call *call;
    struct store_object object;
    struct buf text; /* a short string's, until it is saved */
    bool has_group;
    struct store_group group;
    struct buf group_name;
    bool has_consumer;
    struct store_consumer consumer;
    struct buf consumer_name;
};

static struct store_id store_id_of(struct rdb_id id)
{
    return (struct store_id){id.ms, id.seq};
}

/* ---- looking ---- */

static bool on_look(void *arg, const struct rdb_event *event)
{
    (void)arg;
    (void)event;
    return true;
}

/* False: the payload is no good, and the reply says so. */
static bool look(struct data_call *call, struct slice value)
{
    const struct rdb_sink sink = {on_look, NULL};
    struct rdb_in in = rdb_in_of(slice_of(value.data + 1, value.len - 1));
    bool is_good = rdb_value_read(&in, (uint8_t)*value.data, &sink) && rdb_left(&in) == 0;
    if (!is_good) { reply_error(call->reply, "ERR Bad data format"); }
    return is_good;
}

/* ---- writing ---- */

static void consumer_end(struct restore *restore)
{
    if (!restore->has_consumer) { return; }
    store_consumer_save(restore->call->txn, &restore->object, &restore->group,
                        buf_slice(&restore->consumer_name), &restore->consumer);
    restore->has_consumer = false;
}

static void group_end(struct restore *restore)
{
    consumer_end(restore);
    if (!restore->has_group) { return; }
    store_group_save(restore->call->txn, &restore->object, buf_slice(&restore->group_name),
                     &restore->group);
    restore->has_group = false;
}

static bool group_begin(struct restore *restore, const struct rdb_event *event)
{
    struct store_txn *txn = restore->call->txn;
    group_end(restore);
    struct store_group found;
    if (store_group_find(txn, &restore->object, event->name, &found)) { return false; }
    restore->group = (struct store_group){.last = store_id_of(event->id), .read = event->read};
    if (!event->has_history) {
        restore->group.read = stream_distance(&restore->object, restore->group.last);
    }
    restore->group_name.len = 0;
    buf_append(&restore->group_name, event->name);
    store_group_create(txn, &restore->object, event->name, &restore->group);
    restore->has_group = true;
    return true;
}

static bool consumer_begin(struct restore *restore, const struct rdb_event *event)
{
    struct store_txn *txn = restore->call->txn;
    struct store_consumer found;
    consumer_end(restore);
    if (store_consumer_find(txn, &restore->object, &restore->group, event->name, &found)) {
        return false;
    }
    store_consumer_create(txn, &restore->object, &restore->group, event->name, &restore->consumer);
    restore->consumer.seen_ms = event->seen_ms;
    restore->consumer.active_ms = event->active_ms;
    restore->consumer_name.len = 0;
    buf_append(&restore->consumer_name, event->name);
    restore->has_consumer = true;
    return true;
}

static void restore_pending(struct restore *restore, const struct rdb_event *event)
{
    const struct store_pending pending = {.id = store_id_of(event->id),
                                          .cid = restore->consumer.cid,
                                          .delivered_ms = event->delivered_ms,
                                          .count = event->delivered_count};
    store_pending_put(restore->call->txn, &restore->object, &restore->group, &restore->consumer,
                      &pending);
}

static void restore_counters(struct restore *restore, const struct rdb_event *event)
{
    restore->object.stream.last = store_id_of(event->id);
    restore->object.stream.added = event->added;
    restore->object.stream.max_deleted = store_id_of(event->max_deleted);
}

/* A field that is past its deadline is left out. False: it comes twice. */
static bool restore_field(struct restore *restore, const struct rdb_event *event)
{
    struct store_txn *txn = restore->call->txn;
    if (event->expire_ms != 0 && event->expire_ms <= store_txn_now_ms(txn)) { return true; }
    encoding_note(&restore->object, event->name);
    encoding_note(&restore->object, event->value);
    return store_hash_put_until(txn, &restore->object, event->name, event->value, event->expire_ms);
}

/* False: it comes twice. */
static bool on_write(void *arg, const struct rdb_event *event)
{
    struct restore *restore = arg;
    struct store_txn *txn = restore->call->txn;
    struct store_object *object = &restore->object;
    switch (event->kind) {
    case RDB_TEXT:
        buf_append(&restore->text, event->value);
        store_string_set(txn, object, buf_slice(&restore->text));
        return true;
    case RDB_ELEMENT:
        store_list_push(txn, object, STORE_TAIL, event->value);
        encoding_note(object, event->value);
        return true;
    case RDB_MEMBER:
        encoding_note(object, event->name);
        return store_set_add(txn, object, event->name);
    case RDB_SCORED:
        encoding_note(object, event->name);
        return store_zset_put(txn, object, event->name, event->score);
    case RDB_FIELD: return restore_field(restore, event);
    case RDB_ENTRY:
        store_stream_add(txn, object, store_id_of(event->id), event->part, event->part_count);
        return true;
    case RDB_STREAM: restore_counters(restore, event); return true;
    case RDB_GROUP: return group_begin(restore, event);
    case RDB_CONSUMER: return consumer_begin(restore, event);
    case RDB_PENDING: restore_pending(restore, event); return true;
    }
    return false;
}

static enum store_type type_of_value(uint8_t type)
{
    switch (rdb_kind_of(type)) {
    case RDB_KIND_STRING: return STORE_STRING;
    case RDB_KIND_LIST: return STORE_LIST;
    case RDB_KIND_SET: return STORE_SET;
    case RDB_KIND_ZSET: return STORE_ZSET;
    case RDB_KIND_HASH: return STORE_HASH;
    case RDB_KIND_STREAM: return STORE_STREAM;
    case RDB_KIND_MODULE:
    case RDB_KIND_UNKNOWN: break;
    }
    return STORE_NONE;
}

/* Write the value into a new object, whose head is not saved. False: it is no good, and nothing of it is left. */
static bool restore_value(struct restore *restore, struct slice value)
{
    struct store_txn *txn = restore->call->txn;
    const struct rdb_sink sink = {on_write, restore};
    struct rdb_in in = rdb_in_of(slice_of(value.data + 1, value.len - 1));
    uint8_t type = (uint8_t)*value.data;
    store_key_create(txn, type_of_value(type), &restore->object);
    bool is_good = rdb_value_read(&in, type, &sink);
    if (is_good) {
        group_end(restore);
    } else {
        store_key_empty(txn, &restore->object);
    }
    return is_good;
}

static void restore_fini(struct restore *restore)
{
    buf_fini(&restore->text);
    buf_fini(&restore->group_name);
    buf_fini(&restore->consumer_name);
}

/* ---- the command ---- */

struct restore_options {
    bool replaces;
    bool is_absolute;
    bool has_idle;
    bool has_frequency;
    int64_t ttl;
};

/* How long the key was not used, or how often it was, is not kept. */
static bool restore_option(const struct data_call *call, uint32_t *i,
                           struct restore_options *options)
{
    int64_t unused;
    if (arg_is(call, *i, "REPLACE")) {
        options->replaces = true;
    } else if (arg_is(call, *i, "ABSTTL")) {
        options->is_absolute = true;
    } else if (arg_is_with_value(call, *i, "IDLETIME") && !options->has_frequency) {
        options->has_idle = true;
        if (!arg_int(call, ++*i, &unused)) { return false; }
        if (unused < 0) {
            reply_error(call->reply, "ERR Invalid IDLETIME value, must be >= 0");
            return false;
        }
    } else if (arg_is_with_value(call, *i, "FREQ") && !options->has_idle) {
        options->has_frequency = true;
        if (!arg_int(call, ++*i, &unused)) { return false; }
        if (unused < 0 || unused > UINT8_MAX) {
            reply_error(call->reply, "ERR Invalid FREQ value, must be >= 0 and <= 255");
            return false;
        }
    } else {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return true;
}

static bool restore_ttl(struct data_call *call, struct restore_options *options)
{
    if (!arg_int(call, 2, &options->ttl)) { return false; }
    int64_t now_ms = (int64_t)store_txn_now_ms(call->txn);
    bool is_bad = options->ttl < 0;
    if (!is_bad && options->ttl > 0 && !options->is_absolute) {
        is_bad = __builtin_add_overflow(options->ttl, now_ms, &options->ttl);
    }
    if (is_bad) { reply_error(call->reply, "ERR Invalid TTL value, must be >= 0"); }
    return !is_bad;
}

static void restore_save(struct data_call *call, struct restore *restore, uint64_t expire_ms)
{
    struct data_key key = key_find(call, call->argv[1]);
    if (key.is_there) { store_key_remove(call->txn, &key.ref, &key.object); }
    const struct store_object *object = &restore->object;
    bool is_over =
        (expire_ms != 0 && expire_ms <= store_txn_now_ms(call->txn)) ||
        (object->type == STORE_HASH && object->count == 0); /* all fields are past theirs */
    if (is_over) {
        store_key_empty(call->txn, &restore->object);
        if (key.is_there) { key_changed(call, call->argv[1], "del", EVENT_GENERIC); }
        return;
    }
    key_changed(call, call->argv[1], "new", EVENT_NEW);
    if (expire_ms != 0) {
        store_key_set_expiry(call->txn, &key.ref, &restore->object, expire_ms);
    } else {
        store_key_save(call->txn, &key.ref, &restore->object);
    }
    key_changed(call, call->argv[1], "restore", EVENT_GENERIC);
}

void data_restore(struct data_call *call)
{
    struct restore_options options = {.ttl = 0};
    struct restore restore = {.call = call};
    struct slice value;
    for (uint32_t i = 4; i < call->argc; i++) {
        if (!restore_option(call, &i, &options)) { return; }
    }
    if (!options.replaces && key_find(call, call->argv[1]).is_there) {
        reply_error(call->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!restore_ttl(call, &options)) { return; }
    if (!rdb_payload_begin(call->argv[3], &value)) {
        reply_error(call->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    if (!look(call, value)) { return; }
    if (restore_value(&restore, value)) {
        restore_save(call, &restore, (uint64_t)options.ttl);
        reply_ok(call->reply);
    } else {
        reply_error(call->reply, "ERR Bad data format");
    }
    restore_fini(&restore);
}
