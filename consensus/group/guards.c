/* guards: see guards.h. Owns: nothing; all but two only look. Thread: the raft thread. */
#include "consensus/group/guards.h"

#include "consensus/group/group_int.h"

bool guard_is_on(const struct group *g, enum guard guard)
{
    return (g->guards_off & 1U << guard) == 0;
}

/* The library's answer to an AppendEntries or InstallSnapshot of an old term carries an index that
 * was never set. If nothing was rejected by number the leader takes it for a match, and commits
 * without a quorum. */
bool guard_stale_term(const struct group *g, uint64_t message_term, struct message *reply)
{
    if (!guard_is_on(g, GUARD_STALE_TERM) || message_term >= raft_current_term(&g->raft)) {
        return false;
    }
    *reply = (struct message){.kind = MESSAGE_RAFT};
    reply->raft.type = RAFT_APPEND_ENTRIES_RESULT;
    reply->raft.append_entries_result = (struct raft_append_entries_result){
        .version = 1, .term = raft_current_term(&g->raft), .rejected = 1};
    return true;
}

bool guard_sole_voter_in(const struct raft_configuration *conf, uint64_t self)
{
    bool is_voter = false;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].role == RAFT_VOTER && conf->servers[i].id != self) { return false; }
        is_voter = is_voter || conf->servers[i].role == RAFT_VOTER;
    }
    return is_voter;
}

/* The library lets a sole voter lead in the term it has, where it may have led before and lost
 * entries that standbys kept: one index and term would then name two entries. */
bool guard_sole_voter(const struct group *g)
{
    return guard_is_on(g, GUARD_SOLE_VOTER) && guard_sole_voter_in(&g->raft.configuration, g->self);
}

/* Entries at or below the compaction point have no term any more, so the library appends them once
 * more at its end, and takes the commit index back. What is committed is the same everywhere: begin
 * behind it. */
bool guard_trim_committed(const struct group *g, struct guard_piece *piece)
{
    uint64_t commit = raft_commit_index(&g->raft);
    if (!guard_is_on(g, GUARD_TRIM_COMMITTED) || g->is_installing || piece->prev_index >= commit) {
        return true;
    }
    uint64_t term = wal_log_term(g->log, commit);
    uint64_t behind = commit - piece->prev_index;
    unsigned cut = behind < piece->count ? (unsigned)behind : piece->count;
    if (term == 0 || (cut == behind && piece->entries[cut - 1].term != term)) { return false; }
    *piece = (struct guard_piece){commit, term, piece->count > cut ? piece->entries + cut : NULL,
                                  piece->count - cut};
    return true;
}

/* The library sets its commit index to the end of what it is sent, also where that ends before: an
 * early AppendEntries that comes late, while a snapshot is being installed and nothing can be cut
 * off, would take it back. */
uint64_t guard_kept_commit(const struct group *g, uint64_t leader_commit,
                           const struct guard_piece *piece)
{
    uint64_t commit = raft_commit_index(&g->raft);
    bool ends_before = piece->prev_index + piece->count < commit;
    return guard_is_on(g, GUARD_TRIM_COMMITTED) && ends_before && leader_commit > commit
               ? commit
               : leader_commit;
}

/* A vote that is forgotten in a crash is cast twice, and two leaders rule one term. */
uint64_t guard_term_gate(const struct group *g)
{
    return guard_is_on(g, GUARD_TERM_GATE) ? g->ballot_batch : 0;
}

/* A leader that forgets a CHANGE it has sent comes back with a configuration older than its
 * followers'. */
uint64_t guard_change_gate(const struct group *g, const struct raft_entry *entries, unsigned count,
                           uint64_t first)
{
    for (unsigned i = 0; i < count; i++) {
        if (entries[i].type == RAFT_CHANGE && first + i > g->raft.last_stored &&
            guard_is_on(g, GUARD_CHANGE_GATE)) {
            return wal_batch_last(g->all->wal);
        }
    }
    return 0;
}

/* The library gives a CHANGE the index of the first new entry of its step, and a second CHANGE
 * before the first one's commit overwrites the configuration to fall back to. So a new CHANGE comes
 * first in its step, and an empty step before it lets what precedes be committed and applied. */
