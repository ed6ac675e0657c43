/* orderer: where a run that has come to this node was ordered. Thread: any; a value. */
#ifndef FANFARE_PUBSUB_ORDERER_H
#define FANFARE_PUBSUB_ORDERER_H

#include <stdint.h>

/* Instead of a node's index: this node; or nobody whose counting is known. */
enum { ORDERER_SELF = 0xff, ORDERER_NOBODY = 0xfe };

struct orderer {
    uint8_t node; /* index, or one of those */
    uint8_t lane; /* of the node's */
};

#endif
