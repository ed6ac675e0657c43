/* import_survey: what an RDB file has, and what of it cannot come over: told before anything is written.
 * Owns: counts and a few names. Borrows: the file's bytes, for the call. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_SURVEY_H
#define FANFARE_IMPORT_IMPORT_SURVEY_H

#include <stdio.h>

#include "base/buf.h"
#include "rdb/rdb_value.h"

enum {
    IMPORT_DATABASES = 16,
    IMPORT_ELEMENT_BYTES_MAX = 15 << 20, /* a write is at most 16 MiB */
};

/* Why something stays behind. */
enum import_reason {
    REASON_MODULE,      /* a value of a module's type */
    REASON_LARGE,       /* an element above IMPORT_ELEMENT_BYTES_MAX */
    REASON_DATABASE,    /* in a database that is not there */
    REASON_FUNCTION,    /* a library of functions */
    REASON_MODULE_DATA, /* what a module keeps beside the keys */
    REASONS,
};

struct import_survey {
    uint32_t version;
    struct buf made_by; /* "redis 7.0.15" */
    uint64_t keys;
    uint64_t keys_of[IMPORT_DATABASES];
    uint64_t expiring;
    uint64_t kinds[RDB_KIND_MODULE + 1];
    uint64_t left_out[REASONS];
    struct buf names[REASONS]; /* the first few of them */
    uint64_t empty;            /* collections without elements: Redis would not load them either */
};

/* What is read, and what else is to be done meanwhile, so that the source does not give us up. */
struct import_survey_opts {
    struct slice file;
    int only_db;                /* -1: all databases */
    bool (*on_turn)(void *arg); /* each so many bytes; false: end */
    void *arg;
};

/* Read the whole file. False: *why (static) and *at say what is wrong with it, and where. */
MUST_USE bool import_survey_read(struct import_survey *survey,
                                 const struct import_survey_opts *opts, const char **why,
                                 uint64_t *at);
/* The same of one more file: it adds to what was found before. */
MUST_USE bool import_survey_add(struct import_survey *survey, const struct import_survey_opts *opts,
                                const char **why, uint64_t *at);
void import_survey_fini(struct import_survey *survey);

uint64_t import_survey_left_out(const struct import_survey *survey);
void import_survey_print(const struct import_survey *survey, FILE *out);

/* What keeps a value from coming over; REASONS: nothing. `in` is at the value, and behind it afterwards. *is_bad: it cannot be
 * read (in->why). */
enum import_reason import_value_reason(struct rdb_in *in, uint8_t type, bool *is_bad);

#endif
