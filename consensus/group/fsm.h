/* fsm: the seam to a replicated state machine.
 * Entries are applied in order, each once, in batches; a batch is one transaction that also stores
 * its last index. A machine applies a batch at once, or takes it and says later that it is done; then
 * one batch is in flight, and what is committed meanwhile becomes the next. */
#ifndef FANFARE_CONSENSUS_FSM_H
#define FANFARE_CONSENSUS_FSM_H

#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slice.h"

/* A command on its way into a group's log. The proposer owns it and its data until on_done.
 * ERR_OK: applied. ERR_NOT_LEADER, ERR_SLOW (too many wait), ERR_FULL (the disk is nearly full):
 * certainly not executed.
 * ERR_INDOUBT: leadership was lost; it may or may not be executed. */
struct proposal {
    struct task task; /* for the way to the raft thread and back */
    struct list link;
    uint64_t group;
    struct slice data;
    uint64_t index; /* of its entry, once it has one */
    uint64_t term;
    enum err err; /* the proposer's, to keep the answer on the way back */
    void (*on_done)(struct proposal *proposal, enum err err); /* raft thread */
};

struct fsm_command {
    uint64_t index; /* of the entry; commands of one entry share it */
    uint64_t term;
    struct slice data;
    struct proposal *origin; /* proposed here, waits for its reply; else NULL */
};

enum fsm_answer {
    FSM_DONE,  /* applied: the batch is the engine's again, who answers the proposals */
    FSM_TAKEN, /* being applied elsewhere: see apply */
};

struct fsm_batch {
    const struct fsm_command *commands;
    size_t count;        /* may be 0: entries of the engine's own */
    uint64_t last_index; /* to be stored in the same transaction */
};

/* Thread: the raft thread, but where it says "pool". Never called for one group at the same time.
 * */
struct fsm_ops {
    /* FSM_TAKEN: until engine_applied is called with last_index, on the raft thread, the batch and
     * all it points to stay as they are, for one thread at a time to read; and nothing else is asked
     * of the machine that would change it. The proposals that are origins are the machine's from the
     * beginning of this call: it answers each, with ERR_OK, on whatever thread; so what is committed
     * here and handed over is never in doubt. */
    enum fsm_answer (*apply)(void *fsm, const struct fsm_batch *batch);
    uint64_t (*applied_index)(void *fsm); /* what the store holds at start; 0: nothing */

    /* What the machine's own store would keep over a power cut; the log before it may go without an
     * image, which is then made when a peer needs one. NULL: nothing, the image is what keeps it. */
    uint64_t (*durable_index)(void *fsm);

    /* An unchanging image of the state, read as a stream while apply goes on; it may outlive the
     * group's closing. NULL: the machine makes it elsewhere, of the state before whatever it is asked
     * for later, and gives it to engine_snapshot_begun. */
    void *(*snapshot_begin)(void *fsm);
    enum err (*snapshot_read)(void *image, char *out, size_t bytes_max,
                              size_t *bytes); /* pool; 0 bytes: the end */
    void (*snapshot_end)(void *image);

    /* Replace the whole state by a stream; nothing else is called between begin and end. A crash
     * before the end leaves an applied_index below `index`. ERR_SLOW: the machine does it elsewhere,
     * has the bytes until then, and says so by engine_restored; no other step is asked for before. */
    void (*restore_begin)(void *fsm);
    enum err (*restore_write)(void *fsm, struct slice bytes);
    enum err (*restore_end)(void *fsm, uint64_t index);

    /* This replica became leader, or is not any more, in `term`. */
    void (*on_leader)(void *fsm, bool is_leader, uint64_t term);
    /* The leadership is about to be offered to another, who may have it at any moment from now on:
     * what rests on this replica's lease ends here. May be NULL. */
    void (*on_transfer)(void *fsm);

    /* The group was closed or deleted and nothing of it will be called any more: in the call that
     * closed it, or, with a batch in flight, once that has come back. May be NULL. */
    void (*on_closed)(void *fsm);

    /* Nothing of it outlives the process: it may be given what is committed before that is durable
     * here, so that a node whose disk is stuck goes on. */
    bool is_volatile;
};

/* Pack a command into the data of an entry; an entry holds any number. */
enum { FSM_COMMAND_HEAD_BYTES = 4 };
struct buf;
void fsm_command_encode(struct buf *out, struct slice command);
/* Take the first command off *entry. False: malformed. */
MUST_USE bool fsm_command_decode(struct slice *entry, struct slice *command);

#endif
