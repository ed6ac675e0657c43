/* data_stream: ids of streams' entries, and entries as replies. Inside this module. */
#ifndef FANFARE_DATA_DATA_STREAM_H
#define FANFARE_DATA_DATA_STREAM_H

#include "data/data_key.h"
#include "store/store_stream.h"

enum { STREAM_ID_TEXT_MAX = 42 };

extern const char data_invalid_id[];

/* "ms", "ms-seq"; `seq` is what the sequence is where it is not given. False: the text is no id; nothing is replied. */
bool text_to_id(struct slice text, uint64_t seq, struct store_id *id);
/* The same of an argument, with the error. Also "-" and "+" for the lowest and the highest. */
MUST_USE bool arg_id(const struct data_call *call, uint32_t i, uint64_t seq, struct store_id *id);
/* An end of a range, which a "(" before it excludes. */
MUST_USE bool arg_range_start(const struct data_call *call, uint32_t i, struct store_id *id);
MUST_USE bool arg_range_end(const struct data_call *call, uint32_t i, struct store_id *id);

size_t id_to_text(struct store_id id, char out[STREAM_ID_TEXT_MAX]);
void reply_id(struct reply *reply, struct store_id id);

/* The next and the previous id. False: there is none. */
bool id_next(struct store_id *id);
bool id_previous(struct store_id *id);

/* Two elements: id, [field, value, ...] */
void entry_parts_reply(struct reply *reply, struct store_entries *entries);
/* An array of them. */
void entry_reply(struct reply *reply, struct store_entries *entries);

/* Append the entries from..to, at most `count` (0: all), to `out`, the highest first if is_reverse. Gives: how many. */
struct entry_range {
    struct store_id from;
    struct store_id to;
    uint64_t count;
    bool is_reverse;
};
size_t entries_collect(const struct data_key *key, const struct entry_range *range,
                       struct reply *out);

#endif
