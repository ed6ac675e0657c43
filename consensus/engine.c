/* engine: the node's groups over its log, and the order of a turn.
 * Owns: the groups, the log. Not: the event loop, the connections. Thread: the raft thread.
 * Always, in a turn: what came in was stepped, and messages that need no flush have left; then
 * proposals are submitted, the flush starts, what is committed is applied. Messages that tell of
 * something put leave when its flush has ended. Only groups that something happened to, or that wait
 * for a flush, are looked at. */
#include "consensus/engine.h"

#include "base/log.h"
#include "base/mem.h"
#include "consensus/group/apply.h"
#include "consensus/group/beat.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/read.h"
#include "consensus/group/yield.h"
#include "consensus/snapshot/snapshot.h"

struct engine_opts engine_opts_default(void)
{
    return (struct engine_opts){
        .election_ms = 1000,
        .heartbeat_ms = 100,
        .lease_margin_percent = 20,
        .segment_bytes = 64 << 20,
        .entry_bytes_max = 256 << 10,
        .command_bytes_max = 20 << 20,
        .append_bytes_max = 1 << 20,
        .entries_in_flight_max = 2,
        .queued_bytes_max = 64 << 20,
        .awaiting_flush_bytes_max = 64 << 20,
        .unapplied_bytes_max = 32 << 20,
        .unapplied_ms_max = 250,
        .cache_bytes = 64 << 20,
        .snapshot_log_bytes = 64 << 20,
        .trailing_entries = 4096,
        .chunk_bytes = 256 << 10,
        .bulk_bytes_per_s = 200 << 20,
        .segments_max = 16,
        .free_bytes_min = 256 << 20,
        .ballast_bytes = 192 << 20,
    };
}

static uint64_t now_ms(const struct engine *e)
{
    return e->world.now_ms(e->world.arg);
}

static struct slice id_key(const uint64_t *id)
{
    return slice_of(id, sizeof *id);
}

void engine_guards_off(struct engine *e, uint32_t mask)
{
    e->guards_off = mask;
}

/* ---- the library's memory ---- */

static void *heap_malloc(void *data, size_t bytes)
{
    (void)data;
    return mem_new(bytes > 0 ? bytes : 1);
}

static void heap_free(void *data, void *ptr)
{
    (void)data;
    mem_free(ptr);
}

static void *heap_calloc(void *data, size_t count, size_t bytes)
{
    (void)data;
    CHECK(bytes == 0 || count <= SIZE_MAX / bytes);
    return mem_new0(count * bytes > 0 ? count * bytes : 1);
}

static void *heap_realloc(void *data, void *ptr, size_t bytes)
{
    (void)data;
    return mem_resize(ptr, bytes > 0 ? bytes : 1);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t bytes)
{
    (void)data;
    (void)alignment;
    (void)bytes;
    UNREACHABLE(); /* only its disk layer does */
}

static void heap_aligned_free(void *data, size_t alignment, void *ptr)
{
    (void)data;
    (void)alignment;
    (void)ptr;
    UNREACHABLE();
}

/* So that the library, too, never sees memory run out. */
static struct raft_heap heap = {
    .malloc = heap_malloc,
    .free = heap_free,
    .calloc = heap_calloc,
    .realloc = heap_realloc,
    .aligned_alloc = heap_aligned_alloc,
    .aligned_free = heap_aligned_free,
};

/* ---- life ---- */

static void on_flushed(void *arg, uint64_t batch)
{
    struct engine *e = arg;
    snapshot_flushed(e, batch);
    LIST_EACH (at, &e->busy) {
        group_flushed(CONTAINER_OF(at, struct group, busy), batch);
    }
}

static void on_failed(void *arg, enum err err, const char *file)
{
    LOG_ERROR("the log's disk failed", LOG_STR("file", file), LOG_STR("err", err_word(err)));
    engine_fail(arg, "the log's disk failed: what it holds cannot be trusted any more");
}

static bool log_is_full(void *arg)
{
    return wal_is_full(((const struct engine *)arg)->wal);
}

static void log_retry(void *arg)
{
    wal_retry(((struct engine *)arg)->wal);
}

static void on_space_failed(void *arg, const char *what)
{
    engine_fail(arg, what);
}

static enum err open_space(struct engine *e)
{
    struct space_opts opts = {
        .disk = e->world.disk,
        .reserve_bytes = e->opts.free_bytes_min,
        .ballast_bytes = e->opts.ballast_bytes,
        .log_is_full = log_is_full,
        .log_retry = log_retry,
        .on_failed = on_space_failed,
        .arg = e,
    };
    return space_init(&e->space, &opts);
}

