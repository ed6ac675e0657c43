/* membership_file: what a node knows of its cluster before it has read or heard anything: the file
 * `cluster` in its data directory. Thread: any, one at a time. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_FILE_H
#define FANFARE_CONSENSUS_MEMBERSHIP_FILE_H

#include "base/err.h"
#include "consensus/map/pmap.h"

enum cluster_state {
    CLUSTER_NONE,       /* the node has no cluster; there may be no file */
    CLUSTER_PROMISED,   /* nor this; but it takes part in no other founding than this one */
    CLUSTER_FOUNDING,   /* it has founded this cluster, or is about to; nobody else ever does */
    CLUSTER_JOINING,    /* it belongs to this cluster; its replica may not be in the log yet */
    CLUSTER_MEMBER,     /* its replica is in the log, or something is badly wrong */
    CLUSTER_RECOVERING, /* so it is; it goes on alone, as a new cluster: an operator said so */
};

struct cluster_file {
    enum cluster_state state;
    uint64_t cluster_id;
    uint64_t founder_id; /* PROMISED: to this node */
    char founder[PMAP_NAME_BYTES];
    uint32_t peer_count; /* members, where they were reached last: whom to ask who leads */
    struct pmap_address peer[PMAP_NODES_MAX];
};

/* Read it; CLUSTER_NONE if there is no file. Errors: ERR_SYSTEM, ERR_CORRUPT (logged). */
MUST_USE enum err cluster_file_load(const char *dir, struct cluster_file *out);

bool cluster_file_equal(const struct cluster_file *a, const struct cluster_file *b);

/* Replace it: durable when this returns ERR_OK; the old or the new one otherwise. Blocks. Errors:
 * ERR_SYSTEM, ERR_FULL (logged). */
MUST_USE enum err cluster_file_save(const char *dir, const struct cluster_file *file);

#endif
