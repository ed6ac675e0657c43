/* data_type: types by name. */
#include "data/data_type.h"

static const char *const words[] = {
    [STORE_NONE] = "none", [STORE_STRING] = "string", [STORE_LIST] = "list",    [STORE_SET] = "set",
    [STORE_ZSET] = "zset", [STORE_HASH] = "hash",     [STORE_STREAM] = "stream"};

const char *type_word(enum store_type type)
{
    return words[type];
}

enum store_type type_of_word(struct slice word)
{
    for (size_t type = STORE_STRING; type < COUNT_OF(words); type++) {
        if (slice_equal_nocase(word, slice_of_str(words[type]))) { return (enum store_type)type; }
    }
    return STORE_NONE;
}
