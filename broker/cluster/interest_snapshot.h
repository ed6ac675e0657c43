/* interest_snapshot: names of which this node's clients are subscribers, on their way to who counts them, in parts.
 * Owns: copies of the names. Thread: its caller's. */
#ifndef FANFARE_CLUSTER_INTEREST_SNAPSHOT_H
#define FANFARE_CLUSTER_INTEREST_SNAPSHOT_H

#include "base/buf.h"
#include "cluster/wire.h"

/* Zeroed: empty. */
struct interest_snapshot {
    struct buf names;
    struct wire_sync_entry *entry;
    size_t count;
    size_t cap;
};

/* A local_visit; arg is the snapshot. */
void interest_snapshot_add(void *arg, enum topic_kind kind, struct slice name, uint64_t count);
/* All have been added: from here on the entries' names are in place. */
void interest_snapshot_seal(struct interest_snapshot *snapshot);
/* Where the part ends that begins at `begun` and has about so many bytes of names; a part may be empty. */
size_t interest_snapshot_part(const struct interest_snapshot *snapshot, size_t begun,
                              size_t bytes_max);
void interest_snapshot_fini(struct interest_snapshot *snapshot);

#endif
