/* rdb_value: the value of one key in RDB format, of Redis 2.4 to 7.4 and Valkey 8, as a sequence of events; whatever form
 * Redis has written it in, the events of equal values are the same.
 *
 * Order: a string is one RDB_TEXT. Lists give RDB_ELEMENT from the head on, sets RDB_MEMBER, sorted sets RDB_SCORED,
 * hashes RDB_FIELD, in no order. A stream gives RDB_ENTRY, ids rising, then one RDB_STREAM, then for each group
 * RDB_GROUP and for each consumer of it RDB_CONSUMER with the RDB_PENDING that are its own.
 * A collection is not empty, but a stream may be. That a member or field comes twice is not seen here.
 *
 * Owns: nothing. Thread: any. */
#ifndef FANFARE_RDB_RDB_VALUE_H
#define FANFARE_RDB_RDB_VALUE_H

#include "rdb/rdb_in.h"

/* The byte before a value. Numbers of Redis's. */
enum rdb_type {
    RDB_TYPE_STRING = 0,
    RDB_TYPE_LIST = 1,
    RDB_TYPE_SET = 2,
    RDB_TYPE_ZSET = 3,
    RDB_TYPE_HASH = 4,
    RDB_TYPE_ZSET_2 = 5, /* scores as 8 bytes */
    RDB_TYPE_MODULE = 6,
    RDB_TYPE_MODULE_2 = 7,
    RDB_TYPE_HASH_ZIPMAP = 9,
    RDB_TYPE_LIST_ZIPLIST = 10,
    RDB_TYPE_SET_INTSET = 11,
    RDB_TYPE_ZSET_ZIPLIST = 12,
    RDB_TYPE_HASH_ZIPLIST = 13,
    RDB_TYPE_LIST_QUICKLIST = 14,
    RDB_TYPE_STREAM = 15,
    RDB_TYPE_HASH_LISTPACK = 16,
    RDB_TYPE_ZSET_LISTPACK = 17,
    RDB_TYPE_LIST_QUICKLIST_2 = 18,
    RDB_TYPE_STREAM_2 = 19,
    RDB_TYPE_SET_LISTPACK = 20,
    RDB_TYPE_STREAM_3 = 21,
    RDB_TYPE_HASH_EXPIRING_DRAFT = 22, /* of 7.4's candidates; fields with deadlines */
    RDB_TYPE_HASH_LISTPACK_EXPIRING_DRAFT = 23,
    RDB_TYPE_HASH_EXPIRING = 24,
    RDB_TYPE_HASH_LISTPACK_EXPIRING = 25,
};

enum rdb_kind {
    RDB_KIND_UNKNOWN, /* of a version to come */
    RDB_KIND_STRING,
    RDB_KIND_LIST,
    RDB_KIND_SET,
    RDB_KIND_ZSET,
    RDB_KIND_HASH,
    RDB_KIND_STREAM,
    RDB_KIND_MODULE, /* of a module's own type: it can be skipped, not read */
};

struct rdb_id {
    uint64_t ms;
    uint64_t seq;
};

#define RDB_READ_UNKNOWN UINT64_MAX /* of a group: it is not known how many entries it was given */

enum rdb_event_kind {
    RDB_TEXT,
    RDB_ELEMENT,
    RDB_MEMBER,
    RDB_SCORED,
    RDB_FIELD,
    RDB_ENTRY,
    RDB_STREAM,
    RDB_GROUP,
    RDB_CONSUMER,
    RDB_PENDING,
};

/* Each uses some of these. Slices are good for the call. */
struct rdb_event {
    enum rdb_event_kind kind;
    struct slice name;        /* MEMBER, SCORED, FIELD, GROUP, CONSUMER */
    struct slice value;       /* TEXT, ELEMENT, FIELD */
    double score;             /* SCORED; no NaN */
    uint64_t expire_ms;       /* FIELD; 0: never */
    struct rdb_id id;         /* ENTRY, PENDING; STREAM, GROUP: the last one */
    const struct slice *part; /* ENTRY: fields and values in turn */
    uint32_t part_count;
    uint64_t entries;          /* STREAM: how many came */
    bool has_history;          /* STREAM, GROUP: the next three are known (Redis 7.0 on) */
    struct rdb_id max_deleted; /* STREAM */
    uint64_t added;            /* STREAM */
    uint64_t read;             /* GROUP */
    uint64_t seen_ms;          /* CONSUMER */
    uint64_t active_ms;        /* CONSUMER; 0: never, or not known */
    uint64_t delivered_ms;     /* PENDING */
    uint64_t delivered_count;  /* PENDING */
};

struct rdb_sink {
    /* False: no more, rdb_value_read ends. */
    bool (*on_event)(void *arg, const struct rdb_event *event);
    void *arg;
};

/* in->why after the sink said so. */
extern const char rdb_stopped[];
/* in->why of a collection without elements: Redis 6 may have written one, Redis 7 skips it. The value has been read. */
extern const char rdb_empty[];

enum rdb_kind rdb_kind_of(uint8_t type);

/* Read the value that `in` goes on with. False: in->why says why; some events may have come. */
MUST_USE bool rdb_value_read(struct rdb_in *in, uint8_t type, const struct rdb_sink *sink);

/* Skip a module's value (RDB_TYPE_MODULE_2) or what it saved beside the keys. `name` has room for RDB_MODULE_NAME_BYTES and
 * gets the module's type's name. */
enum { RDB_MODULE_NAME_BYTES = 10 };
MUST_USE bool rdb_module_skip(struct rdb_in *in, char *name);

#endif
