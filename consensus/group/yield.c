/* yield: how a leader learns that its own disk fails it, and whom it asks to lead instead.
 * Owns: the watch over the log's flushes. Thread: the raft thread.
 * Always: heartbeats need no disk, so a leader whose disk is stuck or full would lead for ever and get
 * nothing done. It asks only a voter that has lately said that its own disk is well: where all are in
 * the same trouble nobody hands over to anybody.
 * A transfer that came to nothing leaves a leader without a lease; it steps down, which asks for no
 * disk either: what it says in the new term waits for the flush, and the others elect. */
#include "consensus/group/yield.h"

#include "base/log.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"

enum {
    VOID_FACTOR = 2
}; /* election timeouts that a leader stays after a transfer came to nothing */

/* For how long has what was put not been durable? */
static uint64_t overdue_ms(const struct groups *all, uint64_t now_ms)
{
    bool is_durable = all->watched_batch <= wal_batch_flushed(all->wal);
    return is_durable || now_ms < all->watched_ms ? 0 : now_ms - all->watched_ms;
}

void yield_watch(struct groups *all, uint64_t now_ms)
{
    if (all->watched_batch > wal_batch_flushed(all->wal)) { return; }
    all->watched_batch = wal_batch_last(all->wal);
    all->watched_ms = now_ms;
}

bool yield_is_ailing(const struct groups *all)
{
    return all->space.is_low ||
           overdue_ms(all, all->world.now_ms(all->world.arg)) >= all->opts.election_ms / 2;
}

/* In no state to lead, for so long that others in the same trouble have said so. */
static bool must_yield(const struct groups *all, uint64_t now_ms)
{
    return all->is_stuck || (all->low_ms != 0 && now_ms >= all->low_ms + all->opts.election_ms / 2);
}

bool yield_is_fit(const struct group *g, const struct raft_server *server, uint64_t now_ms)
{
    const struct group_peer *peer = group_peer(g, server->id);
    return server->role == RAFT_VOTER && server->id != g->self && peer != NULL &&
           !peer->is_ailing && peer->heard_ms != 0 &&
           now_ms < peer->heard_ms + g->all->opts.election_ms;
}

/* The one of the fit that has most of the log; not the one that was asked last, if there is another. */
static uint64_t pick(const struct group *g, uint64_t now_ms)
{
    uint64_t best = 0;
    raft_index best_match = 0;
    for (unsigned i = 0; i < g->raft.configuration.n; i++) {
        const struct raft_server *server = &g->raft.configuration.servers[i];
        raft_index match;
        if (!yield_is_fit(g, server, now_ms) ||
            raft_match_index(&g->raft, server->id, &match) != 0) {
            continue;
        }
        bool is_second_choice = server->id == g->yielded_to;
        if (best == 0 || best == g->yielded_to || (!is_second_choice && match > best_match)) {
            best = server->id;
            best_match = match;
        }
    }
    return best;
}

static void yield(struct group *g, uint64_t now_ms)
{
    uint64_t to = pick(g, now_ms);
    if (to == 0 || group_transfer(g, to) != ERR_OK) { return; }
    LOG_LIMITED(LOG_LEVEL_WARN, "the disk is in no state to lead a raft group: another is asked to",
                LOG_UINT("group", g->id), LOG_UINT("replica", to),
                LOG_STR("disk", g->all->space.is_low ? "full" : "stuck"));
    g->yielded_to = to;
}

/* The one that was asked may still be elected in this term: only a new one has a lease. */
static void end_void_lease(struct group *g, uint64_t now_ms)
{
    uint64_t until_ms = g->void_ms + (uint64_t)g->all->opts.election_ms * VOID_FACTOR;
    if (!g->lease_is_void || now_ms < until_ms) { return; }
    LOG_LIMITED(LOG_LEVEL_WARN, "a transfer of leadership came to nothing: the leader steps down",
                LOG_UINT("group", g->id));
    (void)group_bump_term(g, raft_current_term(&g->raft) + 1);
}

void yield_tick(struct groups *all, uint64_t now_ms)
{
    bool was_stuck = all->is_stuck;
    if (!all->space.is_low) { all->low_ms = 0; }
    if (all->space.is_low && all->low_ms == 0) { all->low_ms = now_ms; }
    all->is_stuck = overdue_ms(all, now_ms) >= all->opts.election_ms;
    if (all->is_stuck && !was_stuck) {
        LOG_WARN("the disk does not flush the log", LOG_UINT("since_ms", overdue_ms(all, now_ms)));
    }
}

void yield_leader(struct group *g, uint64_t now_ms)
{
    end_void_lease(g, now_ms);
    if (group_is_leader(g) && must_yield(g->all, now_ms)) { yield(g, now_ms); }
}
