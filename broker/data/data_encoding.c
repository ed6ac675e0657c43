/* data_encoding: what OBJECT ENCODING says. */
#include "data/data_encoding.h"

#include "data/data_text.h"

/* Redis's defaults: hash-max-listpack-entries and its kin. */
enum {
    LISTPACK_ENTRIES = 128,
    LISTPACK_VALUE = 64,
    INTSET_ENTRIES = 512,
    LIST_LISTPACK_BYTES = 8192,
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

static bool is_small(const struct store_object *object)
{
    return object->count <= LISTPACK_ENTRIES && object->encoding <= LISTPACK_VALUE;
}

static const char *set_encoding(const struct store_object *set)
{
    if (set->encoding == 0 && set->count <= INTSET_ENTRIES) { return "intset"; }
    bool is_listpack = set->count <= LISTPACK_ENTRIES && set->encoding <= LISTPACK_VALUE + 1;
    return is_listpack ? "listpack" : "hashtable";
}

const char *encoding_name(const struct store_object *object)
{
    switch (object->type) {
    case STORE_STRING: return string_encoding(object);
    case STORE_LIST:
        return object->count * (object->encoding + LISTPACK_ENTRY_HEAD) <= LIST_LISTPACK_BYTES
                   ? "listpack"
                   : "quicklist";
    case STORE_SET: return set_encoding(object);
    case STORE_ZSET: return is_small(object) ? "listpack" : "skiplist";
    case STORE_HASH:
        if (!is_small(object)) { return "hashtable"; }
        return object->fields.next_ms != 0 ? "listpackex" : "listpack";
    case STORE_STREAM: return "stream";
    case STORE_NONE: break;
    }
    return "none";
}
