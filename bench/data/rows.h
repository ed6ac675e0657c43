/* rows: what is measured: for each row the requests that fill the database before, and those whose answers are counted,
 * in RESP and, where there is something alike, for NATS JetStream. No I/O.
 *
 * A request is made for a slot: one of those of a connection that are under way at once. Some rows alternate between two
 * requests; then the slot's turn says which. An operation is one element written or read, or one call of a hundred. */
#ifndef DATA_ROWS_H
#define DATA_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "spec.h"

enum {
    RANGE_COUNT = 100, /* elements of one reading call */
    GROUP_COUNT = 10,  /* entries that a consumer takes at once */
};

struct slot {
    uint64_t start_ns;
    uint32_t number;
    uint32_t turn;
    uint32_t operations; /* that its next answer counts for */
    uint32_t expected;   /* NATS: messages still to come */
    bool is_due;         /* NATS: a request may be sent */
};

/* What the requests of one connection are made from. */
struct maker {
    const struct spec *spec;
    const char *payload;
    uint32_t connection, database;
    uint64_t random;
    uint64_t made;
    struct buffer ids; /* of the group's entries that are to be acknowledged, as words of RESP */
};

struct row;
const struct row *row_find(const char *name);
bool row_is_for_nats(const struct row *row);
void rows_print(void);

/* Fill the database of `maker`; the answers are `*count` lines without an error at their begin. */
void row_fill(struct maker *maker, struct buffer *out, uint32_t *count);

/* The next request of a slot. */
void row_request(struct maker *maker, struct slot *slot, struct buffer *out);
/* A whole reply to the slot's last request has come. Returns how many operations are done by it. */
uint32_t row_reply(struct maker *maker, struct slot *slot, const char *reply, size_t size);

/* NATS: what is sent first on a connection, for all slots; and the subjects of a stream. */
void row_nats_request(struct maker *maker, struct slot *slot, struct buffer *out);
/* One message for the slot: its subject for an answer (empty: none). Returns the operations done; sets slot->is_due when
 * the slot may send again. */
uint32_t row_nats_message(struct maker *maker, struct slot *slot, const char *answer_to,
                          size_t answer_to_size, struct buffer *out);

#endif
