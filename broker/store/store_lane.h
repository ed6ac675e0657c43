/* store_lane: numbers of origins and what they were answered, so that a number that comes again is not executed again.
 *
 *   u lane                    low8: below it all numbers are confirmed; high8: the highest that was executed
 *   r lane seq8               answers from that number on, as they came in one log entry: seq8 length4 answer, again and again
 *
 * A lane (19 bytes): node id 8, incarnation 8, worker 2, parking 1. Answers of an entry share a row while it is short;
 * those of a parking lane, which are confirmed one by one, have a row each.
 * Rows depend on the entry alone, not on how entries share a transaction. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_LANE_H
#define FANFARE_STORE_STORE_LANE_H

#include "base/buf.h"
#include "store/store.h"

enum {
    STORE_LANES_OPEN = 64,             /* of one entry; more are written out and read again */
    STORE_LANE_ROW_BYTES = 1400,       /* a row with more than this is not added to */
    STORE_LANE_FORGET_MAX = 4096,      /* rows that store_lanes_forget removes at a time, */
    STORE_LANE_FORGET_BYTES = 1 << 20, /* and bytes of parking lanes' answers, and one more */
};

struct store_lane_id {
    uint64_t node_id;
    uint64_t incarnation; /* of the node's life */
    uint16_t worker;
    bool is_parking;
};

struct store_lane {
    struct store_lane_id id;
    uint64_t low;
    uint64_t high;
    uint64_t low_kept; /* as they stand in the store */
    uint64_t high_kept;
    uint64_t seq_first; /* of `row`; 0: nothing is in it */
    struct buf row;
};

/* The lanes that an entry has to do with. Zeroed before it is first used, and used for one entry after the other. */
struct store_lanes {
    struct store_txn *txn;
    struct store_lane lane[STORE_LANES_OPEN];
    uint32_t count;
    uint32_t next; /* to be written out when there are too many */
};

void store_lanes_begin(struct store_lanes *lanes, struct store_txn *txn);
/* What was put is written. */
void store_lanes_end(struct store_lanes *lanes);
void store_lanes_fini(struct store_lanes *lanes);

/* Good until the next lane is opened. */
struct store_lane *store_lane_open(struct store_lanes *lanes, const struct store_lane_id *id);
/* All below `low` are confirmed: their answers go. */
void store_lane_raise(struct store_lane *lane, uint64_t low);
/* A parking lane: this one is. */
void store_lane_confirm(struct store_lanes *lanes, const struct store_lane *lane, uint64_t seq);

enum store_lane_state {
    STORE_LANE_NEW,
    STORE_LANE_KNOWN, /* it was executed, and this was the answer */
    STORE_LANE_BELOW, /* it was confirmed */
};
/* *answer is good until the transaction's next write, and the lane's. */
enum store_lane_state store_lane_find(struct store_lanes *lanes, const struct store_lane *lane,
                                      uint64_t seq, struct slice *answer);
/* A new number was executed. */
void store_lane_keep(struct store_lanes *lanes, struct store_lane *lane, uint64_t seq,
                     struct slice answer);

/* The same in a reader. */
enum store_lane_state store_lane_look(struct store_txn *txn, const struct store_lane_id *id,
                                      uint64_t seq, struct slice *answer);

/* The lanes of a node's lives before an incarnation go, some rows at a time. False: there are more. *answers gets those of
 * parking lanes that go, each with its length4 (of this machine's order) behind it. */
bool store_lanes_forget(struct store_txn *txn, uint64_t node_id, uint64_t incarnation_below,
                        struct buf *answers);

#endif
