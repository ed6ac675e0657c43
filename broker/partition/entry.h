/* entry: a log entry's command (proto/log.proto) put together from requests, and taken apart.
 * Owns: nothing; what is taken apart points into the bytes. Thread: any. protobuf-c would make structs of it and copies of
 * all words, at several times the cost; tests/unit/test_partition_entry.c holds both to the same bytes. */
#ifndef FANFARE_PARTITION_ENTRY_H
#define FANFARE_PARTITION_ENTRY_H

#include "partition/partition_types.h"

/* Of the semantics: what this node knows; what a plain entry needs, one with scripts, one that lends, and one with scripts of
 * users who may not do everything. */
enum {
    ENTRY_LEVEL = 5,
    ENTRY_LEVEL_PLAIN = 2,
    ENTRY_LEVEL_SCRIPTS = 3,
    ENTRY_LEVEL_LENT = 4,
    ENTRY_LEVEL_RIGHTS = 5
};

/* As in log.proto. */
enum entry_kind { ENTRY_WRITE, ENTRY_SERVE, ENTRY_EXPIRE, ENTRY_PURGE, ENTRY_FORGET, ENTRY_TICK };
enum { ENTRY_KINDS = ENTRY_TICK + 1 };

struct entry_head {
    uint32_t level;
    uint64_t clock_ms;
    uint64_t seed;
    bool has_digest;
    uint64_t digest_index;
    uint32_t digest;
};

/* ---- out ---- */

void entry_begin(struct buf *out, const struct entry_head *head);
/* What was begun with a level needs that one at least. */
void entry_raise_level(struct buf *out, uint32_t level);
/* A write or a serve, of so many entry_request_bytes. */
void entry_add_request(struct buf *out, enum entry_kind kind,
                       const struct partition_request *request, size_t bytes);
/* EXPIRE, PURGE and TICK; a FORGET with its node. */
void entry_add_count(struct buf *out, enum entry_kind kind, uint32_t count);
void entry_add_forget(struct buf *out, uint64_t node_id, uint64_t incarnation_below);
/* About what a request takes of an entry. */
size_t entry_request_bytes(const struct partition_request *request);

/* ---- in ---- */

struct entry_batch {
    uint64_t kind;
    bool has_origin;
    struct partition_origin origin;
    struct slice acked; /* entry_take_number */
    uint8_t resp_version;
    uint64_t count;
    uint64_t script_instructions; /* 0: the default */
    bool is_lent;
    uint32_t call_count;
    uint32_t check_count;
    struct slice body; /* calls and checks: entry_take_call, entry_take_check */
};

/* False: malformed. *batches is for entry_take_batch. */
MUST_USE bool entry_open(struct slice entry, struct entry_head *head, struct slice *batches);
/* The next of them. False: there is none, *is_good; or it is malformed. */
MUST_USE bool entry_take_batch(struct slice *batches, struct entry_batch *batch, bool *is_good);
MUST_USE bool entry_take_check(struct slice *body, struct partition_check *check);
MUST_USE bool entry_take_number(struct slice *acked, uint64_t *number);

/* A call's words: kept from one call to the next. */
struct entry_words {
    struct slice *word;
    uint32_t cap;
};
/* The next call; its words are good until the next one is taken. False: there is none, or it is malformed. */
MUST_USE bool entry_take_call(struct slice *body, struct partition_call *call,
                              struct entry_words *words);

#endif
