/* data_hash: fields of hashes. Inside this module. */
#ifndef FANFARE_DATA_DATA_HASH_H
#define FANFARE_DATA_DATA_HASH_H

#include "data/data_key.h"

/* Write a field with a deadline; 0: none. The key is saved by the caller. */
void hash_put(struct data_key *key, struct slice field, struct slice value, uint64_t expire_ms);
/* When a field ends; 0: never, or it is not there. */
uint64_t hash_expiry(const struct data_key *key, struct slice field);
/* Its value, or null. */
void hash_reply(const struct data_key *key, struct slice field);

#endif
