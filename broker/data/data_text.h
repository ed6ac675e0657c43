/* data_text: a string key's text, read whole or written whole. Inside this module. */
#ifndef FANFARE_DATA_DATA_TEXT_H
#define FANFARE_DATA_DATA_TEXT_H

#include "base/buf.h"
#include "data/data_key.h"

enum { TEXT_BYTES_MAX = 512 << 20 };

/* What OBJECT ENCODING says of a text that was changed in place. */
enum { TEXT_ENCODING_FREE = 0, TEXT_ENCODING_RAW = 1 };

/* The text: where it stands, or read into `scratch`; empty if the key is not there. Good until the next write. */
struct slice text_of(const struct data_key *key, struct buf *scratch);
/* Reply with it as a bulk string, or null. */
void text_reply(const struct data_key *key);
/* Make the key a string with this text, whatever it was; its deadline stays. Not saved. */
void text_assign(struct data_key *key, struct slice text);
/* The same, with a deadline (0: none), saved. */
void text_set(struct data_key *key, struct slice text, uint64_t expire_ms);
/* May a text be this long? False: no, and the reply says so. */
MUST_USE bool text_may_be(const struct data_call *call, uint64_t bytes);

#endif
