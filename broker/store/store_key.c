/* store_key: the keyspace. */
#include "store/store_key.h"

#include "store/store_fields.h"
#include "store/store_head.h"
#include "store/store_unlink.h"
#include "store/store_value.h"

enum {
    TIMER_EXPIRY = 1, /* kinds of `t`: the key's deadline */
    TIMER_FIELDS = 2, /* the first one of a hash's fields */
    TIMER_BYTES = 1 + 8 + 1 + 4 + 2 + 8,
};

/* ---- rows ---- */

static void name_key(struct store_key_bytes *key, uint32_t space, uint16_t slot, uint64_t oid)
{
    key_begin(key, 'o');
    key_u32(key, space);
    key_u16(key, slot);
    key_u64(key, oid);
}

static void timer_key_of(struct store_key_bytes *key, uint64_t at_ms, uint8_t kind, uint32_t space,
                         uint16_t slot, uint64_t oid)
{
    key_begin(key, 't');
    key_u64(key, at_ms);
    key_u8(key, kind);
    key_u32(key, space);
    key_u16(key, slot);
    key_u64(key, oid);
}

static void timer_key(struct store_key_bytes *key, uint64_t at_ms, uint32_t space, uint16_t slot,
                      uint64_t oid)
{
    timer_key_of(key, at_ms, TIMER_EXPIRY, space, slot, oid);
}

/* The row of a hash's fields, from one moment (0: none) to another. */
static void fields_timer_move(struct store_txn *txn, uint32_t space, uint16_t slot,
                              const struct store_object *object, uint64_t from_ms, uint64_t to_ms)
{
    struct store_key_bytes key;
    if (from_ms == to_ms) { return; }
    if (from_ms != 0) {
        timer_key_of(&key, from_ms, TIMER_FIELDS, space, slot, object->oid);
        (void)txn_delete(txn, key_slice(&key));
    }
    if (to_ms != 0) {
        timer_key_of(&key, to_ms, TIMER_FIELDS, space, slot, object->oid);
        txn_put(txn, key_slice(&key), SLICE(""));
    }
}

static bool is_past(struct store_txn *txn, const struct store_object *object)
{
    if (object->expire_ms == 0 || txn->now_ms <= object->expire_ms) { return false; }
    if (txn->clock_ms <= object->expire_ms) { txn->hid = true; }
    return true;
}

/* Leave fields that are past their deadline out of the count. False: there are no others, and so there is no key. */
static bool fields_hide(struct store_txn *txn, struct store_object *object)
{
    if (object->fields.next_ms == 0 || txn->now_ms <= object->fields.next_ms) { return true; }
    object->fields.hidden = hash_count_past(txn, object);
    object->count -= object->fields.hidden;
    return object->count > 0;
}

/* ---- keys ---- */

bool store_key_find(struct store_txn *txn, const struct store_ref *ref, struct store_object *out)
{
    if (!head_get(txn, txn_space(txn, ref->db)->space, ref, out)) { return false; }
    if (!is_past(txn, out) && fields_hide(txn, out)) { return true; }
    if (txn->is_write) { store_key_remove(txn, ref, out); }
    *out = (struct store_object){0};
    return false;
}

void store_key_create(struct store_txn *txn, enum store_type type, struct store_object *out)
{
    uint64_t oid = txn->next_oid++;
    *out = (struct store_object){.type = type, .oid = oid, .content = oid};
}

/* The rows that lead to a head: by id, and by time. */
static void leads_put(struct store_txn *txn, struct store_space *space, const struct store_ref *ref,
                      const struct store_object *object)
{
    struct store_key_bytes key;
    name_key(&key, space->space, ref->slot, object->oid);
    txn_put(txn, key_slice(&key), ref->name);
    if (object->timer_ms != 0) {
        timer_key(&key, object->timer_ms, space->space, ref->slot, object->oid);
        txn_put(txn, key_slice(&key), SLICE(""));
    }
    fields_timer_move(txn, space->space, ref->slot, object, 0, object->fields.next_ms);
    space->keys++;
    if (object->expire_ms != 0) { space->expiring++; }
    space->is_dirty = true;
}

