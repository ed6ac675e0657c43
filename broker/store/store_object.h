/* store_object: what a key names: where it is, and the head of what stands there. */
#ifndef FANFARE_STORE_STORE_OBJECT_H
#define FANFARE_STORE_STORE_OBJECT_H

#include "store/store.h"

enum {
    STORE_NAME_MAX = 480,       /* bytes of a name, field or member that stand in a key */
    STORE_INLINE_MAX = 1000,    /* bytes of a value that stand beside its head or element */
    STORE_CHUNK_BYTES = 4080,   /* of a longer one: an overflow page less its head */
    STORE_REMOVED_AT_ONCE = 64, /* elements; more of them are unlinked, and purged later */
    STORE_SCAN_OID_BITS = 48,   /* of SCAN's cursor; what is above them is a slot */
};

/* Numbers on disk: never changed. */
enum store_type {
    STORE_NONE = 0,
    STORE_STRING = 1,
    STORE_LIST = 2,
    STORE_SET = 3,
    STORE_ZSET = 4,
    STORE_HASH = 5,
    STORE_STREAM = 6,
};

/* Where a key is: its database, its slot if that database is sharded (else 0), its name. */
struct store_ref {
    uint16_t db;
    uint16_t slot;
    struct slice name;
};

struct store_object {
    enum store_type type;
    uint8_t encoding;   /* what OBJECT ENCODING says cannot go back from; the handlers' */
    uint8_t levels;     /* of its ladder; 0: none */
    uint64_t version;   /* of its last write: higher than any before in this partition */
    uint64_t oid;       /* of the name: its place in SCAN's order, for life */
    uint64_t content;   /* under which its elements stand: oid, until it is emptied */
    uint64_t count;     /* elements; of a string: bytes */
    uint64_t expire_ms; /* 0: never */
    uint64_t timer_ms;  /* where its row of `t` stands; 0: none */
    uint64_t first;     /* of a list: the positions of its ends */
    uint64_t last;
    struct {               /* of a hash whose fields have deadlines */
        uint64_t next_ms;  /* at or before the first one; 0: none has any */
        uint64_t timer_ms; /* where its row of `t` stands: there, since it was saved */
        uint64_t hidden; /* fields that are past theirs and not removed: `count` is without them */
    } fields;
    struct {                   /* of a stream */
        struct store_id first; /* its lowest entry, while it has one: what is below is trimmed */
        struct store_id last;  /* the highest id that it ever had, or was given */
        struct store_id max_deleted; /* the highest that was deleted */
        uint64_t added;              /* entries since it was made */
        uint32_t groups;
        uint32_t next_group; /* ids of groups and consumers */
    } stream;
    struct slice
        text; /* of a string of at most STORE_INLINE_MAX; borrowed from whoever set or read it */
};

#endif
