/* resp_write: replies in RESP2 or RESP3 from one set of calls (Redis protocol specification). A
 * reply that RESP2 lacks is written as RESP2 clients know it: a map as a flat array, a double as a
 * bulk string, a boolean as 0 or 1, null as a null bulk string, a verbatim string as a bulk string,
 * a push as an array.
 * Owns: nothing. Thread: whoever owns the buffer. */
#ifndef FANFARE_RESP_RESP_WRITE_H
#define FANFARE_RESP_RESP_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct reply {
    struct buf *out;
    uint32_t error_count; /* error replies written: how a caller learns that a call failed */
    uint8_t version;      /* 2 or 3 */
};

/* "+text". The text holds no CR or LF. */
void reply_status(struct reply *reply, const char *text);
void reply_ok(struct reply *reply);

/* "-text": the text begins with its code ("ERR ...", "WRONGTYPE ..."); CR and LF in it become
 * spaces. */
void reply_error(struct reply *reply, const char *text);
void reply_errorf(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);
void reply_error_slice(struct reply *reply, struct slice text);

void reply_int(struct reply *reply, int64_t v);
void reply_double(struct reply *reply, double v);
void reply_double_text(struct reply *reply, struct slice text); /* written out already */
void reply_bool(struct reply *reply, bool v);
void reply_bulk(struct reply *reply, struct slice bytes);
void reply_bulk_str(struct reply *reply, const char *str);
void reply_verbatim(struct reply *reply, struct slice text); /* "txt" format in RESP3 */
void reply_null(struct reply *reply);
void reply_null_array(struct reply *reply);

/* Heads of aggregates: the elements follow by further calls. A map's count is of pairs. */
void reply_array(struct reply *reply, size_t count);
void reply_map(struct reply *reply, size_t count);
void reply_set(struct reply *reply, size_t count);
void reply_push(struct reply *reply, size_t count);

#endif
