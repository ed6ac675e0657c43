/* groups: the life of a node's groups, and their turn.
 * Always: a group is open, or it is draining, or only its log is here. */
#include "consensus/group/groups.h"

#include <string.h>

#include "base/mem.h"
#include "consensus/group/apply.h"
#include "consensus/group/beat.h"
#include "consensus/group/due.h"
#include "consensus/group/gauges.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/read.h"
#include "consensus/group/snapshot/snapshot.h"
#include "consensus/group/yield.h"

static struct slice id_key(const uint64_t *id)
{
    return slice_of(id, sizeof *id);
}

/* ---- closing ---- */

/* The log goes, and with it its snapshot's file. */
static void delete_log(struct groups *all, struct wal_log *log)
{
    if (wal_log_snapshot(log) != NULL) { snapshot_forget(all, wal_log_snapshot(log)->file); }
    wal_log_delete(all->wal, log);
}

/* Nothing of the group is called any more. */
static void end_closing(struct groups *all, struct group *g)
{
    const struct fsm_ops *ops = g->fsm_ops;
    struct wal_log *log = g->is_deleted ? g->log : NULL;
    void *fsm = g->fsm;
    list_remove(&g->link);
    group_free(g);
    if (log != NULL) { delete_log(all, log); }
    if (ops->on_closed != NULL) { ops->on_closed(fsm); }
}

/* Its state machine has nothing of it in hand any more. */
static void maybe_end_closing(struct groups *all, struct group *g)
{
    if (!apply_is_busy(g) && !snapshot_is_restoring(g)) { end_closing(all, g); }
}

static void close_group(struct groups *all, struct group *g)
{
    list_remove(&g->link);
    map_remove(&all->by_id, &g->node);
    due_remove(all, g);
    group_end(g);
    list_push_back(&all->draining, &g->link);
    maybe_end_closing(all, g);
}

static struct group *find_draining(const struct groups *all, uint64_t id)
{
    LIST_EACH (at, &all->draining) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->id == id) { return g; }
    }
    return NULL;
}

void groups_applied(struct groups *all, uint64_t group, uint64_t index)
{
    struct group *g = groups_find(all, group);
    struct group *closed = find_draining(all, group);
    CHECK(g != NULL || closed != NULL);
    apply_done(closed != NULL ? closed : g, index);
    if (closed != NULL) {
        maybe_end_closing(all, closed);
        return;
    }
    group_touch(g);
    all->turn_is_due = true;
}

void groups_restored(struct groups *all, uint64_t group, enum err err)
{
    struct group *closed = find_draining(all, group);
    struct group *g = closed != NULL ? closed : groups_find(all, group);
    CHECK(g != NULL);
    all->turn_is_due = true;
    snapshot_restored(g, err);
    if (closed != NULL) { maybe_end_closing(all, closed); }
}

bool groups_are_drained(const struct groups *all)
{
    return list_is_empty(&all->draining) && !snapshot_is_beginning(all);
}

void groups_close_all(struct groups *all)
{
    while (!list_is_empty(&all->open)) {
        close_group(all, CONTAINER_OF(all->open.next, struct group, link));
    }
}

/* ---- opening ---- */

static enum err open_log(struct groups *all, struct wal_log *log, const struct fsm_ops *ops,
                         void *fsm)
{
    struct group *g = group_new(all, log, ops, fsm);
    enum err err = group_open(g);
    if (err != ERR_OK) {
        group_free(g);
        return err;
    }
    g->node.key = id_key(&g->id);
    map_insert(&all->by_id, &g->node, slice_hash(g->node.key));
    list_push_back(&all->open, &g->link);
    due_add(all, g);
    return ERR_OK;
}

static enum err put_first_entry(struct groups *all, struct wal_log *log,
                                const struct engine_server *servers, size_t count)
{
    struct raft_configuration conf;
    struct buf bytes = {0};
    int rv = 0;
    raft_configuration_init(&conf);
    for (size_t i = 0; i < count && rv == 0; i++) {
        rv = raft_configuration_add(&conf, servers[i].id, servers[i].node_name, RAFT_VOTER);
    }
    if (rv == 0) {
        group_conf_encode(&conf, &bytes);
        wal_put_ballot(all->wal, log, (struct wal_ballot){1, 0});
        wal_put_entry(all->wal, log, 1, 1, RAFT_CHANGE, buf_slice(&bytes));
    }
    buf_fini(&bytes);
    raft_configuration_close(&conf);
    return rv == 0 ? ERR_OK : ERR_INVALID;
}

