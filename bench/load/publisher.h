/* publisher: one publishing connection: writes messages, sends them, counts what is unanswered.
 * Owns: its socket and its bytes waiting to leave. Thread: one. */
#ifndef LOAD_PUBLISHER_H
#define LOAD_PUBLISHER_H

#include "conn.h"
#include "payload.h"
#include "replies.h"
#include "wire.h"

struct publisher {
    struct conn conn;
    uint32_t index;
    const struct opts *opts;
    const char *filler;
    struct command command;
    struct replies replies;
    uint64_t sent_count;   /* messages written so far; the last may still wait in `out` */
    uint64_t awaited;      /* answer_count at which the current batch is complete */
    uint64_t batch_ns;     /* when the current batch was written */
    bool waits_for_socket; /* epoll has been asked for EPOLLOUT */
    char *out;
    size_t out_max, out_size, out_at;
};

/* Takes over the connected fd. Borrows: opts, filler and tally. */
void publisher_init(struct publisher *publisher, const struct opts *opts, uint32_t index, int fd,
                    const char *filler, struct tally *tally);
void publisher_fini(struct publisher *publisher);

/* Whether `count` more messages fit behind what still waits. */
bool publisher_has_room(const struct publisher *publisher, uint32_t count);

/* Append its next message, which goes to plan_channel(.., sent_count). */
void publisher_add(struct publisher *publisher, uint64_t time_ns);

/* Close a batch: from now the publisher waits until all of it is answered. */
void publisher_await(struct publisher *publisher);

/* Whether the last batch is answered. */
static inline bool publisher_is_answered(const struct publisher *publisher)
{
    return publisher->replies.answer_count >= publisher->awaited;
}

/* Send what waits, until done or the socket is full. False: the connection is gone. */
bool publisher_flush(struct publisher *publisher);

#endif
