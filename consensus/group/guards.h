/* guards: what stands between libraft 0.22.1 and the ways in which it loses data, contradicts
 * itself or gets stuck.
 * Each is one small function with its reason beside it (guards.c), its own test
 * (tests/unit/test_consensus_guards.c) and a switch that only the simulator reaches, to show what
 * happens without it. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_GUARDS_H
#define FANFARE_CONSENSUS_GUARDS_H

#include "consensus/group/engine_types.h"
#include "consensus/link/message.h"

struct group;

enum guard {
    GUARD_STALE_TERM = 1, /* 1: a stale leader's message is answered, not stepped */
    GUARD_SOLE_VOTER,     /* 2: a sole voter elects itself in a new term only */
    GUARD_TRIM_COMMITTED, /* 3: entries that are committed here are not offered again */
    GUARD_TERM_GATE,      /* 4: term and vote are durable before a message that follows */
    GUARD_SPLIT_CHANGE,   /* 5: a CHANGE is the first new entry of its step */
    GUARD_CHANGE,         /* 6: no membership change before the leader's term has committed */
    GUARD_OLD_REJECTION,  /* 7: a rejection of what is known to match is stale */
    GUARD_UNAWARE_VOTER,  /* 8: who does not know of its promotion votes all the same */
    GUARD_PREVOTE_DENIAL, /* 9: a denied pre-vote tells the own term */
    GUARD_PREVOTE_STALE,  /* 10: a pre-vote's answer is dropped by who is no candidate */
    GUARD_RESTART_HOLD,   /* 11: who restarted keeps the promise behind a leader's lease */
    GUARD_TRANSFER_LEASE, /* 12: a leader that hands over has no lease */
    GUARD_CHANGE_GATE,    /* 13: a leader's CHANGE is on its own disk before it leaves */
    GUARD_APPLY_DURABLE,  /* 14: only what is durable here is applied */
    GUARD_LAST
};

struct guard_piece { /* of an AppendEntries */
    uint64_t prev_index;
    uint64_t prev_term;
    const struct raft_entry *entries;
    unsigned count;
};

bool guard_is_on(const struct group *g, enum guard guard);

/* A message of an older term: true, and `reply` is what to answer; do not step it. */
bool guard_stale_term(const struct group *g, uint64_t message_term, struct message *reply);
/* Is this replica the only voter of its latest configuration, so that it must not be elected in its
 * current term? */
bool guard_sole_voter(const struct group *g);
/* The same of a configuration that was not given to the library yet. */
bool guard_sole_voter_in(const struct raft_configuration *conf, uint64_t self);
/* Cut off what is committed here. False: the leader contradicts what is committed. */
MUST_USE bool guard_trim_committed(const struct group *g, struct guard_piece *piece);
/* The leader's commit index as the library may hear of it with `piece`. */
uint64_t guard_kept_commit(const struct group *g, uint64_t leader_commit,
                           const struct guard_piece *piece);
/* The batch that must be durable before a message made now may leave. */
uint64_t guard_term_gate(const struct group *g);
/* The same for an AppendEntries with a CHANGE that is not durable here. */
uint64_t guard_change_gate(const struct group *g, const struct raft_entry *entries, unsigned count,
                           uint64_t first);
/* How many entries of `rest` may be stepped together; *needs_empty: an empty step must come first.
 * */
unsigned guard_split_change(const struct group *g, const struct guard_piece *rest,
                            bool *needs_empty);
MUST_USE enum err guard_change(const struct group *g, enum engine_change change, uint64_t id,
                               const char *node_name);
bool guard_needs_barrier(const struct group *g);
void guard_old_rejection(const struct group *g, uint64_t from,
                         struct raft_append_entries_result *result);
/* Must the driver grant this vote itself? */
bool guard_unaware_voter(const struct group *g, const struct raft_request_vote *vote);
void guard_prevote_denial(const struct group *g, struct raft_message *message);
bool guard_prevote_stale(const struct group *g, const struct raft_message *message);
bool guard_restart_hold(const struct group *g, const struct raft_request_vote *vote);
bool guard_transfer_lease(const struct group *g);
uint64_t guard_apply_durable(const struct group *g);

#endif
