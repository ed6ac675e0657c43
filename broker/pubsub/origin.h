/* origin: where a run that has come to this node was ordered. Thread: any; a value. */
#ifndef FANFARE_PUBSUB_ORIGIN_H
#define FANFARE_PUBSUB_ORIGIN_H

#include <stdint.h>

/* Instead of a node's index: this node; or nobody whose counting is known. */
enum { ORIGIN_SELF = 0xff, ORIGIN_NOBODY = 0xfe };

struct origin {
    uint8_t node; /* index, or one of those */
    uint8_t lane; /* of the node's */
};

#endif
