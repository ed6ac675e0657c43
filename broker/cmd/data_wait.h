/* data_wait: one or several questions to partitions for which a session's command waits: what EXEC, WATCH, and commands
 * of all partitions are made of.
 * Owns: itself, until the last answer has come and, if the session is there, has been written.
 * Thread: the session's worker. Bound: one of a session. */
#ifndef FANFARE_CMD_DATA_WAIT_H
#define FANFARE_CMD_DATA_WAIT_H

#include "cmd/caller.h"
#include "partition/partition.h"

struct data_wait;

struct data_wait_ops {
    /* All answers are there, in wait->part[]. Write the reply; call->argc is 0. */
    void (*finish)(struct data_wait *wait, struct call *call);
    /* The session goes, the questions are under way: take over what they look at that is its. May be NULL. */
    void (*orphan)(struct data_wait *wait);
    /* Free what is the asker's own. May be NULL. */
    void (*free)(struct data_wait *wait);
};

struct data_part {
    struct partition_request request;
    struct data_wait *wait;
};

struct data_wait {
    const struct data_wait_ops *ops;
    struct session *session; /* NULL: it has gone */
    struct service *service;
    void *own; /* the asker's */
    uint32_t left;
    uint32_t part_count;
    struct data_part part[];
};

/* A new one of that many parts, whose requests are the asker's to fill: ask, partition, calls, checks. */
struct data_wait *data_wait_new(const struct call *call, const struct data_wait_ops *ops,
                                uint32_t part_count);

/* Ask. Takes: wait. The handler writes nothing more. */
void data_wait_begin(struct call *call, struct data_wait *wait);

/* The first part that has failed: true, and the error is written. */
bool data_wait_failed(const struct data_wait *wait, struct reply *reply);

/* The error reply for a request that was not answered. */
void data_write_error(struct reply *reply, enum err err);

/* A call on its own memory: call->argv and what it points to. Takes none; mem_free(copy) frees it. */
struct partition_call *data_call_copy(const struct slice *argv, uint32_t argc, uint16_t database);

#endif
