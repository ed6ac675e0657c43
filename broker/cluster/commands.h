/* commands: data commands of this node's clients on their way to whoever leads their partition, here or on another node,
 * and the answers on their way back. One worker's; a node alone has them, too, with nobody else to ask.
 *
 * It numbers what it is given (partition.h: origins), remembers it until it is answered, and asks again, in order, at the
 * next leader, when a connection breaks, a leader steps down or is in doubt: so a command is executed once, and its client sees a
 * pause. Where no answer comes within `timeout_ms`: ERR_INDOUBT if it was ever sent, else ERR_CLUSTER_DOWN. A parked
 * one waits for as long as it is not taken back, and then so long for its end.
 *
 * Owns: nothing of the requests, but while they are under way. Thread: the worker; no locks.
 * Bound: COMMANDS_IN_FLIGHT_MAX per partition; what is beyond waits here, and commands_are_congested tells it. */
#ifndef FANFARE_CLUSTER_COMMANDS_H
#define FANFARE_CLUSTER_COMMANDS_H

#include "base/err.h"
#include "partition/partition.h"

struct cluster;
struct commands;

enum {
    COMMANDS_IN_FLIGHT_MAX = 4096,  /* of a partition: what its lane keeps answers of */
    COMMANDS_BYTES_MAX = 128 << 20, /* under way on this worker: above it there is too much */
    /* Of one request; its words count for 16 bytes more each. A log entry may be less long. */
    COMMANDS_REQUEST_BYTES_MAX = 512 << 20,
    COMMANDS_REQUEST_WORDS_MAX = 4 << 20,
    COMMANDS_REQUEST_CHECKS_MAX = 32768, /* and keys that are waited for */
};

struct commands_opts {
    struct partitions *partitions; /* of a node that is alone */
    struct cluster *
        cluster; /* NULL: this node is alone; else its part of the worker is attached, and outlives this */
    uint32_t worker;
    struct mailbox *mailbox; /* the worker's */
    uint32_t timeout_ms;
    uint64_t node_id;
    uint64_t incarnation; /* of this process, where the node is alone; a cluster gives its own */
};

MUST_USE struct commands *commands_new(const struct commands_opts *opts);
void commands_free(struct commands *commands); /* nothing is under way; NULL is allowed */

/* Takes: request, until its on_done. The asker has set ask, partition, resp_version, calls, checks, ticket and on_done; the
 * origin, home and acks are set here; the origin is the asker's to see when it is answered. on_done is called on this worker, not from inside, with err
 *   ERR_OK           with the replies, or is_aborted, or is_unparked
 *   ERR_CLUSTER_DOWN certainly not executed
 *   ERR_FULL         certainly not executed: the disks are full
 *   ERR_INDOUBT      it may have been
 *   ERR_LIMIT        it was executed, and its answer is lost
 *   ERR_INVALID      certainly not executed: it is too long (the limits below, or of a log entry), now and for ever
 * Requests of one partition that are under way together are executed in the order in which they were given, but for
 * parked ones; a read sees the writes that were given before it. */
void commands_ask(struct commands *commands, struct partition_request *request);

/* Answer a read at once, if that can be done: then on_done is not called. False: it has to be asked. Writes that are under
 * way may be missing from it: who has some of its own there asks, or waits for them first. */
MUST_USE bool commands_read(struct commands *commands, struct partition_request *request);

/* A parked request is not wanted any more (time is up, or its client is gone): on_done comes, is_unparked or with what was
 * executed meanwhile. Is it asked how it ended, then is_unparked says that whoever leads has looked and found nothing: where
 * nobody leads the next one does, and where there is none within `timeout_ms` it is ERR_CLUSTER_DOWN or ERR_INDOUBT. Else it
 * says that nothing was executed. It may be said again that nobody asks any more. */
void commands_unpark(struct commands *commands, struct partition_request *request, bool is_asked);

/* A parked request that was lent (partition.h) and answered with ERR_OK and not is_unparked: the answer has been handed over.
 * To be called once for each of them, with its partition and origin: else it is put back when this node fails. */
void commands_confirm(struct commands *commands, const struct partition_request *request);
/* Do the partitions know of all of them? */
bool commands_have_confirmed(const struct commands *commands);

/* Is too much under way? Then those who have some among it are not to be read. */
bool commands_are_congested(const struct commands *commands);

/* At the end of each of the worker's turns: what this node's partitions were asked in it goes to them, all at once. */
void commands_turn(struct commands *commands);
/* Has commands_turn nothing to do? */
bool commands_are_idle(const struct commands *commands);

/* About every 100 ms. */
void commands_tick(struct commands *commands);
/* Everything ends, with ERR_CLUSTER_DOWN or ERR_INDOUBT; what this node's partitions have been asked, when they answer
 * (partitions_stop makes them). What is asked from now on ends at once. */
void commands_stop(struct commands *commands);

#endif
