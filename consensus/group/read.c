/* read: when may a leader answer from its own state?
 * Owns: the requests that wait. Thread: the raft thread. Never writes to the disk.
 * Always: a request gets as its index the leader's commit index at a moment after it was made, at
 * which, as a lease or a quorum of unchanged terms proves, nobody else led; and it is answered when
 * that much is applied.
 * The lease: a voter that acknowledged our message of time t grants no vote before t + election
 * timeout by its clock (guards 11 and 12), so a majority of such t, less a margin for clocks that
 * run apart, bounds our rule. */
#include "consensus/group/read.h"

#include "base/mem.h"
#include "consensus/group/apply.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"

/* The record of a member, made when it is missing, in the place of one that has left if there is one.
 * NULL: not a member. */
static struct group_peer *peer_of(struct group *g, uint64_t id)
{
    struct group_peer *place = NULL;
    for (size_t i = 0; i < g->peer_count; i++) {
        if (g->peers[i].id == id) { return &g->peers[i]; }
        if (group_server(g, g->peers[i].id) == NULL) { place = &g->peers[i]; }
    }
    if (group_server(g, id) == NULL) { return NULL; }
    if (place == NULL) {
        if (g->peer_count == GROUP_SERVERS_MAX) { return NULL; }
        place = &g->peers[g->peer_count++];
    }
    *place = (struct group_peer){.id = id};
    return place;
}

const struct group_peer *group_peer(const struct group *g, uint64_t id)
{
    for (size_t i = 0; i < g->peer_count; i++) {
        if (g->peers[i].id == id) { return &g->peers[i]; }
    }
    return NULL;
}

struct group_peer *read_note_reply(struct group *g, const struct message *m)
{
    const struct raft_append_entries_result *result = &m->raft.append_entries_result;
    struct group_peer *peer = peer_of(g, m->from);
    if (peer == NULL) { return NULL; }
    if (m->stamp_ms > peer->stamp_ms) { peer->stamp_ms = m->stamp_ms; }
    peer->heard_ms = group_now_ms(g);
    peer->is_ailing = m->is_ailing;
    if (result->rejected == 0 && result->last_log_index > peer->match) {
        peer->match = result->last_log_index;
    }
    return peer;
}

/* The highest value that a majority of the voters has reached; a voter's value is what `value`
 * makes of it. */
static uint64_t majority_value(const struct group *g, uint64_t own,
                               uint64_t (*value)(const struct group_peer *peer))
{
    uint64_t values[GROUP_SERVERS_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < g->raft.configuration.n && count < GROUP_SERVERS_MAX; i++) {
        const struct raft_server *server = &g->raft.configuration.servers[i];
        if (server->role != RAFT_VOTER) { continue; }
        const struct group_peer *peer = group_peer(g, server->id);
        uint64_t v = server->id == g->self ? own : peer != NULL ? value(peer) : 0;
        size_t at = count++;
        for (; at > 0 && values[at - 1] < v; at--) {
            values[at] = values[at - 1];
        }
        values[at] = v;
    }
    return count > 0 ? values[count / 2] : 0;
}

static uint64_t stamp_of(const struct group_peer *peer)
{
    return peer->stamp_ms;
}

static uint64_t round_of(const struct group_peer *peer)
{
    return peer->round;
}

uint64_t read_lease_until_ms(const struct group *g)
{
    const struct engine_opts *opts = &g->all->opts;
    uint64_t since = majority_value(g, group_now_ms(g), stamp_of);
    if (since == 0 || guard_transfer_lease(g)) { return 0; }
    return since + (uint64_t)opts->election_ms * (100 - opts->lease_margin_percent) / 100;
}

