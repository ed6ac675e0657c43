/* lane: what leaves this node for others as an owner's stream, in the order in which it was decided. Worker w feeds the
 * lanes of the partitions whose number is w, modulo the workers. */
#ifndef FANFARE_PUBSUB_LANE_H
#define FANFARE_PUBSUB_LANE_H

#include "base/block.h"
#include "base/mailbox.h"
#include "pubsub/directory.h"

struct shipment;

/* Something for a lane, in its order. The poster allocates, the lane's worker frees. */
enum lane_item_type { LANE_RUN, LANE_ACK, LANE_END, LANE_READY };
struct lane_item {
    struct task task;
    void *remote_arg; /* the lane's worker's: fanout_set_remote's arg */
    enum lane_item_type type;
    uint64_t nodes; /* bit per node index */
    uint32_t partition;
    uint64_t epoch;
    uint64_t snapshot; /* READY */
    uint64_t seq;      /* RUN: of the first message; END: the last one */
    uint64_t *
        ids; /* ACK: what is acknowledged; then the last numbers given before it (InterestAck.seq); the
                      item owns the array, which is one */
    uint32_t id_count;
    uint32_t seq_count;
    enum topic_kind kind;
    bool is_recovered; /* RUN */
    bool is_missed;    /* READY */
    bool is_fence;     /* READY */
    uint32_t message_count;
    struct span span;          /* RUN: owns a reference on its block */
    struct shipment *shipment; /* RUN: settled when all lanes have taken it; NULL: nobody waits */
    uint32_t waits;            /* the lane's worker's: sockets that have not taken it yet */
};

/* Feed a lane: takes item. Ordered with everything else only under a lock: exclusive, or for its own. */
void directory_push_lane(struct directory *directory, struct lane_item *item);
/* Wake the lanes' workers after directory_push_lane from outside a worker's turn. */
void directory_wake_lanes(struct directory *directory);
/* So many bytes of runs that were pushed for the node have left worker `lane`'s lane, or never will. True: it was
 * full and is not any more. Thread: the lane's. */
MUST_USE bool directory_lane_taken(struct directory *directory, uint32_t lane, uint32_t node,
                                   size_t bytes);
/* Gives: an item with the partition's present epoch, the rest zero. Exclusive. */
MUST_USE struct lane_item *lane_item_new(struct directory *directory, enum lane_item_type type,
                                         uint64_t nodes, uint32_t partition);

#endif
