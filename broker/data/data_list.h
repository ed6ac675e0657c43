/* data_list: ends of lists, for the commands that wait as well. Inside this module. */
#ifndef FANFARE_DATA_DATA_LIST_H
#define FANFARE_DATA_DATA_LIST_H

#include "data/data_key.h"
#include "store/store_list.h"

/* LEFT or RIGHT. False: neither; nothing is replied. */
bool arg_end(const struct data_call *call, uint32_t i, enum store_end *end);

/* Pop one element from a list that is there, append it to `out`, and save the list. */
void list_pop(struct data_key *key, enum store_end end, struct buf *out);

/* Reply with an array of up to `count` popped elements, and save the list. */
void list_pop_many(struct data_key *key, enum store_end end, uint64_t count);

#endif