static bool servers_fit(const struct engine_server *servers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (servers[i].id == 0 || strlen(servers[i].node_name) >= ENGINE_NAME_BYTES) {
            return false;
        }
    }
    return count <= ENGINE_SERVERS_MAX;
}

enum err groups_create(struct groups *all, uint64_t group, uint64_t self, const struct fsm_ops *ops,
                       void *fsm, const struct engine_server *servers, size_t server_count)
{
    bool is_new = wal_log_find(all->wal, group) == NULL && ops->applied_index(fsm) == 0;
    if (group == 0 || self == 0 || !is_new || !servers_fit(servers, server_count)) {
        return ERR_INVALID;
    }
    struct wal_log *log = wal_log_create(all->wal, group, self);
    enum err err = server_count > 0 ? put_first_entry(all, log, servers, server_count) : ERR_OK;
    if (err == ERR_OK) { err = open_log(all, log, ops, fsm); }
    if (err != ERR_OK) { wal_log_delete(all->wal, log); }
    return err;
}

enum err groups_open(struct groups *all, uint64_t group, const struct fsm_ops *ops, void *fsm)
{
    struct wal_log *log = wal_log_find(all->wal, group);
    if (log == NULL || groups_find(all, group) != NULL) { return ERR_INVALID; }
    if (find_draining(all, group) != NULL) { return ERR_SLOW; }
    return open_log(all, log, ops, fsm);
}

enum err groups_force(struct groups *all, uint64_t group)
{
    struct wal_log *log = wal_log_find(all->wal, group);
    if (log == NULL || groups_find(all, group) != NULL || wal_log_last_index(log) == 0) {
        return ERR_INVALID;
    }
    struct raft_configuration alone;
    struct buf bytes = {0};
    raft_configuration_init(&alone);
    CHECK(raft_configuration_add(&alone, wal_log_self(log), all->opts.node_name, RAFT_VOTER) == 0);
    group_conf_encode(&alone, &bytes);
    uint64_t term = wal_log_ballot(log).term + 1;
    wal_put_ballot(all->wal, log, (struct wal_ballot){term, 0});
    wal_put_entry(all->wal, log, wal_log_last_index(log) + 1, term, RAFT_CHANGE, buf_slice(&bytes));
    buf_fini(&bytes);
    raft_configuration_close(&alone);
    return ERR_OK;
}

void groups_close(struct groups *all, uint64_t group)
{
    struct group *g = groups_find(all, group);
    if (g != NULL) { close_group(all, g); }
}

void groups_delete(struct groups *all, uint64_t group)
{
    groups_close(all, group);
    struct group *g = find_draining(all, group);
    struct wal_log *log = wal_log_find(all->wal, group);
    if (g != NULL) {
        g->is_deleted = true;
    } else if (log != NULL) {
        delete_log(all, log);
    }
}

void groups_show(struct groups *all, uint64_t group, struct engine_view *view)
{
    struct group *g = groups_find(all, group);
    CHECK(g != NULL);
    g->view = view;
    read_show(g);
    apply_show_awaited(g);
}

/* ---- status ---- */

static void status_servers(const struct group *g, struct engine_status *out)
{
    uint64_t now = group_now_ms(g);
    for (unsigned i = 0; i < g->raft.configuration.n && i < COUNT_OF(out->servers); i++) {
        const struct raft_server *server = &g->raft.configuration.servers[i];
        out->servers[i].id = server->id;
        out->servers[i].role = server->role;
        strncpy(out->servers[i].node_name, server->address, sizeof out->servers[i].node_name - 1);
        raft_index match = 0;
        bool is_known = out->is_leader && raft_match_index(&g->raft, server->id, &match) == 0;
        out->servers[i].match = is_known ? match : 0;
        out->servers[i].is_fit = out->is_leader && yield_is_fit(g, server, now);
        out->server_count++;
    }
}

