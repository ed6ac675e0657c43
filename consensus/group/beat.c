/* beat: see the header.
 * Owns: what is gathered for each node in a turn, engine->beats; when the library was last asked.
 * Thread: the raft thread.
 * Always: with or without the library it comes to the same. Where it is not asked, leader and follower are of one
 * term and agree on all of the log, which is durable and committed on both; all that its step would do to
 * the follower is to start the election timer anew, and to the leader to remember that it heard of the
 * follower. The leader's library is asked twice in an election timeout, and whenever somebody did not
 * answer; what it must know by then, that each of them answered since it was last asked, it is told. */
#include "consensus/group/beat.h"

#include <string.h>

#include "base/mem.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"
#include "consensus/group/yield.h"
#include "consensus/link/beats.h"

/* What is gathered for a node. */
struct beat_peer {
    char name[ENGINE_NAME_BYTES];
    struct beats calls;
    struct beats replies;
};

static void flush(struct groups *all, const char *name, struct beats *beats)
{
    if (beats->count == 0) { return; }
    all->frame.len = 0;
    beats_encode(&all->frame, beats);
    beats->count = 0;
    all->world.send(all->world.arg, name, buf_slice(&all->frame), false);
}

void beat_flush(struct groups *all)
{
    for (size_t i = 0; i < all->beat_peer_count; i++) {
        struct beat_peer *peer = all->beat_peers[i];
        flush(all, peer->name, &peer->calls);
        flush(all, peer->name, &peer->replies);
    }
}

void beat_end(struct groups *all)
{
    for (size_t i = 0; i < all->beat_peer_count; i++) {
        mem_free(all->beat_peers[i]);
    }
    all->beat_peer_count = 0;
}

/* A place for a node that has none: a new one, or that of a node for which nothing is gathered. */
static struct beat_peer *place(struct groups *all)
{
    if (all->beat_peer_count < ENGINE_PEERS_MAX) {
        struct beat_peer *peer = mem_new0(sizeof *peer);
        peer->replies.is_reply = true;
        all->beat_peers[all->beat_peer_count++] = peer;
        return peer;
    }
    for (size_t i = 0; i < all->beat_peer_count; i++) {
        struct beat_peer *peer = all->beat_peers[i];
        if (peer->calls.count == 0 && peer->replies.count == 0) { return peer; }
    }
    return NULL;
}

/* NULL: there are too many, or the name is too long. */
static struct beat_peer *peer_of(struct groups *all, const char *name)
{
    for (size_t i = 0; i < all->beat_peer_count; i++) {
        if (strcmp(all->beat_peers[i]->name, name) == 0) { return all->beat_peers[i]; }
    }
    size_t bytes = strlen(name) + 1;
    struct beat_peer *peer = bytes <= ENGINE_NAME_BYTES ? place(all) : NULL;
    if (peer != NULL) { memcpy(peer->name, name, bytes); }
    return peer;
}

/* May a message leave without waiting for anything? */
static bool may_leave(const struct group *g)
{
    return list_is_empty(&g->awaiting_flush) &&
           guard_term_gate(g) <= wal_batch_flushed(g->all->wal);
}

/* ---- the leader ---- */

/* All of a message have one stamp, that of the first: an older one is what a lease may be reckoned from as well. */
static bool gather(struct group *g, uint64_t to, const char *to_name, uint64_t index,
                   uint64_t index_term)
{
    struct beat_peer *peer = peer_of(g->all, to_name);
    if (peer == NULL) { return false; }
    struct beats *calls = &peer->calls;
    if (calls->count == BEATS_MAX) { flush(g->all, peer->name, calls); }
    if (calls->count == 0) { calls->stamp_ms = group_now_ms(g); }
    calls->list[calls->count++] =
        (struct beat){g->id, g->self, to, raft_current_term(&g->raft), index, index_term, 0};
    return true;
}

bool beat_send(struct group *g, uint64_t to, const char *to_name,
               const struct raft_append_entries *append)
{
    bool is_beat = append->n_entries == 0 && append->prev_log_index != 0 &&
                   append->prev_log_index == append->leader_commit;
    return is_beat && append->term == raft_current_term(&g->raft) && may_leave(g) &&
           gather(g, to, to_name, append->prev_log_index, append->prev_log_term);
}

/* Is there nothing to be done for this group but to be heard? */
static bool is_at_rest(const struct group *g, uint64_t last)
{
    return last != 0 && last == group_commit_index(g) && last == g->raft.last_stored &&
           g->promotee == 0 && g->transferee == 0 && raft_transferee(&g->raft) == 0 &&
           !g->lease_is_void && g->raft.configuration_uncommitted_index == 0 && may_leave(g);
}

