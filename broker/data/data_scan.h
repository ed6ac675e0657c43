/* data_scan: SCAN and its kin: options, and a reply of a cursor and what was found. Inside this module. */
#ifndef FANFARE_DATA_DATA_SCAN_H
#define FANFARE_DATA_DATA_SCAN_H

#include "base/buf.h"
#include "base/glob.h"
#include "data/data_key.h"

struct scan {
    struct data_call *call;
    uint64_t cursor;
    uint64_t count;
    struct glob pattern;
    bool has_pattern;
    enum store_type type;
    bool has_type;
    bool has_no_values; /* HSCAN NOVALUES */
    struct buf found;   /* encoded */
    struct reply reply; /* into it */
    size_t found_count;
};

/* Argument `at` is the cursor. False: it is none, and the reply says so. */
MUST_USE bool scan_begin(struct scan *scan, struct data_call *call, uint32_t at);
/* The options behind it. False: they are no good, and the reply says so; else scan_end follows. */
MUST_USE bool scan_options(struct scan *scan, uint32_t at);
/* For a collection: both, and the key at argument 1. False: there is nothing more to do; the reply is written. */
MUST_USE bool scan_begin_key(struct scan *scan, struct data_call *call, enum store_type type,
                             struct data_key *key);
void scan_set_pattern(struct scan *scan, struct slice pattern);
bool scan_matches(const struct scan *scan, struct slice name);
/* How many elements this call looks at: all of a small collection, as in Redis. */
uint64_t scan_count(const struct scan *scan, const struct store_object *object);
/* Reply, and free. */
void scan_end(struct scan *scan, uint64_t next);

#endif
