/* data_random: elements of hashes, sets and sorted sets by chance. In a write the chance is the entry's seed, so that all
 * replicas meet the same ones. Inside this module. */
#ifndef FANFARE_DATA_DATA_RANDOM_H
#define FANFARE_DATA_DATA_RANDOM_H

#include "data/data_key.h"
#include "store/store_walk.h"

/* Begin a walk at an element by chance. The collection is not empty. */
void random_walk(struct store_walk *walk, struct data_key *key);

/* Visit `count` different elements, fewer if there are no more (is_distinct), or so many that may be the same. */
void random_visit(struct data_key *key, uint64_t count, bool is_distinct,
                  void (*visit)(void *arg, struct store_walk *walk), void *arg);

/* Arguments of HRANDFIELD and its kin from 2 on: [count [word]]. False: they are no good, and the reply says so. */
struct random_options {
    bool has_count;
    uint64_t count;
    bool is_distinct;
    bool has_word;
};
MUST_USE bool random_options_read(struct data_call *call, const char *word,
                                  struct random_options *options);

#endif