unsigned guard_split_change(const struct group *g, const struct guard_piece *rest,
                            bool *needs_empty)
{
    *needs_empty = false;
    if (!guard_is_on(g, GUARD_SPLIT_CHANGE) || rest->count == 0) { return rest->count; }
    const struct raft_entry *first = &rest->entries[0];
    *needs_empty =
        first->type == RAFT_CHANGE && wal_log_term(g->log, rest->prev_index + 1) != first->term;
    unsigned count = 1;
    while (count < rest->count && rest->entries[count].type != RAFT_CHANGE) {
        count++;
    }
    return count;
}

/* Are those voters that stay, and answered lately, a majority? A configuration is in force once it is
 * in the log: with a removal that they cannot commit the leader steps down, and it is not elected
 * again, nor anybody with less of the log, before a dead one is back. */
static bool keeps_quorum(const struct group *g, const struct raft_server *removed)
{
    if (removed->role != RAFT_VOTER || !guard_is_on(g, GUARD_CHANGE)) { return true; }
    uint64_t now_ms = group_now_ms(g);
    unsigned voters = 0;
    unsigned live = 0;
    for (unsigned i = 0; i < g->raft.configuration.n; i++) {
        const struct raft_server *server = &g->raft.configuration.servers[i];
        if (server->role != RAFT_VOTER || server == removed) { continue; }
        const struct group_peer *peer = group_peer(g, server->id);
        bool answers = peer != NULL && peer->heard_ms != 0 &&
                       now_ms < peer->heard_ms + g->all->opts.election_ms;
        voters++;
        live += server->id == g->self || answers;
    }
    return live * 2 > voters;
}

/* Raft changes membership safely only after an entry of the leader's own term is committed, one
 * server at a time; a voter that is demoted, or a leader that removes itself, wedges this library;
 * an id that comes back with an empty disk has forgotten its votes. */
enum err guard_change(const struct group *g, enum engine_change change, uint64_t id,
                      const char *node_name)
{
    const struct raft_configuration *conf = &g->raft.configuration;
    const struct raft_server *server = group_server(g, id);
    if (!group_is_leader(g)) { return ERR_NOT_LEADER; }
    if (guard_is_on(g, GUARD_CHANGE)) {
        bool is_busy =
            g->raft.configuration_uncommitted_index != 0 || g->promotee != 0 || g->transferee != 0;
        if (!group_owns_term(g) || is_busy || raft_transferee(&g->raft) != 0) { return ERR_SLOW; }
    }
    switch (change) {
    case ENGINE_ADD_STANDBY:
        if (strlen(node_name) >= ENGINE_NAME_BYTES) { return ERR_INVALID; }
        for (unsigned i = 0; i < conf->n; i++) {
            if (conf->servers[i].id == id || strcmp(conf->servers[i].address, node_name) == 0) {
                return ERR_INVALID;
            }
        }
        return id != 0 && conf->n < GROUP_SERVERS_MAX ? ERR_OK : ERR_INVALID;
    case ENGINE_PROMOTE: return server != NULL && server->role != RAFT_VOTER ? ERR_OK : ERR_INVALID;
    case ENGINE_REMOVE:
        if (server == NULL || id == g->self) { return ERR_INVALID; }
        return keeps_quorum(g, server) ? ERR_OK : ERR_SLOW;
    }
    UNREACHABLE();
}

/* The library appends a new leader's first entry only if something is uncommitted; without one of
 * its own term a leader can neither read nor change membership. */
bool guard_needs_barrier(const struct group *g)
{
    return guard_is_on(g, GUARD_CHANGE) && group_is_leader(g) &&
           wal_log_term(g->log, wal_log_last_index(g->log)) != raft_current_term(&g->raft);
}

/* A rejection that was overtaken by a later success trips an assertion, or, without assertions,
 * moves the follower's progress below what it is known to hold: all of it is stale, or only the
 * last index that it tells. */