/* A word that only this thread writes. */
static void put(atomic_uint_fast64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

void read_show(struct group *g)
{
    struct engine_view *view = g->view;
    if (view == NULL) { return; }
    uint64_t term = raft_current_term(&g->raft);
    bool leads = group_owns_term(g) && wal_log_term(g->log, g->applied) == term;
    uint64_t lease_ms = leads ? read_lease_until_ms(g) : 0;
    if (lease_ms == 0) { put(&view->lease_until_ms, 0); }
    put(&view->applied, g->applied);
    put(&view->commit, group_commit_index(g));
    put(&view->term, leads ? term : 0);
    put(&view->lease_until_ms, lease_ms);
}

void read_show_lease(struct group *g)
{
    struct engine_view *view = g->view;
    bool is_shown =
        view != NULL && atomic_load_explicit(&view->lease_until_ms, memory_order_relaxed) != 0;
    if (is_shown) { put(&view->lease_until_ms, read_lease_until_ms(g)); }
}

static void request_end(struct group *g, struct read_request *request, enum err err)
{
    list_remove(&request->link);
    if (list_is_empty(&g->reads)) { list_remove(&g->reader); }
    apply_show_awaited(g);
    request->on_done(request, err);
}

void read_end(struct group *g, enum err err)
{
    while (!list_is_empty(&g->reads)) {
        request_end(g, CONTAINER_OF(g->reads.next, struct read_request, link), err);
    }
}

void read_begin(struct group *g, struct read_request *request)
{
    struct groups *all = g->all;
    request->index = 0;
    request->round = 0;
    if (!group_is_leader(g)) {
        request->on_done(request, ERR_NOT_LEADER);
        return;
    }
    all->turn_is_due = true;
    if (list_is_empty(&g->reads)) { list_push_back(&all->readers, &g->reader); }
    list_push_back(&g->reads, &request->link);
    apply_show_awaited(g);
}

/* Serve the requests of one group. */
static void serve(struct groups *all, struct group *g)
{
    if (!group_owns_term(g)) { return; }
    bool has_lease = group_now_ms(g) < read_lease_until_ms(g);
    uint64_t confirmed = majority_value(g, UINT64_MAX, round_of);
    LIST_EACH (at, &g->reads) {
        struct read_request *request = CONTAINER_OF(at, struct read_request, link);
        if (request->index == 0 && has_lease) {
            request->index = group_commit_index(g);
        } else if (request->index == 0 && request->round != 0 && request->round <= confirmed) {
            request->index = request->round_index;
        }
        if (request->index == 0 && request->round == 0) { all->round_is_wanted = true; }
        if (request->index != 0 && g->applied >= request->index) {
            request_end(g, request, ERR_OK);
        }
    }
}

/* ---- rounds ---- */

/* Nodes to ask, each once. */
struct targets {
    const char *names[ENGINE_PEERS_MAX];
    size_t count;
};

static void targets_add(struct targets *targets, const char *name)
{
    for (size_t i = 0; i < targets->count; i++) {
        if (strcmp(targets->names[i], name) == 0) { return; }
    }
    if (targets->count < ENGINE_PEERS_MAX) { targets->names[targets->count++] = name; }
}

/* Everything without an index joins the new round. */
static bool join_round(struct groups *all, struct group *g)
{
    bool joined = false;
    LIST_EACH (at, &g->reads) {
        struct read_request *request = CONTAINER_OF(at, struct read_request, link);
        if (request->index == 0 && group_owns_term(g)) {
            if (request->round == 0) { request->round_index = group_commit_index(g); }
            request->round = all->round.number;
            joined = true;
        }
    }
    return joined;
}

static void start_round(struct groups *all, uint64_t now_ms)
{
    uint64_t *groups = mem_new(MESSAGE_GROUPS_MAX * sizeof *groups);
    struct targets targets = {.count = 0};
    struct message query = {.kind = MESSAGE_TERM_QUERY, .groups = groups};
    all->round.number++;
    all->round.sent_ms = now_ms;
    all->round_is_wanted = false;
    query.round = all->round.number;
    LIST_EACH (at, &all->readers) {
        struct group *g = CONTAINER_OF(at, struct group, reader);
        if (query.group_count == MESSAGE_GROUPS_MAX || !join_round(all, g)) { continue; }
        groups[query.group_count++] = g->id;
        for (unsigned i = 0; i < g->raft.configuration.n; i++) {
            const struct raft_server *server = &g->raft.configuration.servers[i];
            if (server->role == RAFT_VOTER && server->id != g->self) {
                targets_add(&targets, server->address);
            }
        }
    }
    struct buf frame = {0};
    message_encode(&frame, &query);
    for (size_t i = 0; i < targets.count && query.group_count > 0; i++) {
        all->world.send(all->world.arg, targets.names[i], buf_slice(&frame), false);
    }
    buf_fini(&frame);
    mem_free(groups);
}

/* Does a request wait for the round in flight? */
static bool round_is_open(const struct groups *all)
{
    LIST_EACH (at, &all->readers) {
        const struct group *g = CONTAINER_OF(at, struct group, reader);
        LIST_EACH (link, &g->reads) {
            const struct read_request *request = CONTAINER_OF(link, struct read_request, link);
            if (request->index == 0 && request->round != 0) { return true; }
        }
    }
    return false;
}

void read_service(struct groups *all)
{
    LIST_EACH (at, &all->readers) {
        serve(all, CONTAINER_OF(at, struct group, reader));
    }
    if (list_is_empty(&all->readers)) { return; }
    uint64_t now_ms = all->world.now_ms(all->world.arg);
    bool is_open = round_is_open(all);
    if ((all->round_is_wanted && !is_open) ||
        (is_open && now_ms >= all->round.sent_ms + all->opts.heartbeat_ms)) {
        start_round(all, now_ms);
    }
}

void read_on_query(struct groups *all, const char *from_name, const struct message *m)
{
    size_t bytes = (m->group_count > 0 ? m->group_count : 1) * sizeof(uint64_t);
    uint64_t *terms = mem_new0(bytes);
    uint64_t *replicas = mem_new0(bytes);
    for (size_t i = 0; i < m->group_count; i++) {
        const struct group *g = groups_find(all, m->groups[i]);
        if (g != NULL && g->state == GROUP_RUNNING) {
            terms[i] = raft_current_term(&g->raft);
            replicas[i] = g->self;
        }
    }
    struct message reply = *m;
    reply.kind = MESSAGE_TERM_REPLY;
    reply.terms = terms;
    reply.replicas = replicas;
    struct buf frame = {0};
    message_encode(&frame, &reply);
    all->world.send(all->world.arg, from_name, buf_slice(&frame), false);
    buf_fini(&frame);
    mem_free(terms);
    mem_free(replicas);
}

void read_on_reply(struct groups *all, const char *from_name, const struct message *m)
{
    for (size_t i = 0; i < m->group_count; i++) {
        struct group *g = groups_find(all, m->groups[i]);
        if (g == NULL || !group_is_leader(g) || m->terms[i] == 0 ||
            m->terms[i] > raft_current_term(&g->raft) ||
            !group_is_host(g, m->replicas[i], from_name)) {
            continue;
        }
        struct group_peer *peer = peer_of(g, m->replicas[i]);
        if (peer != NULL && m->round > peer->round && m->round <= all->round.number) {
            peer->round = m->round;
        }
    }
}
