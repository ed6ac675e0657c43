/* fleet: all connections of one run, opened, greeted and subscribed before the load begins.
 * Owns: sockets, streams and publishers. Thread: one. */
#ifndef LOAD_FLEET_H
#define LOAD_FLEET_H

#include "conn.h"
#include "publisher.h"
#include "stream.h"

struct subscriber {
    struct conn conn;
    bool is_slow;   /* never read from, not checked */
    bool is_judged; /* checked byte by byte; else only counted */
    struct stream stream;
};

struct fleet {
    const struct opts *opts;
    char *filler;
    struct stream_spec specs[4]; /* by enum sub_kind */
    struct subscriber *subscribers;
    uint32_t subscriber_count; /* pattern connections included */
    struct publisher *publishers;
    uint32_t publisher_count;
};

/* Connect everything; every subscription is confirmed when it returns. Borrows: opts and tally. */
void fleet_open(struct fleet *fleet, const struct opts *opts, struct tally *tally);
void fleet_close(struct fleet *fleet);

/* The final checks: nothing missing, and (RESP) one order of messages on each channel for all. */
void fleet_finish(struct fleet *fleet, struct tally *tally);

/* How many slow subscribers the server has closed. */
uint32_t fleet_slow_closed(const struct fleet *fleet);

#endif
