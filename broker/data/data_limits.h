/* data_limits: what the node's options say of how OBJECT ENCODING is to answer. They concern nothing else: what is written is the
 * same on all replicas. Thread: set and read by any. */
#ifndef FANFARE_DATA_DATA_LIMITS_H
#define FANFARE_DATA_DATA_LIMITS_H

#include <stdatomic.h>
#include <stdint.h>

/* LIMIT(name, Redis's default): up to so many elements, and so long ones, it is kept in the small form. Of lists: elements, or
 * below 0 one of Redis's sizes. */
#define DATA_LIMITS(LIMIT)                \
    LIMIT(hash_max_listpack_entries, 128) \
    LIMIT(hash_max_listpack_value, 64)    \
    LIMIT(list_max_listpack_size, -2)     \
    LIMIT(set_max_intset_entries, 512)    \
    LIMIT(set_max_listpack_entries, 128)  \
    LIMIT(set_max_listpack_value, 64)     \
    LIMIT(zset_max_listpack_entries, 128) \
    LIMIT(zset_max_listpack_value, 64)

enum data_limit {
#define LIMIT(name, fallback) DATA_LIMIT_##name,
    DATA_LIMITS(LIMIT)
#undef LIMIT
        DATA_LIMIT_COUNT
};

struct data_limits {
    atomic_int_fast64_t of[DATA_LIMIT_COUNT];
};

/* Redis's defaults. */
static inline void data_limits_init(struct data_limits *limits)
{
#define LIMIT(name, fallback) atomic_init(&limits->of[DATA_LIMIT_##name], fallback);
    DATA_LIMITS(LIMIT)
#undef LIMIT
}

#endif
