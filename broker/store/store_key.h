/* store_key: the keyspace: names, their objects' heads, deadlines, and what is unlinked.
 *
 * A head (key `k space slot name`): type1 flags1 encoding1 version8 oid8 count8, then as the flags say expire8 timer8 (it
 * expires), content8 (it was emptied once), levels1 (it has a ladder), fields8 (its fields' next deadline), of a list first8 last8, of a stream first16
 * last16 max_deleted16 added8 groups4 next_group4, of a name above STORE_NAME_MAX length4 and the name, and last a short
 * string's text.
 *
 * A deadline hides a key from its moment on; the key is removed by whoever writes to it next, or by
 * store_key_expire. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_KEY_H
#define FANFARE_STORE_STORE_KEY_H

#include "store/store_object.h"

/* The object of a key that is there and not hidden. False: none; *out is zeroed. In a write transaction a key past its
 * deadline is removed on the way. object->text is good until the next write. */
bool store_key_find(struct store_txn *txn, const struct store_ref *ref, struct store_object *out);

/* A new object under a name that has none. Not written until store_key_save. */
void store_key_create(struct store_txn *txn, enum store_type type, struct store_object *out);

/* Write the head, with a new version. A new object's name enters the keyspace here. */
void store_key_save(struct store_txn *txn, const struct store_ref *ref,
                    struct store_object *object);

/* The key goes, its content now or, if there is much of it, piece by piece through store_purge. */
void store_key_remove(struct store_txn *txn, const struct store_ref *ref,
                      const struct store_object *object);

/* The object's content goes, at once for whoever looks; the head is the caller's, to be given another type or content and
 * saved. */
void store_key_empty(struct store_txn *txn, struct store_object *object);

/* 0: never. Saves the head; object->text is gone afterwards, as after store_key_rename. */
void store_key_set_expiry(struct store_txn *txn, const struct store_ref *ref,
                          struct store_object *object, uint64_t expire_ms);

/* The object gets another name, in the same partition; what was under that one must have been removed. Saves the head. */
void store_key_rename(struct store_txn *txn, const struct store_ref *from,
                      const struct store_ref *to, struct store_object *object);

/* How many keys a database has, and how many of them expire. What is past its deadline counts until it is removed. */
struct store_count {
    uint64_t keys;
    uint64_t expiring;
};
struct store_count store_db_count(struct store_txn *txn, uint16_t db);
/* Of each database that the transaction has had to do with. */
void store_db_counts(const struct store_txn *txn,
                     void (*each)(void *arg, uint16_t db, struct store_count count), void *arg);

/* All keys of the database go at once; their content through store_purge. */
void store_db_flush(struct store_txn *txn, uint16_t db);
void store_db_swap(struct store_txn *txn, uint16_t a, uint16_t b);

/* Visit names in the order of SCAN, from a cursor (0 at the beginning) on, until `count` were looked at. Keys past
 * their deadline are left out. `visit` must not write. Gives: the next cursor; 0: the end. A key that is there from the first call to the last is
 * visited at least once. */
uint64_t store_key_scan(struct store_txn *txn, uint16_t db, uint64_t cursor, uint64_t count,
                        void (*visit)(void *arg, struct slice name,
                                      const struct store_object *object),
                        void *arg);

/* A name with about the same chance as any other, by `random`. False: the database is empty. The name is good until the
 * next write. */
bool store_key_random(struct store_txn *txn, uint16_t db, uint64_t random, struct slice *name);

/* When the next key expires, by its row; 0: none. */
uint64_t store_key_next_expiry(struct store_txn *txn);

/* What is removed at its deadline: a key, fields of a hash, or the last ones of it, and so the key. */
enum store_expired { STORE_EXPIRED_KEY, STORE_EXPIRED_FIELDS, STORE_EXPIRED_LAST };

/* Remove keys and fields that are past their deadline by the transaction's time, at most so many. `removed` hears of each
 * key, and of each hash that lost some; the name is good inside it only. Gives: how many; below `count`: there are no more. */
uint64_t store_key_expire(struct store_txn *txn, uint64_t count,
                          void (*removed)(void *arg, uint16_t db, struct slice name,
                                          enum store_expired what),
                          void *arg);

/* Is anything unlinked and not removed? */
bool store_purge_is_due(struct store_txn *txn);
/* Remove what was unlinked, at most about `count` rows. Gives: false: nothing is left. */
bool store_purge(struct store_txn *txn, uint64_t count);

#endif
