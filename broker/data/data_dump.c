/* data_dump: a value in Redis's own format: whole, for DUMP, or piece by piece into a file. */
#include "data/data_dump.h"

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_group.h"
#include "data/data_text.h"
#include "rdb/rdb_file.h"
#include "rdb/rdb_write.h"
#include "store/store_hash.h"
#include "store/store_list.h"
#include "store/store_set.h"
#include "store/store_string.h"
#include "store/store_zset.h"

enum { PIECE_BYTES = 64 << 10, TEXT_PIECE_BYTES = 1 << 20, LOOK_STEPS = 4096 };

struct dump {
    struct store_txn *txn;
    const struct store_object *object;
    const struct data_dump_sink *sink; /* NULL: it is put together whole */
    struct slice name;                 /* of the key, if there is a sink */
    struct buf out;
    uint16_t version; /* the first that reads it */
    bool is_stopped;  /* the sink wants no more */
};

/* Is it to end before it is whole? A piece that is long enough goes to the sink. */
static bool is_over(struct dump *dump)
{
    if (dump->sink == NULL) { return dump->out.len > TEXT_BYTES_MAX; }
    if (dump->out.len >= PIECE_BYTES && !dump->is_stopped) {
        dump->is_stopped = !dump->sink->take(dump->sink->arg, &dump->out);
    }
    return dump->is_stopped;
}

/* Of work that writes nothing: may it have its next step? */
static bool goes_on(struct dump *dump, uint64_t step)
{
    if (dump->sink == NULL || step % LOOK_STEPS != 0) { return true; }
    dump->is_stopped = dump->is_stopped || !dump->sink->go_on(dump->sink->arg);
    return !dump->is_stopped;
}

static struct rdb_id rdb_id_of(struct store_id id)
{
    return (struct rdb_id){id.ms, id.seq};
}

/* In a file the key's name stands behind it. */
static void dump_type(struct dump *dump, enum rdb_type type)
{
    rdb_put_u8(&dump->out, (uint8_t)type);
    if (dump->sink != NULL) { rdb_put_text(&dump->out, dump->name); }
}

static void dump_head(struct dump *dump, enum rdb_type type)
{
    dump_type(dump, type);
    rdb_put_length(&dump->out, dump->object->count);
}

static void dump_list(struct dump *dump)
{
    struct store_walk walk;
    dump_head(dump, RDB_TYPE_LIST);
    bool any = store_list_walk(&walk, dump->txn, dump->object, 0, STORE_UP);
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        rdb_put_text(&dump->out, store_walk_value(&walk));
    }
    store_walk_end(&walk);
}

