/* store_group: consumer groups of streams over one transaction: groups, consumers, and entries that were delivered and not
 * acknowledged.
 *
 *   g content group              last16 read8 pending8 gid4 consumers4 [oldest8]
 *   n content gid4 0 consumer    cid4
 *   n content gid4 1 cid4        seen8 active8 pending8 name
 *   p content gid4 ms8 seq8      cid4 delivered8 count8; cid 0: nobody's, given back
 *   j content gid4 cid4 ms8 seq8 -
 *
 * What a call changes in `stream`, `group` or `consumer` the caller saves. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_GROUP_H
#define FANFARE_STORE_STORE_GROUP_H

#include "store/store_walk.h"

#define STORE_READ_UNKNOWN UINT64_MAX /* of read: it cannot be told any more */

struct store_group {
    uint32_t gid;
    uint32_t consumers;
    struct store_id last; /* delivered */
    uint64_t read;        /* how many entries of the stream are up to `last` */
    uint64_t pending;
    uint64_t oldest_ms; /* nothing that is pending was delivered before; 0: that is not known */
};

struct store_consumer {
    uint32_t cid;
    uint64_t seen_ms;   /* tried to read or claim */
    uint64_t active_ms; /* got something; 0: never */
    uint64_t pending;
};

struct store_pending {
    struct store_id id;
    uint32_t cid;
    uint64_t delivered_ms;
    uint64_t count;
};

/* ---- groups ---- */

bool store_group_find(struct store_txn *txn, const struct store_object *stream, struct slice name,
                      struct store_group *out);
/* A new one, saved. There is none of this name. Changes the stream. */
void store_group_create(struct store_txn *txn, struct store_object *stream, struct slice name,
                        struct store_group *group);
void store_group_save(struct store_txn *txn, const struct store_object *stream, struct slice name,
                      const struct store_group *group);
/* With its consumers and all that is pending, through store_purge if that is much. Changes the stream. */
void store_group_remove(struct store_txn *txn, struct store_object *stream, struct slice name,
                        const struct store_group *group);

/* All groups, in the order of their names. */
bool store_groups_walk(struct store_walk *walk, struct store_txn *txn,
                       const struct store_object *stream);
struct slice store_groups_name(const struct store_walk *walk);
struct store_group store_groups_group(struct store_walk *walk);

/* ---- consumers ---- */

bool store_consumer_find(struct store_txn *txn, const struct store_object *stream,
                         const struct store_group *group, struct slice name,
                         struct store_consumer *out);
/* A new one, not saved. Changes stream and group. */
void store_consumer_create(struct store_txn *txn, struct store_object *stream,
                           struct store_group *group, struct slice name,
                           struct store_consumer *out);
void store_consumer_save(struct store_txn *txn, const struct store_object *stream,
                         const struct store_group *group, struct slice name,
                         const struct store_consumer *consumer);
/* With all that is pending for it, one by one. Changes the group. Gives: how many were. */
uint64_t store_consumer_remove(struct store_txn *txn, const struct store_object *stream,
                               struct store_group *group, struct slice name,
                               const struct store_consumer *consumer);
/* The name of a consumer that something is pending for; good until the next write. */
struct slice store_consumer_name(struct store_txn *txn, const struct store_object *stream,
                                 const struct store_group *group, uint32_t cid);

bool store_consumers_walk(struct store_walk *walk, struct store_txn *txn,
                          const struct store_object *stream, const struct store_group *group);
struct slice store_consumers_name(const struct store_walk *walk);
struct store_consumer store_consumers_consumer(const struct store_walk *walk);

/* ---- what is pending ---- */

bool store_pending_find(struct store_txn *txn, const struct store_object *stream,
                        const struct store_group *group, struct store_id id,
                        struct store_pending *out);
/* Something is delivered, or claimed, or delivered again. `consumer` is pending->cid's and gets one more; whose it was
 * before has one less, in the store. Changes group and consumer. */
void store_pending_put(struct store_txn *txn, const struct store_object *stream,
                       struct store_group *group, struct store_consumer *consumer,
                       const struct store_pending *pending);
/* It is pending for nobody, as if delivered at the beginning of time: given back, or new. Changes the group, and the
 * consumer that it was pending for in the store. */
void store_pending_release(struct store_txn *txn, const struct store_object *stream,
                           struct store_group *group, struct store_id id, uint64_t count);
/* Acknowledged. False: it was not pending. Changes the group, and the consumer in the store. */
bool store_pending_delete(struct store_txn *txn, const struct store_object *stream,
                          struct store_group *group, struct store_id id);

/* From an id on; of one consumer (cid), or of all (0). */
bool store_pending_walk(struct store_walk *walk, struct store_txn *txn,
                        const struct store_object *stream, const struct store_group *group,
                        uint32_t cid, struct store_id from);
/* The one with the highest id. False: nothing is pending. */
bool store_pending_last(struct store_txn *txn, const struct store_object *stream,
                        const struct store_group *group, struct store_pending *out);
/* What is under such a walk; of one over a consumer it is read from the store. */
struct store_pending store_pending_of(struct store_walk *walk, const struct store_object *stream,
                                      const struct store_group *group);

#endif
