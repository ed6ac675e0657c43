/* data_stream_refs: what consumer groups still want of a stream's entries: KEEPREF, DELREF, ACKED. Inside this module. */
#ifndef FANFARE_DATA_DATA_STREAM_REFS_H
#define FANFARE_DATA_DATA_STREAM_REFS_H

#include "data/data_stream.h"
#include "store/store_group.h"

/* What becomes of an entry that is removed: what is pending of it stays, or goes; or it goes only if all groups have read
 * and acknowledged it. */
enum refs { REFS_KEEP, REFS_DROP, REFS_ACKED };

/* Is argument `i` one of the words? */
bool arg_is_refs(const struct data_call *call, uint32_t i, enum refs *refs);

/* All groups of a stream, read at once and saved at the end. Owns: them, until groups_end. */
struct stream_group {
    struct store_group group;
    size_t name_at; /* in `names` */
    size_t name_len;
    bool is_dirty;
};
struct stream_groups {
    struct data_key *key;
    struct stream_group *group;
    uint32_t count;
    struct buf names;
};
void groups_begin(struct stream_groups *groups, struct data_key *key);
/* Save those that have changed, and free. The stream itself is saved by the caller. */
void groups_end(struct stream_groups *groups);
struct stream_group *stream_groups_find(const struct stream_groups *groups, struct slice name);

/* Acknowledge it in one group. False: it was not pending there. */
bool groups_acknowledge(struct stream_groups *groups, struct stream_group *group,
                        struct store_id id);
/* Has a group not read it yet, or not acknowledged it? */
bool groups_want(const struct stream_groups *groups, struct store_id id);
/* It is pending in no group any more. */
void groups_forget(struct stream_groups *groups, struct store_id id);

/* Trim a stream that is there. Gives: how many entries went. */
uint64_t refs_trim(struct data_key *key, const struct store_trim *trim, enum refs refs);

#endif
