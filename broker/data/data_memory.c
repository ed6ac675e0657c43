/* data_memory: MEMORY USAGE: about the bytes that a key takes, by its kind and its count; elements are as long as the longest
 * that OBJECT ENCODING has been told of, because counting them all would cost a walk. */
#include "data/data_args.h"
#include "data/data_key.h"

enum {
    HEAD_BYTES = 40,    /* of a key, beside its name */
    ELEMENT_BYTES = 24, /* beside its text: the row that it stands in */
    ENTRY_BYTES = 32,   /* of a stream's entry, on average */
};

static uint64_t content_bytes(const struct store_object *object)
{
    uint64_t element_bytes = ELEMENT_BYTES + object->encoding;
    switch (object->type) {
    case STORE_STRING: return object->count;
    case STORE_STREAM: return object->count * ENTRY_BYTES;
    case STORE_ZSET: return 2 * object->count * element_bytes; /* by member, and by score */
    case STORE_LIST:
    case STORE_SET:
    case STORE_HASH: return object->count * element_bytes;
    case STORE_NONE: break;
    }
    return 0;
}

void data_memory(struct data_call *call)
{
    int64_t samples;
    bool has_samples = call->argc == 5 && arg_is(call, 3, "SAMPLES");
    if (call->argc < 3 || (call->argc != 3 && !has_samples)) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (has_samples && !arg_int(call, 4, &samples)) { return; }
    if (has_samples && samples < 0) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    struct data_key key = key_find(call, call->argv[2]);
    if (key.is_there) {
        reply_int(call->reply,
                  (int64_t)(HEAD_BYTES + call->argv[2].len + content_bytes(&key.object)));
    } else {
        reply_null(call->reply);
    }
}
