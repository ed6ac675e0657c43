/* beats: heartbeats of many groups between the same two nodes, or the answers to them, as one
 * message.
 * Thread: any; a struct belongs to whoever made it. */
#ifndef FANFARE_CONSENSUS_BEATS_H
#define FANFARE_CONSENSUS_BEATS_H

#include "consensus/link/message.h"

enum { BEATS_MAX = 256 /* of a message */ };

/* An AppendEntries without entries that tells of nothing but its prev_log_index: all of the sender's log, and
 * all of it committed. Or the answer to it: so much is on the disk. */
struct beat {
    uint64_t group;
    uint64_t from;
    uint64_t to;
    uint64_t term;
    uint64_t index;      /* above 0 */
    uint64_t index_term; /* not of a reply */
    uint64_t stamp_ms;   /* of a reply */
};

struct beats {
    bool is_reply;
    bool is_ailing;    /* of a reply */
    uint64_t stamp_ms; /* not of a reply: of all of them */
    size_t count;
    struct beat list[BEATS_MAX];
};

/* Append a frame of them, at least one. */
void beats_encode(struct buf *out, const struct beats *beats);

#endif
