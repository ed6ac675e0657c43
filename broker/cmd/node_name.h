/* node_name: how a node's id is shown: 40 hexadecimal digits, as cluster clients expect, of which the
 * first 16 are the id and the rest follow from it, so that every node shows the same for another one
 * as that one does for itself. Thread: any. */
#ifndef FANFARE_CMD_NODE_NAME_H
#define FANFARE_CMD_NODE_NAME_H

#include <stdint.h>

enum { NODE_NAME_HEX = 40, NODE_NAME_BYTES = NODE_NAME_HEX + 1 };

void node_name_print(uint64_t id, char out[NODE_NAME_BYTES]);

#endif
