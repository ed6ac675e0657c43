/* data_encoding: what OBJECT ENCODING says. */
#include "data/data_encoding.h"

#include "data/data_text.h"

enum {
    LISTPACK_ENTRY_HEAD = 11,
    EMBEDDED_BYTES = 44,
    INTEGER_BYTES = 20,
};

void encoding_note(struct store_object *object, struct slice element)
{
    size_t length = element.len < ENCODING_LONGEST ? element.len : ENCODING_LONGEST;
    int64_t number;
    if (object->type == STORE_SET) {
        bool is_integer = object->encoding == 0 && slice_to_int64(element, &number);
        length = is_integer ? 0 : length + 1;
    }
    if (length > object->encoding) { object->encoding = (uint8_t)length; }
}

static const char *string_encoding(const struct store_object *string)
{
    int64_t number;
    if (string->encoding == TEXT_ENCODING_RAW || string->count > EMBEDDED_BYTES) { return "raw"; }
    bool is_integer = string->count <= INTEGER_BYTES && slice_to_int64(string->text, &number);
    return is_integer ? "int" : "embstr";
}

static int64_t limit_of(const struct data_limits *limits, enum data_limit limit)
{
    static const int64_t fallback[DATA_LIMIT_COUNT] = {
#define LIMIT(name, value) [DATA_LIMIT_##name] = value,
        DATA_LIMITS(LIMIT)
#undef LIMIT
    };
    if (limits == NULL) { return fallback[limit]; }
    return atomic_load_explicit(&limits->of[limit], memory_order_relaxed);
}

/* Are there no more elements than that, and none longer? */
static bool is_small(const struct store_object *object, int64_t entries_max, int64_t length_max)
{
    return (int64_t)object->count <= entries_max && object->encoding <= length_max;
}

static const char *set_encoding(const struct store_object *set, const struct data_limits *limits)
{
    int64_t integers_max = limit_of(limits, DATA_LIMIT_set_max_intset_entries);
    if (set->encoding == 0 && (int64_t)set->count <= integers_max) { return "intset"; }
    /* The byte of a set is a length and one. */
    bool is_listpack = is_small(set, limit_of(limits, DATA_LIMIT_set_max_listpack_entries),
                                limit_of(limits, DATA_LIMIT_set_max_listpack_value) + 1);
    return is_listpack ? "listpack" : "hashtable";
}

/* Sizes by number: -1 is 4 KiB, each further one twice as much, up to -5. */
static const char *list_encoding(const struct store_object *list, const struct data_limits *limits)
{
    int64_t size = limit_of(limits, DATA_LIMIT_list_max_listpack_size);
    if (size < -5) { size = -5; }
    uint64_t bytes = list->count * (list->encoding + LISTPACK_ENTRY_HEAD);
    bool is_small_list =
        size >= 0 ? (int64_t)list->count <= (size > 0 ? size : 1) : bytes <= 4096ULL << (-size - 1);
    return is_small_list ? "listpack" : "quicklist";
}

static const char *hash_encoding(const struct store_object *hash, const struct data_limits *limits)
{
    bool is_listpack = is_small(hash, limit_of(limits, DATA_LIMIT_hash_max_listpack_entries),
                                limit_of(limits, DATA_LIMIT_hash_max_listpack_value));
    if (!is_listpack) { return "hashtable"; }
    return hash->fields.next_ms != 0 ? "listpackex" : "listpack";
}

static const char *zset_encoding(const struct store_object *zset, const struct data_limits *limits)
{
    bool is_listpack = is_small(zset, limit_of(limits, DATA_LIMIT_zset_max_listpack_entries),
                                limit_of(limits, DATA_LIMIT_zset_max_listpack_value));
    return is_listpack ? "listpack" : "skiplist";
}

const char *encoding_name(const struct store_object *object, const struct data_limits *limits)
{
    switch (object->type) {
    case STORE_STRING: return string_encoding(object);
    case STORE_LIST: return list_encoding(object, limits);
    case STORE_SET: return set_encoding(object, limits);
    case STORE_ZSET: return zset_encoding(object, limits);
    case STORE_HASH: return hash_encoding(object, limits);
    case STORE_STREAM: return "stream";
    case STORE_NONE: break;
    }
    return "none";
}
