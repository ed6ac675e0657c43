/* store_unlink: content that nobody can reach any more: removed at once where it is little, else noted under `b` and removed
 * piece by piece. Inside the store.
 *
 *   b 1 content8          type1: an object's rows
 *   b 2 space8            a flushed database's keys
 *   b 3 content8 gid4     what a consumer group had */
#ifndef FANFARE_STORE_STORE_UNLINK_H
#define FANFARE_STORE_STORE_UNLINK_H

#include "store/store_int.h"
#include "store/store_object.h"

enum unlinked_kind { UNLINKED_OBJECT = 1, UNLINKED_SPACE = 2, UNLINKED_GROUP = 3 };

struct unlinked {
    enum unlinked_kind kind;
    uint64_t id;
    uint32_t gid;
    enum store_type type;
};

/* The tags under which a type's rows stand, and whether a tag's values may have chunks. */
const char *content_tags(enum store_type type);
bool content_has_values(char tag);

void unlink_content(struct store_txn *txn, const struct store_object *object);
void unlink_group(struct store_txn *txn, uint64_t content, uint32_t gid, uint64_t rows);
void unlink_space(struct store_txn *txn, uint32_t space);

/* The first of what is noted. False: nothing is. */
bool unlinked_first(struct store_txn *txn, struct unlinked *out);
/* Remove rows of an object or a group, at most about `count`. Gives: how many went; fewer: that was all. */
uint64_t unlinked_remove(struct store_txn *txn, const struct unlinked *unlinked, uint64_t count);
/* All of it has gone. */
void unlinked_done(struct store_txn *txn, const struct unlinked *unlinked);

#endif