static void dump_set(struct dump *dump)
{
    struct store_walk walk;
    dump_head(dump, RDB_TYPE_SET);
    bool any = store_set_walk(&walk, dump->txn, dump->object, 0);
    for (uint64_t i = 0; any && i < dump->object->count && !is_over(dump); i++) {
        rdb_put_text(&dump->out, store_walk_name(&walk));
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
}

/* The first deadline of its fields; 0: none has one. */
static uint64_t lowest_deadline(struct dump *dump)
{
    uint64_t lowest_ms = 0;
    uint64_t at_ms;
    struct store_walk walk;
    if (dump->object->fields.next_ms == 0) { return 0; }
    bool any = store_hash_walk(&walk, dump->txn, dump->object, 0);
    for (uint64_t i = 0; any && i < dump->object->count && goes_on(dump, i); i++) {
        bool has = store_hash_expiry(dump->txn, dump->object, store_walk_name(&walk), &at_ms);
        if (has && at_ms != 0 && (lowest_ms == 0 || at_ms < lowest_ms)) { lowest_ms = at_ms; }
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
    return lowest_ms;
}

/* 0: the field has none; else 1 and how much it is above the lowest. */
static void dump_deadline(struct dump *dump, struct slice field, uint64_t lowest_ms)
{
    uint64_t at_ms = 0;
    bool has = store_hash_expiry(dump->txn, dump->object, field, &at_ms) && at_ms != 0;
    rdb_put_length(&dump->out, has ? at_ms - lowest_ms + 1 : 0);
}

static void dump_hash(struct dump *dump)
{
    struct store_walk walk;
    uint64_t lowest_ms = lowest_deadline(dump);
    if (lowest_ms == 0) {
        dump_head(dump, RDB_TYPE_HASH);
    } else {
        dump->version = RDB_VERSION_FIELD_DEADLINES;
        dump_type(dump, RDB_TYPE_HASH_EXPIRING);
        rdb_put_u64(&dump->out, lowest_ms);
        rdb_put_length(&dump->out, dump->object->count);
    }
    bool any = store_hash_walk(&walk, dump->txn, dump->object, 0);
    for (uint64_t i = 0; any && i < dump->object->count && !is_over(dump); i++) {
        if (lowest_ms != 0) { dump_deadline(dump, store_walk_name(&walk), lowest_ms); }
        rdb_put_text(&dump->out, store_walk_name(&walk));
        rdb_put_text(&dump->out, store_walk_value(&walk));
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
}

static void dump_zset(struct dump *dump)
{
    struct store_walk walk;
    dump_head(dump, RDB_TYPE_ZSET_2);
    bool any = store_zset_walk(&walk, dump->txn, dump->object, 0, STORE_UP);
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        rdb_put_text(&dump->out, store_walk_name(&walk));
        rdb_put_double(&dump->out, store_walk_score(&walk));
    }
    store_walk_end(&walk);
}

static void dump_text(struct dump *dump)
{
    const struct store_object *object = dump->object;
    dump_type(dump, RDB_TYPE_STRING);
    if (object->count <= STORE_INLINE_MAX) {
        rdb_put_text(&dump->out, object->text);
        return;
    }
    rdb_put_length(&dump->out, object->count);
    for (uint64_t at = 0; at < object->count && !is_over(dump); at += TEXT_PIECE_BYTES) {
        store_string_read(dump->txn, object, at, TEXT_PIECE_BYTES, &dump->out);
    }
}

/* ---- streams ---- */

/* All entries. Nodes that are finished go as they come if there is a sink, behind how many there are; without `writes` they are
 * only counted. */
static uint64_t walk_entries(struct dump *dump, bool writes)
{
    struct rdb_entries out = {.entries = 0};
    struct store_entries entries;
    struct slice *part = NULL;
    uint32_t part_cap = 0;
    bool any =
        store_entries_begin(&entries, dump->txn, dump->object, (struct store_id){0, 0}, STORE_UP);
    for (; any && out.nodes.len <= TEXT_BYTES_MAX; any = store_entries_next(&entries)) {
        if (entries.part_count > part_cap) {
            part_cap = entries.part_count;
            mem_free(part);
            part = mem_new(part_cap * sizeof *part);
        }
        for (uint32_t i = 0; i < entries.part_count; i++) {
            part[i] = store_entries_part(&entries);
        }
        rdb_entries_add(&out, rdb_id_of(entries.id), part, entries.part_count);
        if (dump->sink == NULL || out.nodes.len < PIECE_BYTES) { continue; }
        if (writes) { buf_append(&dump->out, buf_slice(&out.nodes)); }
        out.nodes.len = 0;
        if (writes ? is_over(dump) : !goes_on(dump, 0)) { break; }
    }
    store_entries_end(&entries);
    if (dump->sink == NULL) {
        rdb_entries_end(&out, &dump->out);
    } else {
        rdb_entries_flush(&out);
        if (writes) { buf_append(&dump->out, buf_slice(&out.nodes)); }
    }
    uint64_t node_count = out.node_count;
    rdb_entries_fini(&out);
    mem_free(part);
    return node_count;
}

static void dump_entries(struct dump *dump)
{
    if (dump->sink != NULL) { rdb_put_length(&dump->out, walk_entries(dump, false)); }
    (void)walk_entries(dump, true);
}

enum pending_of { OF_GROUP, OF_CONSUMER, OF_NOBODY };

/* Of a group all that there is to tell; of a consumer only the ids. Gives: how many. */
static uint64_t dump_pending(struct dump *dump, const struct store_group *group,
                             enum pending_of whose, uint32_t cid)
{
    uint64_t count = 0;
    struct store_walk walk;
    bool any =
        store_pending_walk(&walk, dump->txn, dump->object, group, cid, (struct store_id){0, 0});
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        struct store_pending pending = store_pending_of(&walk, dump->object, group);
        if (whose == OF_NOBODY && pending.cid != 0) { continue; }
        count++;
        rdb_put_raw_id(&dump->out, rdb_id_of(pending.id));
        if (whose != OF_GROUP) { continue; }
        rdb_put_u64(&dump->out, pending.delivered_ms);
        rdb_put_length(&dump->out, pending.count);
    }
    store_walk_end(&walk);
    return count;
}

/* What XNACK has released is nobody's; Redis 7.0 knows no such thing, and gets it as this consumer's. */
static const struct slice released = {"fanfare:released", 16};

/* Does the consumer stand in the file only because nobody is none there? */
static bool released_is_made_up(struct dump *dump, const struct store_group *group)
{
    struct store_consumer found;
    return !store_consumer_find(dump->txn, dump->object, group, released, &found);
}

/* Append it, put together beforehand. Gives: how many are its own. */
static uint64_t released_ids(struct dump *dump, const struct store_group *group, struct buf *ids)
{
    struct dump part = {.txn = dump->txn, .object = dump->object};
    uint64_t count = dump_pending(&part, group, OF_NOBODY, 0);
    *ids = part.out;
    return count;
}

static void dump_consumer(struct dump *dump, struct slice name,
                          const struct store_consumer *consumer, uint64_t pending)
{
    rdb_put_text(&dump->out, name);
    rdb_put_u64(&dump->out, consumer->seen_ms);
    if (dump->sink != NULL) {
        rdb_put_u64(&dump->out, consumer->active_ms != 0 ? consumer->active_ms : UINT64_MAX);
    }
    rdb_put_length(&dump->out, pending);
}

static void dump_group(struct dump *dump, const struct store_group *group)
{
    struct store_walk walk;
    struct buf ids;
    uint64_t nobodys = released_ids(dump, group, &ids);
    bool has_own = nobodys > 0 && released_is_made_up(dump, group);
    rdb_put_id(&dump->out, rdb_id_of(group->last));
    rdb_put_length(&dump->out, group->read);
    rdb_put_length(&dump->out, group->pending);
    (void)dump_pending(dump, group, OF_GROUP, 0);
    rdb_put_length(&dump->out, group->consumers + has_own);
    bool any = store_consumers_walk(&walk, dump->txn, dump->object, group);
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        struct slice name = store_consumers_name(&walk);
        struct store_consumer consumer = store_consumers_consumer(&walk);
        bool gets = nobodys > 0 && slice_equal(name, released);
        dump_consumer(dump, name, &consumer, consumer.pending + (gets ? nobodys : 0));
        (void)dump_pending(dump, group, OF_CONSUMER, consumer.cid);
        if (gets) { buf_append(&dump->out, buf_slice(&ids)); }
    }
    store_walk_end(&walk);
    if (has_own) {
        dump_consumer(dump, released, &(struct store_consumer){.cid = 0}, nobodys);
        buf_append(&dump->out, buf_slice(&ids));
    }
    buf_fini(&ids);
}

