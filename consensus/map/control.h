/* control: the state machine of the control group: members, partition owners, settings. Pure: no
 * clock, no randomness, no I/O; every replica computes the same from the same log (proto/control.proto
 * is what the log and the snapshot hold).
 * Invariants, checked after every command: an owner is a member that is up; a partition's epoch never
 * falls, and rises with every change of its owner; so no two nodes own one partition in one epoch. A partition's replicas are
 * on different members; one that is settled has voters only; what is done to one that is not settled takes no data away but
 * with a member that is gone.
 * Thread: the raft thread; control_encode and control_decode: any. */
#ifndef FANFARE_CONSENSUS_CONTROL_H
#define FANFARE_CONSENSUS_CONTROL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "consensus/map/pmap.h"

struct control;

MUST_USE struct control *control_new(void);
void control_free(struct control *control);

/* What can be done. A command that does not fit the state any more (written by a leader that did not
 * know) changes nothing. */
enum control_op {
    CONTROL_CREATE, /* the cluster: id, partition count; first command of all, once. With data_of:
                          that node becomes the first replica of all partitions when it joins */
    CONTROL_JOIN,   /* a node came up: id, name, zone, addresses. A known id: its addresses are
                          renewed and its incarnation rises; a known name with another id: the old
                          member is replaced (it lost its disk) and its index goes to the new one, with
                          a higher incarnation; its replicas are gone with its disk. What it owned has
                          no owner any more. Refused: a known
                          id with the name of another member; a new member when all places are
                          taken. */
    CONTROL_DOWN,   /* id, incarnation: it is down. What it owned has no owner any more. */
    CONTROL_DRAIN,  /* id, incarnation: it is to own nothing and will leave soon; until it joins
                          again */
    CONTROL_FORGET, /* id: it is no member any more, nor are its replicas; must be down or draining
                          and own nothing */
    CONTROL_ASSIGN, /* partition, epoch it has now, new owner's id and incarnation; that one must
                          be up and not draining, and another than the present owner */
    CONTROL_SET_VOTER, /* id, yes or no: mirrors the Raft configuration, for showing */
    CONTROL_LEVEL, /* all members understand commands up to this level; the following ones are of
                          level 1, but for the last */
    CONTROL_ADD_REPLICA, /* partition, change it has now, node id: a member that is up and has none.
                               The partition must be settled, or have had no replica that founded it */
    CONTROL_REMOVE_REPLICA, /* partition, change, replica id: not the last voter; of a partition that is
                               not settled only one that does not vote yet */
    CONTROL_SETTLE,         /* partition, change: it is founded, and settled */
    CONTROL_CHANGE_USERS, /* users; of level 2. Refused as roster_next says */
};

struct control_command {
    enum control_op op;
    uint64_t cluster_id;
    uint32_t partition_count;
    uint64_t node_id;
    uint64_t incarnation;
    struct pmap_node node; /* JOIN: name, zone, addresses; the rest of it is not read */
    uint32_t partition;
    uint64_t epoch;
    bool is_voter;
    uint32_t level;      /* CREATE, LEVEL */
    uint64_t data_of;    /* CREATE */
    uint64_t key_layout; /* CREATE with a level, LEVEL: pmap.key_layout */
    uint64_t change;
    uint64_t replica;
    struct roster_change
        *users; /* CHANGE_USERS; the caller's, or, of a command that was read, its own */
};

/* Append the command's encoding to *out; read one: all fields that it does not have are zero. False:
 * malformed, or texts that are too long, hold blanks or control characters, or a name that is empty. What was read
 * may have memory of its own: control_command_fini. */
void control_encode(struct buf *out, const struct control_command *command);
MUST_USE bool control_decode(struct slice bytes, struct control_command *out);
void control_command_fini(struct control_command *command);

/* Apply one log command; `index` never falls, and commands of one entry share it. True: the state has
 * changed. A malformed one is our bug or a newer version's command: it changes nothing and is logged.
 * */
bool control_apply(struct control *control, uint64_t index, struct slice bytes);
uint64_t control_applied(const struct control *control);
void control_set_applied(struct control *control, uint64_t index); /* entries that are not ours */

/* The present map; never written again: each change makes a new one. Borrowed; good until the next
 * apply or load: take a reference to keep it. NULL before CONTROL_CREATE. */
const struct pmap *control_map(const struct control *control);

/* Append the whole state to *out as bytes (equal states: equal bytes); replace it by one. Errors:
 * ERR_CORRUPT (the state is as it was). */
void control_save(const struct control *control, struct buf *out);
MUST_USE enum err control_load(struct control *control, struct slice bytes);

/* The users alone, as a state that holds nothing else: append them; read them back. Gives: the roster, NULL: that is none.
 * Thread: any. */
void control_save_users(const struct roster *roster, struct buf *out);
MUST_USE struct roster *control_load_users(struct slice bytes);

#endif
