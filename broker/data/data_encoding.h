/* data_encoding: what OBJECT ENCODING says. The store has one form for each type; Redis's names follow from how many elements
 * there are and how long the longest one ever was, against limits that the node's options set. Inside this module. */
#ifndef FANFARE_DATA_DATA_ENCODING_H
#define FANFARE_DATA_DATA_ENCODING_H

#include "data/data_call.h"
#include "data/data_limits.h"

/* A collection's encoding byte: the length of the longest element so far, up to ENCODING_LONGEST; of a set one more, 0
 * while all members are integers. */
enum { ENCODING_LONGEST = 254 };

void encoding_note(struct store_object *object, struct slice element);

/* `limits` NULL: Redis's defaults. */
const char *encoding_name(const struct store_object *object, const struct data_limits *limits);

#endif
