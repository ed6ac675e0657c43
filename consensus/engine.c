/* engine: the node's groups (group/groups.h) over its log, the disk's space, frames to groups.
 * Owns: the groups, the log. Not: the event loop, the connections. Thread: the raft thread.
 * Always, in a turn: what came in was stepped, and messages that need no flush have left; then
 * proposals are submitted, the flush starts, what is committed is applied. Messages that tell of
 * something put leave when its flush has ended. Only groups that something happened to, or that wait
 * for a flush, are looked at. */
#include "consensus/engine.h"

#include "base/log.h"
#include "base/mem.h"
#include "consensus/engine_int.h"
#include "consensus/group/group.h"
#include "consensus/group/read.h"
#include "consensus/group/snapshot/snapshot.h"

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
    return e->groups.world.now_ms(e->groups.world.arg);
}

void engine_guards_off(struct engine *e, uint32_t mask)
{
    e->groups.guards_off = mask;
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
    groups_flushed(&e->groups, batch);
}

static void fail(struct engine *e, const char *what)
{
    groups_fail(&e->groups, what);
}

static void on_failed(void *arg, enum err err, const char *file)
{
    LOG_ERROR("the log's disk failed", LOG_STR("file", file), LOG_STR("err", err_word(err)));
    fail(arg, "the log's disk failed: what it holds cannot be trusted any more");
}

static bool log_is_full(void *arg)
{
    return wal_is_full(((const struct engine *)arg)->groups.wal);
}

static void log_retry(void *arg)
{
    wal_retry(((struct engine *)arg)->groups.wal);
}

static void on_space_failed(void *arg, const char *what)
{
    fail(arg, what);
}

static enum err open_space(struct engine *e)
{
    struct space_opts opts = {
        .disk = e->groups.world.disk,
        .reserve_bytes = e->groups.opts.free_bytes_min,
        .ballast_bytes = e->groups.opts.ballast_bytes,
        .log_is_full = log_is_full,
        .log_retry = log_retry,
        .on_failed = on_space_failed,
        .arg = e,
    };
    return space_init(&e->groups.space, &opts);
}

enum err engine_open(struct engine **out, const struct engine_opts *opts,
                     const struct engine_world *world, struct wal_report *report)
{
    raft_heap_set(&heap);
    struct engine *e = mem_new0(sizeof *e);
    groups_init(&e->groups, opts, world);
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
    enum err err = wal_open(&e->groups.wal, &wal_opts, report);
    if (err == ERR_OK) { err = snapshot_clean(&e->groups); }
    if (err == ERR_OK) { err = open_space(e); }
    if (err != ERR_OK) {
        engine_free(e);
        return err;
    }
    *out = e;
    return ERR_OK;
}

void engine_free(struct engine *e)
{
    if (e == NULL) { return; }
    groups_fini(&e->groups);
    mem_free(e);
}

/* ---- groups ---- */

enum err engine_group_create(struct engine *e, uint64_t group, uint64_t self,
                             const struct fsm_ops *ops, void *fsm,
                             const struct engine_server *servers, size_t server_count)
{
    return groups_create(&e->groups, group, self, ops, fsm, servers, server_count);
}

enum err engine_group_open(struct engine *e, uint64_t group, const struct fsm_ops *ops, void *fsm)
{
    return groups_open(&e->groups, group, ops, fsm);
}

enum err engine_group_force(struct engine *e, uint64_t group)
{
    return groups_force(&e->groups, group);
}

void engine_group_close(struct engine *e, uint64_t group)
{
    groups_close(&e->groups, group);
}

void engine_close_groups(struct engine *e)
{
    groups_close_all(&e->groups);
}

void engine_group_delete(struct engine *e, uint64_t group)
{
    groups_delete(&e->groups, group);
}

void engine_applied(struct engine *e, uint64_t group, uint64_t index)
{
    groups_applied(&e->groups, group, index);
}

void engine_restored(struct engine *e, uint64_t group, enum err err)
{
    groups_restored(&e->groups, group, err);
}

void engine_snapshot_begun(struct engine *e, uint64_t group, void *image)
{
    snapshot_begun(&e->groups, group, image);
}

bool engine_is_drained(const struct engine *e)
{
    return groups_are_drained(&e->groups);
}

void engine_group_show(struct engine *e, uint64_t group, struct engine_view *view)
{
    groups_show(&e->groups, group, view);
}

uint64_t engine_group_next(const struct engine *e, uint64_t group)
{
    struct wal *wal = e->groups.wal;
    const struct wal_log *log = wal_log_next(wal, group != 0 ? wal_log_find(wal, group) : NULL);
    return log != NULL ? wal_log_group(log) : 0;
}

void engine_propose(struct engine *e, struct proposal *p)
{
    struct group *g = groups_find(&e->groups, p->group);
    if (g == NULL) {
        p->on_done(p, ERR_NOT_LEADER);
        return;
    }
    group_propose(g, p);
}

void engine_read(struct engine *e, struct read_request *request)
{
    struct group *g = groups_find(&e->groups, request->group);
    if (g == NULL) {
        request->on_done(request, ERR_NOT_LEADER);
        return;
    }
    read_begin(g, request);
}

enum err engine_change(struct engine *e, uint64_t group, enum engine_change change, uint64_t id,
                       const char *node_name)
{
    struct group *g = groups_find(&e->groups, group);
    e->groups.turn_is_due = true;
    return g != NULL ? group_change(g, change, id, node_name) : ERR_NOT_LEADER;
}

enum err engine_transfer(struct engine *e, uint64_t group, uint64_t id)
{
    struct group *g = groups_find(&e->groups, group);
    e->groups.turn_is_due = true;
    return g != NULL ? group_transfer(g, id) : ERR_NOT_LEADER;
}

bool engine_status(const struct engine *e, uint64_t group, struct engine_status *out)
{
    return groups_status(&e->groups, group, out);
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
        read_on_query(&r->e->groups, r->from_name, m);
        return;
    }
    if (m->kind == MESSAGE_TERM_REPLY) {
        read_on_reply(&r->e->groups, r->from_name, m);
        return;
    }
    struct group *g = groups_find(&r->e->groups, m->group);
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
    return e->groups.is_broken ? ERR_OK : message_decode(frame, &handler, &receiving);
}

void engine_tick(struct engine *e)
{
    if (!e->groups.is_broken) { groups_tick(&e->groups, now_ms(e)); }
}

uint64_t engine_next_ms(const struct engine *e)
{
    return e->groups.turn_is_due ? now_ms(e) : groups_next_ms(&e->groups);
}

void engine_turn(struct engine *e)
{
    if (e->groups.is_broken) { return; }
    e->groups.turn_is_due = false;
    groups_turn(&e->groups);
}

uint64_t engine_flush_count(const struct engine *e)
{
    return wal_flush_count(e->groups.wal);
}

bool engine_is_full(const struct engine *e)
{
    return e->groups.space.is_low;
}

bool engine_is_stuck(const struct engine *e)
{
    return e->groups.is_stuck;
}
