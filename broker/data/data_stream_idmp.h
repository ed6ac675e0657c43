/* data_stream_idmp: IDMP and IDMPAUTO of XADD. Inside this module. */
#ifndef FANFARE_DATA_DATA_STREAM_IDMP_H
#define FANFARE_DATA_DATA_STREAM_IDMP_H

#include "data/data_stream.h"

struct idmp {
    bool is_given;
    bool is_auto; /* the entry's fields are its id */
    struct slice pid;
    struct slice iid; /* of IDMP */
};

/* Is argument *i one of the words, with what belongs to it? Then *i becomes the last of that. */
bool arg_is_idmp(const struct data_call *call, uint32_t *i, struct idmp *idmp);
/* False: it is no good, and the reply says so. */
MUST_USE bool idmp_is_good(const struct data_call *call, const struct idmp *idmp, bool is_auto_id);

/* Was the entry, whose fields begin at an argument, added before? Then *id is its. */
bool idmp_find(const struct data_key *key, const struct idmp *idmp, uint32_t fields_at,
               struct store_id *id);
/* It was not, and is now. Nothing happens if the option is not given. */
void idmp_add(struct data_key *key, const struct idmp *idmp, uint32_t fields_at,
              struct store_id id);

#endif