enum err engine_open(struct engine **out, const struct engine_opts *opts,
                     const struct engine_world *world, struct wal_report *report)
{
    raft_heap_set(&heap);
    struct engine *e = mem_new0(sizeof *e);
    e->opts = *opts;
    e->world = *world;
    e->random = opts->random_seed;
    e->round.number = opts->random_seed >> 1 | 1;
    list_init(&e->groups);
    list_init(&e->draining);
    list_init(&e->busy);
    list_init(&e->readers);
    e->entries_out = mem_new0(MESSAGE_ENTRIES_MAX * sizeof *e->entries_out);
    e->entries_in = mem_new0(MESSAGE_ENTRIES_MAX * sizeof *e->entries_in);
    list_init(&e->pulls);
    list_init(&e->stale_files);
    e->bulk_ms = now_ms(e);
    struct wal_opts wal_opts = {
        .disk = world->disk,
        .node_id = opts->node_id,
        .segment_bytes = opts->segment_bytes,
        .on_flushed = on_flushed,
        .on_failed = on_failed,
        .arg = e,
        .cache_bytes = opts->cache_bytes,
        .kept_type = RAFT_CHANGE,
    };
    enum err err = wal_open(&e->wal, &wal_opts, report);
    if (err == ERR_OK) { err = snapshot_clean(e); }
    if (err == ERR_OK) { err = open_space(e); }
    if (err != ERR_OK) {
        engine_free(e);
        return err;
    }
    *out = e;
    return ERR_OK;
}

/* The log goes, and with it its snapshot's file. */
static void delete_log(struct engine *e, struct wal_log *log)
{
    if (wal_log_snapshot(log) != NULL) { snapshot_forget(e, wal_log_snapshot(log)->file); }
    wal_log_delete(e->wal, log);
}

/* Nothing of the group is called any more. */
static void end_closing(struct engine *e, struct group *g)
{
    const struct fsm_ops *ops = g->fsm_ops;
    struct wal_log *log = g->is_deleted ? g->log : NULL;
    void *fsm = g->fsm;
    list_remove(&g->link);
    group_free(g);
    if (log != NULL) { delete_log(e, log); }
    if (ops->on_closed != NULL) { ops->on_closed(fsm); }
}

/* What its machine holds stays in memory until it has come back. */
/* Its state machine has nothing of it in hand any more. */
static void maybe_end_closing(struct engine *e, struct group *g)
{
    if (!apply_is_busy(g) && !snapshot_is_restoring(g)) { end_closing(e, g); }
}

static void close_group(struct engine *e, struct group *g)
{
    list_remove(&g->link);
    map_remove(&e->groups_by_id, &g->node);
    engine_due_remove(e, g);
    group_end(g);
    list_push_back(&e->draining, &g->link);
    maybe_end_closing(e, g);
}

static struct group *draining_group(const struct engine *e, uint64_t id)
{
    LIST_EACH (at, &e->draining) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->id == id) { return g; }
    }
    return NULL;
}

void engine_applied(struct engine *e, uint64_t group, uint64_t index)
{
    struct group *g = engine_group(e, group);
    struct group *closed = draining_group(e, group);
    CHECK(g != NULL || closed != NULL);
    apply_done(closed != NULL ? closed : g, index);
    if (closed != NULL) {
        maybe_end_closing(e, closed);
        return;
    }
    group_touch(g);
    e->turn_is_due = true;
}

void engine_restored(struct engine *e, uint64_t group, enum err err)
{
    struct group *closed = draining_group(e, group);
    struct group *g = closed != NULL ? closed : engine_group(e, group);
    CHECK(g != NULL);
    e->turn_is_due = true;
    snapshot_restored(g, err);
    if (closed != NULL) { maybe_end_closing(e, closed); }
}

void engine_snapshot_begun(struct engine *e, uint64_t group, void *image)
{
    snapshot_begun(e, group, image);
}

bool engine_is_drained(const struct engine *e)
{
    return list_is_empty(&e->draining) && !snapshot_is_beginning(e);
}

void engine_close_groups(struct engine *e)
{
    while (!list_is_empty(&e->groups)) {
        close_group(e, CONTAINER_OF(e->groups.next, struct group, link));
    }
}