static void leads_delete(struct store_txn *txn, struct store_space *space,
                         const struct store_ref *ref, const struct store_object *object)
{
    struct store_key_bytes key;
    name_key(&key, space->space, ref->slot, object->oid);
    (void)txn_delete(txn, key_slice(&key));
    if (object->timer_ms != 0) {
        timer_key(&key, object->timer_ms, space->space, ref->slot, object->oid);
        (void)txn_delete(txn, key_slice(&key));
    }
    fields_timer_move(txn, space->space, ref->slot, object, object->fields.timer_ms, 0);
    space->keys--;
    if (object->expire_ms != 0) { space->expiring--; }
    space->is_dirty = true;
}

/* The record of a database that is written to: from here on it stands for a space. */
static struct store_space *space_for_write(struct store_txn *txn, uint16_t db)
{
    struct store_space *space = txn_space(txn, db);
    if (space->space == 0) {
        space->space = txn->next_space++;
        space->is_dirty = true;
    }
    return space;
}

void store_key_save(struct store_txn *txn, const struct store_ref *ref, struct store_object *object)
{
    struct store_space *space = space_for_write(txn, ref->db);
    bool is_new = object->version == 0;
    object->version = ++txn->write_seq;
    head_put(txn, space->space, ref, object);
    if (is_new) {
        leads_put(txn, space, ref, object);
    } else {
        fields_timer_move(txn, space->space, ref->slot, object, object->fields.timer_ms,
                          object->fields.next_ms);
    }
    object->fields.timer_ms = object->fields.next_ms;
}

void store_key_remove(struct store_txn *txn, const struct store_ref *ref,
                      const struct store_object *object)
{
    struct store_space *space = txn_space(txn, ref->db);
    head_delete(txn, space->space, ref);
    leads_delete(txn, space, ref, object);
    unlink_content(txn, object);
}

void store_key_empty(struct store_txn *txn, struct store_object *object)
{
    unlink_content(txn, object);
    object->content = txn->next_oid++;
    object->count = 0;
    object->fields.hidden = 0;
    object->fields.next_ms = 0;
    object->levels = 0;
    object->first = 0;
    object->last = 0;
    object->text = SLICE("");
}

/* A short text stands in LMDB's page until the next write: keep it for the head that comes after one. */
static void text_keep(struct store_object *object, char kept[STORE_INLINE_MAX])
{
    if (object->text.len > 0) { memcpy(kept, object->text.data, object->text.len); }
    object->text.data = kept;
}

void store_key_set_expiry(struct store_txn *txn, const struct store_ref *ref,
                          struct store_object *object, uint64_t expire_ms)
{
    struct store_space *space = space_for_write(txn, ref->db);
    char text[STORE_INLINE_MAX];
    text_keep(object, text);
    bool is_new = object->version == 0;
    uint64_t timer_ms = object->timer_ms;
    if (expire_ms == 0 || timer_ms == 0 || expire_ms < timer_ms) { timer_ms = expire_ms; }
    if (!is_new) {
        struct store_key_bytes key;
        if (object->timer_ms != 0 && object->timer_ms != timer_ms) {
            timer_key(&key, object->timer_ms, space->space, ref->slot, object->oid);
            (void)txn_delete(txn, key_slice(&key));
        }
        if (timer_ms != 0 && object->timer_ms != timer_ms) {
            timer_key(&key, timer_ms, space->space, ref->slot, object->oid);
            txn_put(txn, key_slice(&key), SLICE(""));
        }
        space->expiring += (uint64_t)(expire_ms != 0) - (uint64_t)(object->expire_ms != 0);
        space->is_dirty = true;
    }
    object->expire_ms = expire_ms;
    object->timer_ms = timer_ms;
    store_key_save(txn, ref, object);
    object->text = SLICE("");
}

