/* sim_promise: what a replica told others, it keeps.
 * Owns: struct sim_promise. When a message leaves, its sender's term and vote and the end of its log
 * are remembered, as far as the message tells of them; after any restart it has them, or it does not
 * start. Entries that a later leader has replaced are no promise any more. */
#include "base/mem.h"
#include "sim/sim.h"

void promise_end(struct sim_replica *replica)
{
    mem_free(replica->promise.terms);
    replica->promise = (struct sim_promise){0};
}

static struct sim_promise *promise_of(struct sim_node *node, uint64_t group, uint64_t id)
{
    struct sim_replica *replica = &node->replicas[group];
    if (replica->promise.by != id) {
        promise_end(replica);
        replica->promise.by = id;
    }
    return &replica->promise;
}

static uint64_t snapshot_index(const struct wal_log *log)
{
    return wal_log_snapshot(log) != NULL ? wal_log_snapshot(log)->index : 0;
}

/* Entries that are in the log no more were replaced by a leader's, or by its snapshot. */
static void drop_replaced(struct sim_promise *p, const struct wal_log *log)
{
    while (p->last > snapshot_index(log) && wal_log_term(log, p->last) != p->terms[p->last]) {
        p->last--;
    }
}

static void note_term(struct sim_promise *p, uint64_t term)
{
    if (term > p->term) {
        p->term = term;
        p->vote = 0;
    }
}

static void note_vote(struct sim_node *node, struct sim_promise *p, uint64_t term, uint64_t vote)
{
    note_term(p, term);
    if (term < p->term) { return; } /* it left late */
    if (p->vote != 0 && p->vote != vote) {
        sim_fail(node->sim, "replica %lu on %s votes for %lu and for %lu in term %lu",
                 (unsigned long)p->by, node->name, (unsigned long)p->vote, (unsigned long)vote,
                 (unsigned long)term);
    }
    p->vote = vote;
}

/* It has its log up to `last`. */
static void note_log(struct sim_promise *p, const struct group *g, uint64_t last)
{
    if (p->terms == NULL) { p->terms = mem_new0(SIM_INDEX_MAX * sizeof *p->terms); }
    drop_replaced(p, g->log);
    if (last >= SIM_INDEX_MAX || last > wal_log_last_index(g->log)) { return; } /* it left late */
    while (p->last < last) {
        p->last++;
        p->terms[p->last] = (uint16_t)wal_log_term(g->log, p->last);
    }
}

static void note_message(void *arg, const struct message *m)
{
    struct sim_node *node = arg;
    if (m->kind != MESSAGE_RAFT) { return; }
    const struct group *g = sim_group(node, m->group);
    struct sim_promise *p = promise_of(node, m->group, m->from);
    node->sim->stats.promises++;
    switch (m->raft.type) {
    case RAFT_APPEND_ENTRIES: note_term(p, m->raft.append_entries.term); break;
    case RAFT_APPEND_ENTRIES_RESULT:
        note_term(p, m->raft.append_entries_result.term);
        if (m->raft.append_entries_result.rejected == 0 && g != NULL) {
            note_log(p, g, m->raft.append_entries_result.last_log_index);
        }
        break;
    case RAFT_REQUEST_VOTE:
        if (!m->raft.request_vote.pre_vote) {
            note_vote(node, p, m->raft.request_vote.term, m->raft.request_vote.candidate_id);
        }
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (!m->raft.request_vote_result.pre_vote && m->raft.request_vote_result.vote_granted) {
            note_vote(node, p, m->raft.request_vote_result.term, m->to);
        }
        break;
    case RAFT_INSTALL_SNAPSHOT:
    case RAFT_TIMEOUT_NOW: break;
    }
}

void promise_note(struct sim_node *node, struct slice frame)
{
    static const struct message_handler handler = {.on_message = note_message};
    if (message_decode(frame, &handler, node) != ERR_OK) {
        sim_fail(node->sim, "%s sends a frame that makes no sense", node->name);
    }
}

void promise_note_leader(struct sim_node *node, const struct group *g)
{
    struct sim_promise *p = promise_of(node, g->id, g->self);
    if (group_is_leader(g)) {
        note_log(p, g, g->raft.last_stored);
    } else {
        drop_replaced(p, g->log);
    }
}

static void check_replica(struct sim_node *node, uint64_t group, struct sim_promise *p)
{
    struct sim *sim = node->sim;
    const struct wal_log *log = wal_log_find(node->e->groups.wal, group);
    if (log == NULL || wal_log_self(log) != p->by) {
        sim_fail(sim, "%s has forgotten replica %lu of group %lu, which had spoken", node->name,
                 (unsigned long)p->by, (unsigned long)group);
        return;
    }
    struct wal_ballot ballot = wal_log_ballot(log);
    bool has_vote = p->vote == 0 || p->term != ballot.term || ballot.vote == p->vote;
    if (ballot.term < p->term || !has_vote) {
        sim_fail(sim, "%s told term %lu and vote %lu in group %lu, and has %lu and %lu", node->name,
                 (unsigned long)p->term, (unsigned long)p->vote, (unsigned long)group,
                 (unsigned long)ballot.term, (unsigned long)ballot.vote);
    }
    bool has_log =
        p->last <= snapshot_index(log) ||
        (p->last <= wal_log_last_index(log) && wal_log_term(log, p->last) == p->terms[p->last]);
    if (!has_log) {
        sim_fail(sim, "%s told of entry %lu of term %lu in group %lu, and has %lu of term %lu",
                 node->name, (unsigned long)p->last, (unsigned long)p->terms[p->last],
                 (unsigned long)group, (unsigned long)wal_log_last_index(log),
                 (unsigned long)wal_log_term(log, p->last));
    }
}

void promise_check(struct sim_node *node)
{
    for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
        struct sim_promise *p = &node->replicas[group].promise;
        if (p->by != 0) { check_replica(node, group, p); }
    }
}