static bool is_heard(const struct group *g, uint64_t id, uint64_t last)
{
    const struct group_peer *peer = group_peer(g, id);
    return peer != NULL && peer->match == last && peer->heard_ms >= g->beat_ms;
}

bool beat_tick(struct group *g, uint64_t now_ms)
{
    if (!group_is_leader(g)) { return false; }
    uint64_t last = wal_log_last_index(g->log);
    const struct raft_configuration *conf = &g->raft.configuration;
    bool is_quiet = g->beat_ms != 0 && is_at_rest(g, last) &&
                    now_ms < g->asked_ms + g->all->opts.election_ms / 2;
    for (unsigned i = 0; is_quiet && i < conf->n; i++) {
        const struct raft_server *server = &conf->servers[i];
        is_quiet =
            server->id == g->self || (server->role != RAFT_SPARE && is_heard(g, server->id, last));
    }
    g->beat_ms = now_ms;
    if (is_quiet) {
        uint64_t term = wal_log_term(g->log, last);
        for (unsigned i = 0; is_quiet && i < conf->n; i++) {
            const struct raft_server *server = &conf->servers[i];
            is_quiet = server->id == g->self || gather(g, server->id, server->address, last, term);
        }
    }
    if (!is_quiet) { g->asked_ms = now_ms; }
    if (is_quiet) { read_show_lease(g); } /* of a node alone nobody else's answer prolongs it */
    return is_quiet;
}

bool beat_receive_reply(struct group *g, const struct message *m)
{
    const struct raft_append_entries_result *result = &m->raft.append_entries_result;
    const struct group_peer *peer = group_peer(g, m->from);
    bool is_known = group_is_leader(g) && result->term == raft_current_term(&g->raft) &&
                    result->rejected == 0 && peer != NULL &&
                    result->last_log_index <= peer->match && peer->told_ms >= g->asked_ms;
    if (!is_known || g->promotee != 0 || g->transferee != 0 || raft_transferee(&g->raft) != 0) {
        return false;
    }
    read_note_reply(g, m);
    read_show_lease(g);
    return true;
}

/* ---- the follower ---- */

/* Does the leader say what it said before? */
static bool is_known(const struct group *g, const struct message *m)
{
    const struct raft_append_entries *a = &m->raft.append_entries;
    const struct raft *r = &g->raft;
    uint64_t index = a->prev_log_index;
    bool is_follower = r->state == RAFT_FOLLOWER && a->term == raft_current_term(r) &&
                       m->from == r->follower_state.current_leader.id;
    return is_follower && a->n_entries == 0 && index != 0 && index == a->leader_commit &&
           index == r->follower_state.match && index == group_commit_index(g) &&
           index == r->last_stored && index == wal_log_last_index(g->log) &&
           a->prev_log_term == wal_log_term(g->log, index) && !g->is_installing;
}

bool beat_send_reply(struct group *g, uint64_t to, const char *to_name, uint64_t index,
                     uint64_t stamp_ms)
{
    struct groups *all = g->all;
    struct beat_peer *peer = index != 0 && may_leave(g) ? peer_of(all, to_name) : NULL;
    if (peer == NULL) { return false; }
    struct beats *replies = &peer->replies;
    bool is_ailing = yield_is_ailing(all);
    if (replies->count == BEATS_MAX || replies->is_ailing != is_ailing) {
        flush(all, peer->name, replies);
    }
    replies->is_ailing = is_ailing;
    replies->list[replies->count++] =
        (struct beat){g->id, g->self, to, raft_current_term(&g->raft), index, 0, stamp_ms};
    return true;
}

bool beat_receive(struct group *g, const char *from_name, const struct message *m)
{
    const struct raft_append_entries *a = &m->raft.append_entries;
    bool is_newest =
        g->heard_term == a->term && g->heard_from == m->from && m->stamp_ms >= g->heard_stamp_ms;
    if (!is_newest || !is_known(g, m) ||
        !beat_send_reply(g, m->from, from_name, a->prev_log_index, m->stamp_ms)) {
        return false;
    }
    uint64_t now_ms = group_now_ms(g);
    g->heard_stamp_ms = m->stamp_ms;
    g->heard_ms = now_ms;
    g->raft.election_timer_start = now_ms; /* the library has no event that does only this */
    return true;
}