void store_key_rename(struct store_txn *txn, const struct store_ref *from,
                      const struct store_ref *to, struct store_object *object)
{
    struct store_space *old = txn_space(txn, from->db);
    char text[STORE_INLINE_MAX];
    text_keep(object, text);
    head_delete(txn, old->space, from);
    leads_delete(txn, old, from, object);
    object->version = 0;
    store_key_save(txn, to, object);
    object->text = SLICE("");
}

/* ---- databases ---- */

struct store_count store_db_count(struct store_txn *txn, uint16_t db)
{
    const struct store_space *space = txn_space(txn, db);
    return (struct store_count){space->keys, space->expiring};
}

void store_db_counts(const struct store_txn *txn,
                     void (*each)(void *arg, uint16_t db, struct store_count count), void *arg)
{
    for (uint32_t i = 0; i < txn->space_count; i++) {
        const struct store_space *space = &txn->space[i];
        each(arg, space->db, (struct store_count){space->keys, space->expiring});
    }
}

void store_db_flush(struct store_txn *txn, uint16_t db)
{
    struct store_space *space = txn_space(txn, db);
    if (space->keys == 0) { return; }
    unlink_space(txn, space->space);
    *space = (struct store_space){.db = db, .space = txn->next_space++, .is_dirty = true};
}

void store_db_swap(struct store_txn *txn, uint16_t a, uint16_t b)
{
    struct store_space *one = txn_space(txn, a);
    struct store_space *other = txn_space(txn, b);
    struct store_space kept = *one;
    *one = *other;
    *other = kept;
    one->db = a;
    other->db = b;
    one->is_dirty = true;
    other->is_dirty = true;
}

/* The database that the space stands for. False: none any more. */
static bool db_of_space(struct store_txn *txn, uint32_t space, uint16_t *db)
{
    for (uint32_t i = 0; i < txn->space_count; i++) {
        if (txn->space[i].space == space) {
            *db = txn->space[i].db;
            return true;
        }
    }
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, SLICE("D"));
    bool is_found = false;
    for (bool any = cursor_first(&cursor); any && !is_found; any = cursor_next(&cursor)) {
        *db = read_u16(cursor.key.data + 1);
        is_found = read_u32(cursor.value.data) == space && txn_space(txn, *db)->space == space;
    }
    cursor_end(&cursor);
    return is_found;
}

/* ---- walks ---- */

uint64_t store_key_scan(struct store_txn *txn, uint16_t db, uint64_t cursor, uint64_t count,
                        void (*visit)(void *arg, struct slice name,
                                      const struct store_object *object),
                        void *arg)
{
    uint32_t space = txn_space(txn, db)->space;
    if (space == 0) { return 0; }
    struct store_key_bytes prefix;
    key_begin(&prefix, 'o');
    key_u32(&prefix, space);
    struct store_key_bytes from;
    uint64_t oid_mask = (1ULL << STORE_SCAN_OID_BITS) - 1;
    name_key(&from, space, (uint16_t)(cursor >> STORE_SCAN_OID_BITS), (cursor & oid_mask) + 1);
    struct store_cursor at;
    cursor_begin(&at, txn, key_slice(&prefix));
    uint64_t next = 0;
    bool any = cursor_seek(&at, key_slice(&from));
    for (uint64_t looked = 0; any && looked < count; looked++, any = cursor_next(&at)) {
        const struct store_ref ref = {db, read_u16(at.key.data + 5), at.value};
        next = (uint64_t)ref.slot << STORE_SCAN_OID_BITS | read_u64(at.key.data + 7);
        struct store_object object;
        if (head_get(txn, space, &ref, &object) && !is_past(txn, &object) &&
            fields_hide(txn, &object)) {
            visit(arg, at.value, &object);
        }
    }
    cursor_end(&at);
    return any ? next : 0;
}

/* Of a row of `o`: its slot above its id, as its rows are ordered. */
static uint64_t scan_place(const struct store_cursor *at)
{
    return (uint64_t)read_u16(at->key.data + 5) << STORE_SCAN_OID_BITS | read_u64(at->key.data + 7);
}