static void dump_stream(struct dump *dump)
{
    const struct store_object *object = dump->object;
    const struct store_id none = {0, 0};
    struct store_walk walk;
    /* Files are read by us alone; what DUMP gives Redis 7.0 reads, too. */
    dump_type(dump, dump->sink != NULL ? RDB_TYPE_STREAM_3 : RDB_TYPE_STREAM_2);
    dump_entries(dump);
    rdb_put_length(&dump->out, object->count);
    rdb_put_id(&dump->out, rdb_id_of(object->stream.last));
    rdb_put_id(&dump->out, rdb_id_of(object->count > 0 ? object->stream.first : none));
    rdb_put_id(&dump->out, rdb_id_of(object->stream.max_deleted));
    rdb_put_length(&dump->out, object->stream.added);
    rdb_put_length(&dump->out, object->stream.groups);
    bool any = store_groups_walk(&walk, dump->txn, object);
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        rdb_put_text(&dump->out, store_groups_name(&walk));
        const struct store_group group = store_groups_group(&walk);
        dump_group(dump, &group);
    }
    store_walk_end(&walk);
}

/* ---- what Redis's form has no place for: notes behind the key ---- */

static void note_released_begin(const struct dump *dump, struct slice group, struct buf *note)
{
    note->len = 0;
    rdb_put_u8(note, 0);
    rdb_put_text(note, dump->name);
    rdb_put_text(note, group);
}