bool groups_status(const struct groups *all, uint64_t group, struct engine_status *out)
{
    const struct wal_log *log = wal_log_find(all->wal, group);
    const struct group *g = groups_find(all, group);
    *out = (struct engine_status){0};
    if (log == NULL) { return false; }
    const struct manifest *snapshot = wal_log_snapshot(log);
    out->self = wal_log_self(log);
    out->last = wal_log_last_index(log);
    out->snapshot = snapshot != NULL ? snapshot->index : 0;
    out->term = wal_log_ballot(log).term;
    if (g == NULL) { return true; }
    out->is_open = true;
    out->is_stopped = g->state == GROUP_STOPPED;
    out->is_leader = group_is_leader(g);
    out->owns_term = group_owns_term(g);
    out->is_changing = out->is_leader && (g->raft.configuration_uncommitted_index != 0 ||
                                          g->promotee != 0 || g->transferee != 0);
    out->lease_until_ms = out->owns_term ? read_lease_until_ms(g) : 0;
    bool follows = g->state == GROUP_RUNNING && g->raft.state == RAFT_FOLLOWER;
    out->leader = out->is_leader ? g->self : follows ? g->raft.follower_state.current_leader.id : 0;
    out->commit = group_commit_index(g);
    out->applied = g->applied;
    status_servers(g, out);
    return true;
}

/* ---- life ---- */

void groups_init(struct groups *all, const struct engine_opts *opts,
                 const struct engine_world *world)
{
    all->opts = *opts;
    all->world = *world;
    all->random = opts->random_seed;
    all->round.number = opts->random_seed >> 1 | 1;
    list_init(&all->open);
    list_init(&all->draining);
    list_init(&all->busy);
    list_init(&all->readers);
    all->entries_out = mem_new0(MESSAGE_ENTRIES_MAX * sizeof *all->entries_out);
    all->entries_in = mem_new0(MESSAGE_ENTRIES_MAX * sizeof *all->entries_in);
    list_init(&all->pulls);
    list_init(&all->stale_files);
    all->bulk_ms = world->now_ms(world->arg);
}

void groups_fini(struct groups *all)
{
    groups_close_all(all);
    while (!list_is_empty(&all->draining)) {
        group_free(CONTAINER_OF(list_pop_front(&all->draining), struct group, link));
    }
    gauges_end(all);
    due_fini(all);
    beat_end(all);
    snapshot_end(all);
    map_fini(&all->by_id);
    wal_free(all->wal);
    buf_fini(&all->entry_data);
    buf_fini(&all->frame);
    mem_free(all->entries_out);
    mem_free(all->entries_in);
    mem_free(all->apply_commands);
}

/* ---- the turn ---- */

void groups_flushed(struct groups *all, uint64_t batch)
{
    snapshot_flushed(all, batch);
    LIST_EACH (at, &all->busy) {
        group_flushed(CONTAINER_OF(at, struct group, busy), batch);
    }
}

void groups_tick(struct groups *all, uint64_t now_ms)
{
    due_tick(all, now_ms);
    snapshot_tick(all, now_ms);
    space_tick(&all->space, now_ms);
    yield_tick(all, now_ms);
    gauges_tick(all, now_ms);
}

uint64_t groups_next_ms(const struct groups *all)
{
    uint64_t next = space_next_ms(&all->space);
    next = due_next_ms(all) < next ? due_next_ms(all) : next;
    bool has_pulls = !list_is_empty(&all->pulls);
    return has_pulls && all->bulk_ms + 1 < next ? all->bulk_ms + 1 : next;
}

void groups_turn(struct groups *all)
{
    LIST_EACH (at, &all->busy) {
        struct group *g = CONTAINER_OF(at, struct group, busy);
        group_service(g);
        group_send_flushed(g);
    }
    beat_flush(all);
    wal_flush(all->wal);
    yield_watch(all, all->world.now_ms(all->world.arg));
    LIST_EACH (at, &all->busy) {
        struct group *g = CONTAINER_OF(at, struct group, busy);
        apply_committed(g);
        due_note(all, g);
        if (!group_is_waiting(g)) { list_remove(&g->busy); }
    }
    read_service(all);
}