bool store_key_random(struct store_txn *txn, uint16_t db, uint64_t random, struct slice *name)
{
    const struct store_space *space = txn_space(txn, db);
    if (space->keys == 0) { return false; }
    struct store_key_bytes prefix;
    key_begin(&prefix, 'o');
    key_u32(&prefix, space->space);
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool is_found = cursor_first(&cursor);
    if (is_found) {
        /* A slot between the first and the last, there an id between them if that is the only one, then one of the next few. */
        struct store_key_bytes at;
        uint64_t first = scan_place(&cursor);
        is_found = cursor_last(&cursor);
        uint64_t last = is_found ? scan_place(&cursor) : first;
        uint64_t place = first + random % (last - first + 1);
        name_key(&at, space->space, (uint16_t)(place >> STORE_SCAN_OID_BITS),
                 place & ((1ULL << STORE_SCAN_OID_BITS) - 1));
        is_found = cursor_seek(&cursor, key_slice(&at));
        for (uint64_t skip = (random >> 32) % 16; is_found && skip > 0; skip--) {
            if (!cursor_next(&cursor)) { is_found = cursor_first(&cursor); }
        }
        *name = cursor.value;
    }
    cursor_end(&cursor);
    return is_found;
}

/* ---- deadlines ---- */

uint64_t store_key_next_expiry(struct store_txn *txn)
{
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, SLICE("t"));
    uint64_t at_ms = cursor_first(&cursor) ? read_u64(cursor.key.data + 1) : 0;
    cursor_end(&cursor);
    return at_ms;
}

struct expiry {
    uint64_t at_ms;
    uint8_t kind;
    uint32_t space;
    uint16_t slot;
    uint64_t oid;
};

/* The first row of `t` that is due. Its key goes. */
static bool take_due(struct store_txn *txn, struct expiry *due)
{
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, SLICE("t"));
    bool is_due = cursor_first(&cursor) && cursor.key.len == TIMER_BYTES &&
                  read_u64(cursor.key.data + 1) < txn->now_ms;
    if (is_due) {
        *due = (struct expiry){read_u64(cursor.key.data + 1), (uint8_t)cursor.key.data[9],
                               read_u32(cursor.key.data + 10), read_u16(cursor.key.data + 14),
                               read_u64(cursor.key.data + 16)};
        cursor_delete(&cursor);
    }
    cursor_end(&cursor);
    return is_due;
}

struct expire {
    struct store_txn *txn;
    void (*removed)(void *arg, uint16_t db, struct slice name, enum store_expired what);
    void *arg;
};

/* A row of a key's deadline. */
static void expire_key(const struct expire *expire, const struct expiry *due,
                       const struct store_ref *ref, struct store_object *object)
{
    struct store_txn *txn = expire->txn;
    if (object->timer_ms != due->at_ms) { return; }
    object->timer_ms = 0;
    if (is_past(txn, object)) {
        expire->removed(expire->arg, ref->db, ref->name, STORE_EXPIRED_KEY);
        store_key_remove(txn, ref, object);
    } else if (object->expire_ms != 0) { /* it was put off meanwhile */
        struct store_key_bytes key;
        object->timer_ms = object->expire_ms;
        timer_key(&key, object->timer_ms, due->space, due->slot, due->oid);
        txn_put(txn, key_slice(&key), SLICE(""));
        head_put(txn, due->space, ref, object);
    }
}

/* A row of a hash's fields. Gives: how many went. */
static uint64_t expire_fields(const struct expire *expire, const struct expiry *due,
                              const struct store_ref *ref, struct store_object *object,
                              uint64_t count)
{
    struct store_txn *txn = expire->txn;
    if (object->fields.timer_ms != due->at_ms) { return 0; }
    object->fields.timer_ms = 0;
    uint64_t gone = hash_remove_past(txn, object, count);
    if (object->count == 0) {
        expire->removed(expire->arg, ref->db, ref->name, STORE_EXPIRED_LAST);
        store_key_remove(txn, ref, object);
    } else if (gone > 0) {
        store_key_save(txn, ref, object);
        expire->removed(expire->arg, ref->db, ref->name, STORE_EXPIRED_FIELDS);
    } else { /* they were put off meanwhile */
        head_put(txn, due->space, ref, object);
        fields_timer_move(txn, due->space, due->slot, object, 0, object->fields.next_ms);
    }
    return gone;
}