void engine_free(struct engine *e)
{
    if (e == NULL) { return; }
    engine_close_groups(e);
    while (!list_is_empty(&e->draining)) {
        group_free(CONTAINER_OF(list_pop_front(&e->draining), struct group, link));
    }
    engine_metrics_end(e);
    engine_due_fini(e);
    beat_end(e);
    snapshot_end(e);
    map_fini(&e->groups_by_id);
    wal_free(e->wal);
    buf_fini(&e->entry_data);
    buf_fini(&e->frame);
    mem_free(e->entries_out);
    mem_free(e->entries_in);
    mem_free(e->apply_commands);
    mem_free(e);
}

/* ---- groups ---- */

static enum err open_log(struct engine *e, struct wal_log *log, const struct fsm_ops *ops,
                         void *fsm)
{
    struct group *g = group_new(e, log, ops, fsm);
    enum err err = group_open(g);
    if (err != ERR_OK) {
        group_free(g);
        return err;
    }
    g->node.key = id_key(&g->id);
    map_insert(&e->groups_by_id, &g->node, slice_hash(g->node.key));
    list_push_back(&e->groups, &g->link);
    engine_due_add(e, g);
    return ERR_OK;
}

static enum err put_first_entry(struct engine *e, struct wal_log *log,
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
        wal_put_ballot(e->wal, log, (struct wal_ballot){1, 0});
        wal_put_entry(e->wal, log, 1, 1, RAFT_CHANGE, buf_slice(&bytes));
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

enum err engine_group_create(struct engine *e, uint64_t group, uint64_t self,
                             const struct fsm_ops *ops, void *fsm,
                             const struct engine_server *servers, size_t server_count)
{
    bool is_new = wal_log_find(e->wal, group) == NULL && ops->applied_index(fsm) == 0;
    if (group == 0 || self == 0 || !is_new || !servers_fit(servers, server_count)) {
        return ERR_INVALID;
    }
    struct wal_log *log = wal_log_create(e->wal, group, self);
    enum err err = server_count > 0 ? put_first_entry(e, log, servers, server_count) : ERR_OK;
    if (err == ERR_OK) { err = open_log(e, log, ops, fsm); }
    if (err != ERR_OK) { wal_log_delete(e->wal, log); }
    return err;
}

enum err engine_group_open(struct engine *e, uint64_t group, const struct fsm_ops *ops, void *fsm)
{
    struct wal_log *log = wal_log_find(e->wal, group);
    if (log == NULL || engine_group(e, group) != NULL) { return ERR_INVALID; }
    if (draining_group(e, group) != NULL) { return ERR_SLOW; }
    return open_log(e, log, ops, fsm);
}

enum err engine_group_force(struct engine *e, uint64_t group)
{
    struct wal_log *log = wal_log_find(e->wal, group);
    if (log == NULL || engine_group(e, group) != NULL || wal_log_last_index(log) == 0) {
        return ERR_INVALID;
    }
    struct raft_configuration alone;
    struct buf bytes = {0};
    raft_configuration_init(&alone);
    CHECK(raft_configuration_add(&alone, wal_log_self(log), e->opts.node_name, RAFT_VOTER) == 0);
    group_conf_encode(&alone, &bytes);
    uint64_t term = wal_log_ballot(log).term + 1;
    wal_put_ballot(e->wal, log, (struct wal_ballot){term, 0});
    wal_put_entry(e->wal, log, wal_log_last_index(log) + 1, term, RAFT_CHANGE, buf_slice(&bytes));
    buf_fini(&bytes);
    raft_configuration_close(&alone);
    return ERR_OK;
}

void engine_group_close(struct engine *e, uint64_t group)
{
    struct group *g = engine_group(e, group);
    if (g != NULL) { close_group(e, g); }
}

void engine_group_delete(struct engine *e, uint64_t group)
{
    engine_group_close(e, group);
    struct group *g = draining_group(e, group);
    struct wal_log *log = wal_log_find(e->wal, group);
    if (g != NULL) {
        g->is_deleted = true;
    } else if (log != NULL) {
        delete_log(e, log);
    }
}

void engine_group_show(struct engine *e, uint64_t group, struct engine_view *view)
{
    struct group *g = engine_group(e, group);
    CHECK(g != NULL);
    g->view = view;
    read_show(g);
}

uint64_t engine_group_next(const struct engine *e, uint64_t group)
{
    const struct wal_log *log =
        wal_log_next(e->wal, group != 0 ? wal_log_find(e->wal, group) : NULL);
    return log != NULL ? wal_log_group(log) : 0;
}

void engine_propose(struct engine *e, struct proposal *p)
{
    struct group *g = engine_group(e, p->group);
    if (g == NULL) {
        p->on_done(p, ERR_NOT_LEADER);
        return;
    }
    group_propose(g, p);
}

void engine_read(struct engine *e, struct read_request *request)
{
    struct group *g = engine_group(e, request->group);
    if (g == NULL) {
        request->on_done(request, ERR_NOT_LEADER);
        return;
    }
    read_begin(g, request);
}

enum err engine_change(struct engine *e, uint64_t group, enum engine_change change, uint64_t id,
                       const char *node_name)
{
    struct group *g = engine_group(e, group);
    e->turn_is_due = true;
    return g != NULL ? group_change(g, change, id, node_name) : ERR_NOT_LEADER;
}

enum err engine_transfer(struct engine *e, uint64_t group, uint64_t id)
{
    struct group *g = engine_group(e, group);
    e->turn_is_due = true;
    return g != NULL ? group_transfer(g, id) : ERR_NOT_LEADER;
}

static void status_servers(const struct group *g, struct engine_status *out)
{
    uint64_t now = now_ms(g->engine);
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

bool engine_status(const struct engine *e, uint64_t group, struct engine_status *out)
{
    const struct wal_log *log = wal_log_find(e->wal, group);
    const struct group *g = engine_group(e, group);
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

/* ---- events ---- */

struct receiving {
    struct engine *e;
    const char *from_name;
};

static void on_message(void *arg, const struct message *m)
{
    struct receiving *r = arg;
    if (m->kind == MESSAGE_TERM_QUERY) {
        read_on_query(r->e, r->from_name, m);
        return;
    }
    if (m->kind == MESSAGE_TERM_REPLY) {
        read_on_reply(r->e, r->from_name, m);
        return;
    }
    struct group *g = engine_group(r->e, m->group);
    if (g != NULL) { group_receive(g, r->from_name, m); }
}

static void on_note(void *arg, struct slice note)
{
    struct receiving *r = arg;
    if (r->e->on_note != NULL) { r->e->on_note(r->e->note_arg, r->from_name, note); }
}

void engine_note_handler(struct engine *e,
                         void (*handler)(void *arg, const char *from_name, struct slice note),
                         void *arg)
{
    e->on_note = handler;
    e->note_arg = arg;
}

enum err engine_receive(struct engine *e, const char *from_name, struct slice frame)
{
    static const struct message_handler handler = {NULL, on_message, on_note};
    struct receiving receiving = {e, from_name};
    return e->is_broken ? ERR_OK : message_decode(frame, &handler, &receiving);
}

void engine_tick(struct engine *e)
{
    if (e->is_broken) { return; }
    uint64_t now = now_ms(e);
    engine_due_tick(e, now);
    snapshot_tick(e, now);
    space_tick(&e->space, now);
    yield_tick(e, now);
    engine_metrics_tick(e, now);
}

uint64_t engine_next_ms(const struct engine *e)
{
    if (e->turn_is_due) { return now_ms(e); }
    uint64_t next = space_next_ms(&e->space);
    next = engine_due_next_ms(e) < next ? engine_due_next_ms(e) : next;
    bool has_pulls = !list_is_empty(&e->pulls);
    return has_pulls && e->bulk_ms + 1 < next ? e->bulk_ms + 1 : next;
}

void engine_turn(struct engine *e)
{
    if (e->is_broken) { return; }
    e->turn_is_due = false;
    LIST_EACH (at, &e->busy) {
        struct group *g = CONTAINER_OF(at, struct group, busy);
        group_service(g);
        group_send_flushed(g);
    }
    beat_flush(e);
    wal_flush(e->wal);
    yield_watch(e, now_ms(e));
    LIST_EACH (at, &e->busy) {
        struct group *g = CONTAINER_OF(at, struct group, busy);
        apply_committed(g);
        engine_due_note(e, g);
        if (!group_is_waiting(g)) { list_remove(&g->busy); }
    }
    read_service(e);
}

uint64_t engine_flush_count(const struct engine *e)
{
    return wal_flush_count(e->wal);
}

bool engine_is_full(const struct engine *e)
{
    return e->space.is_low;
}

bool engine_is_stuck(const struct engine *e)
{
    return e->is_stuck;
}
