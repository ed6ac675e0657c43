/* interest_int: what the interest in channels (interest_channels.c) and in patterns (interest_patterns.c) share. */
#ifndef FANFARE_CLUSTER_INTEREST_INT_H
#define FANFARE_CLUSTER_INTEREST_INT_H

#include "cluster/cluster_int.h"

static inline struct slice interest_id(const uint64_t *id)
{
    return slice_of((const char *)id, sizeof *id);
}

/* interest_channels.c */
/* `at`: the channel's partition, as it is at its owner; NULL: a pattern. */
void interest_send(struct dialled_peer *dialled, const struct interest_change *change, uint64_t id,
                   const struct remote_partition *at, int32_t delta);
/* A join was counted whose client has gone: it is to be taken back. A change is its worker's from the applying on,
 * so what is needed is copied before. Gives: kind, partition and name, the rest zero; mem_free it. */
MUST_USE struct interest_change *interest_copy(const struct interest_change *change);

/* interest_patterns.c */
void interest_change_pattern(struct cluster_worker *cw,
                             struct interest_change *change); /* takes it */
void interest_on_pattern_ack(struct accepted_peer *accepted, uint64_t id);
void interest_on_pattern(struct accepted_peer *accepted, const struct wire_interest *interest);
/* Worker 0: what has not come to an end since then is given up; everything is, at once. */
void interest_tick_patterns(struct cluster_worker *cw, uint64_t since_ns);
void interest_stop_patterns(struct cluster_worker *cw);

#endif