static void note_released(struct dump *dump, struct slice name, const struct store_group *group)
{
    struct store_walk walk;
    struct buf note = {0};
    uint32_t ids = 0;
    note_released_begin(dump, name, &note);
    bool any =
        store_pending_walk(&walk, dump->txn, dump->object, group, 0, (struct store_id){0, 0});
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        struct store_pending pending = store_pending_of(&walk, dump->object, group);
        if (pending.cid != 0) { continue; }
        if (ids == DUMP_NOTE_IDS_MAX) {
            rdb_put_note(&dump->out, SLICE(DUMP_NOTE_RELEASED), buf_slice(&note));
            note_released_begin(dump, name, &note);
            ids = 0;
        }
        rdb_put_raw_id(&note, rdb_id_of(pending.id));
        ids++;
    }
    store_walk_end(&walk);
    if (ids > 0) {
        note.data[0] = released_is_made_up(dump, group);
        rdb_put_note(&dump->out, SLICE(DUMP_NOTE_RELEASED), buf_slice(&note));
    }
    buf_fini(&note);
}

static void dump_notes(struct dump *dump)
{
    struct store_walk walk;
    const struct store_idmp *idmp = &dump->object->stream.idmp;
    bool any = store_groups_walk(&walk, dump->txn, dump->object);
    for (; any && !is_over(dump); any = store_walk_next(&walk)) {
        const struct store_group group = store_groups_group(&walk);
        note_released(dump, store_groups_name(&walk), &group);
    }
    store_walk_end(&walk);
    if (idmp->duration_s == 0) { return; }
    struct buf note = {0};
    rdb_put_text(&note, dump->name);
    rdb_put_length(&note, idmp->duration_s);
    rdb_put_length(&note, idmp->maxsize);
    rdb_put_note(&dump->out, SLICE(DUMP_NOTE_IDMP), buf_slice(&note));
    buf_fini(&note);
}

static void dump_object(struct dump *dump)
{
    switch (dump->object->type) {
    case STORE_NONE: break;
    case STORE_STRING: dump_text(dump); break;
    case STORE_LIST: dump_list(dump); break;
    case STORE_SET: dump_set(dump); break;
    case STORE_ZSET: dump_zset(dump); break;
    case STORE_HASH: dump_hash(dump); break;
    case STORE_STREAM:
        dump_stream(dump);
        if (dump->sink != NULL) { dump_notes(dump); }
        break;
    }
}

void data_dump(struct data_call *call)
{
    struct data_key key = key_find(call, call->argv[1]);
    struct dump dump = {.txn = call->txn, .object = &key.object, .version = RDB_VERSION_WRITTEN};
    if (!key.is_there) {
        reply_null(call->reply);
        return;
    }
    dump_object(&dump);
    if (is_over(&dump)) {
        reply_error(call->reply, "ERR DUMP payload exceeds maximum allowed size (512 MB)");
    } else {
        rdb_payload_end(&dump.out, dump.version);
        reply_bulk(call->reply, buf_slice(&dump.out));
    }
    buf_fini(&dump.out);
}

void data_dump_key(struct store_txn *txn, struct slice name, const struct store_object *object,
                   const struct data_dump_sink *sink, struct buf *out)
{
    struct dump dump = {.txn = txn, .object = object, .name = name, .sink = sink, .out = *out};
    if (object->expire_ms != 0) { rdb_put_expiry(&dump.out, object->expire_ms); }
    dump_object(&dump);
    *out = dump.out;
}