/* Gives: how much that was, a row of `t` at the least. */
static uint64_t expire_one(const struct expire *expire, const struct expiry *due, uint64_t count)
{
    struct store_txn *txn = expire->txn;
    struct store_ref ref = {.slot = due->slot};
    if (!db_of_space(txn, due->space, &ref.db)) { return 1; } /* flushed: its purge goes on */
    struct store_key_bytes key;
    name_key(&key, due->space, due->slot, due->oid);
    struct slice name;
    if (!txn_get(txn, key_slice(&key), &name)) { return 1; }
    struct buf kept = {0};
    buf_append(&kept, name);
    ref.name = buf_slice(&kept);
    struct store_object object;
    uint64_t gone = 0;
    if (!head_get(txn, due->space, &ref, &object)) {
        gone = 1;
    } else if (due->kind == TIMER_FIELDS) {
        gone = expire_fields(expire, due, &ref, &object, count);
    } else {
        expire_key(expire, due, &ref, &object);
    }
    buf_fini(&kept);
    return gone > 0 ? gone : 1;
}

uint64_t store_key_expire(struct store_txn *txn, uint64_t count,
                          void (*removed)(void *arg, uint16_t db, struct slice name,
                                          enum store_expired what),
                          void *arg)
{
    const struct expire expire = {txn, removed, arg};
    uint64_t taken = 0;
    struct expiry due;
    while (taken < count && take_due(txn, &due)) {
        taken += expire_one(&expire, &due, count - taken);
    }
    return taken;
}

/* ---- what is unlinked ---- */

/* A flushed database's keys. Gives: the rows that went. */
static uint64_t purge_space(struct store_txn *txn, uint32_t space, uint64_t count)
{
    struct store_key_bytes prefix;
    key_begin(&prefix, 'k');
    key_u32(&prefix, space);
    uint64_t removed = 0;
    heads_flush(txn);
    while (removed < count) {
        struct store_cursor cursor;
        cursor_begin(&cursor, txn, key_slice(&prefix));
        struct store_object object;
        struct store_key_bytes key;
        bool any = cursor_first(&cursor);
        if (any) {
            bool is_long = cursor.key.len - 7 > STORE_NAME_MAX;
            if (!head_decode(cursor.value, is_long, &object, NULL)) { txn_fail(txn, ERR_CORRUPT); }
            uint16_t slot = read_u16(cursor.key.data + 5);
            cursor_delete(&cursor);
            name_key(&key, space, slot, object.oid);
            (void)txn_delete(txn, key_slice(&key));
            timer_key(&key, object.timer_ms, space, slot, object.oid);
            if (object.timer_ms != 0) { (void)txn_delete(txn, key_slice(&key)); }
            fields_timer_move(txn, space, slot, &object, object.fields.timer_ms, 0);
        }
        cursor_end(&cursor);
        if (!any) { break; }
        unlink_content(txn, &object);
        removed += 2;
    }
    return removed;
}

bool store_purge_is_due(struct store_txn *txn)
{
    struct unlinked unlinked;
    return unlinked_first(txn, &unlinked);
}

bool store_purge(struct store_txn *txn, uint64_t count)
{
    struct unlinked unlinked;
    while (count > 0 && unlinked_first(txn, &unlinked)) {
        uint64_t gone = unlinked.kind == UNLINKED_SPACE
                            ? purge_space(txn, (uint32_t)unlinked.id, count)
                            : unlinked_remove(txn, &unlinked, count);
        if (gone >= count) { return true; }
        unlinked_done(txn, &unlinked);
        count -= gone;
    }
    return count == 0;
}