void guard_old_rejection(const struct group *g, uint64_t from,
                         struct raft_append_entries_result *result)
{
    raft_index match;
    if (!guard_is_on(g, GUARD_OLD_REJECTION) || result->rejected == 0 ||
        raft_match_index(&g->raft, from, &match) != 0) {
        return;
    }
    if (match >= result->rejected) {
        result->rejected = 0;
        result->last_log_index = 0;
    } else if (match > result->last_log_index) {
        result->last_log_index = match;
    }
}

/* The library never votes unless its own log says that it is a voter. With two voters of which one
 * has not heard of its promotion yet, and the other restarted, nobody can be elected. By Raft's
 * rules any server grants a vote to a candidate whose log is as new as its own, unless it heard a
 * leader within the election timeout. */
bool guard_unaware_voter(const struct group *g, const struct raft_request_vote *vote)
{
    const struct raft_server *self = group_server(g, g->self);
    bool is_aware = self != NULL && self->role == RAFT_VOTER;
    if (!guard_is_on(g, GUARD_UNAWARE_VOTER) || is_aware || g->is_installing ||
        g->raft.state != RAFT_FOLLOWER) {
        return false;
    }
    if (group_now_ms(g) < g->heard_ms + g->all->opts.election_ms) { return false; }
    uint64_t last = wal_log_last_index(g->log);
    uint64_t last_term = last > 0 ? wal_log_term(g->log, last) : 0;
    bool is_as_new = vote->last_log_term > last_term ||
                     (vote->last_log_term == last_term && vote->last_log_index >= last);
    if (!is_as_new || vote->term < raft_current_term(&g->raft)) { return false; }
    bool has_vote = vote->term > raft_current_term(&g->raft) || raft_voted_for(&g->raft) == 0 ||
                    raft_voted_for(&g->raft) == vote->candidate_id;
    return vote->pre_vote || has_vote;
}

/* A denied pre-vote echoes the term of the request. If ours is higher the candidate never learns
 * it, and two servers with unequal terms deny each other for ever. */
void guard_prevote_denial(const struct group *g, struct raft_message *message)
{
    if (!guard_is_on(g, GUARD_PREVOTE_DENIAL) || message->type != RAFT_REQUEST_VOTE_RESULT) {
        return;
    }
    struct raft_request_vote_result *result = &message->request_vote_result;
    if (result->pre_vote && !result->vote_granted && result->term < raft_current_term(&g->raft)) {
        result->term = raft_current_term(&g->raft);
    }
}

/* Outside candidacy the library takes the term of a pre-vote's answer, which nobody may be in yet,
 * for a real one. */
bool guard_prevote_stale(const struct group *g, const struct raft_message *message)
{
    return guard_is_on(g, GUARD_PREVOTE_STALE) && message->type == RAFT_REQUEST_VOTE_RESULT &&
           message->request_vote_result.pre_vote && g->raft.state != RAFT_CANDIDATE;
}

/* A follower that acknowledged a heartbeat denies votes for an election timeout: the leader's lease
 * rests on that. The library forgets it in a restart. A vote that the leader itself asked for, by a
 * transfer, is not held back. */
bool guard_restart_hold(const struct group *g, const struct raft_request_vote *vote)
{
    return guard_is_on(g, GUARD_RESTART_HOLD) && !vote->disrupt_leader && !guard_sole_voter(g) &&
           group_now_ms(g) < g->started_ms + g->all->opts.election_ms;
}

/* A transfer lets another server be elected at any later time in this term, lease or not. */
bool guard_transfer_lease(const struct group *g)
{
    return guard_is_on(g, GUARD_TRANSFER_LEASE) && g->lease_is_void;
}

/* A leader may commit what others have on disk before it has it itself. Were it applied, a crash
 * could leave a state machine that outlives it ahead of the log. */
uint64_t guard_apply_durable(const struct group *g)
{
    uint64_t commit = raft_commit_index(&g->raft);
    uint64_t stored = g->raft.last_stored;
    bool is_free = !guard_is_on(g, GUARD_APPLY_DURABLE) || g->fsm_ops->is_volatile;
    return is_free || commit < stored ? commit : stored;
}
