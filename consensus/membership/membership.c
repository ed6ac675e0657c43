/* membership: the facade: the raft thread, its timer, the join list's names, and what other threads
 * ask and read.
 * Owns: consensus, core, the cluster file. Not: decisions (membership_core.h). Thread: as stated in
 * membership.h; everything with a core in it runs on the raft thread.
 * Always: what other threads read was put there by the raft thread in one piece. */
#include "consensus/membership/membership.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/consensus.h"
#include "consensus/membership/membership_core.h"
#include "consensus/membership/membership_resolve.h"
#include "consensus/membership/membership_roster.h"

enum {
    INCARNATION_BITS = 20, /* of the lease's word; the rest is the time */
    LOG_SEGMENT_BYTES = 8 << 20,
    LOG_BALLAST_BYTES = 16 << 20,
    LOG_SNAPSHOT_BYTES = 4 << 20,
    DATA_SNAPSHOT_BYTES = 64 << 20, /* where the partitions' data is in it, too */
    SETTLED_MAX = 256,              /* told in one tick */
    PATH_BYTES = 4096,
    REPLICAS = 3, /* where nothing else is said */
};

/* What other threads may read. */
enum { SHOWN_WORDS = (sizeof(struct membership_status) + 7) / 8 };

struct membership {
    struct membership_opts opts;
    char *dir;
    char *name;
    char *zone;
    char *raft_listen_host;
    struct consensus *consensus;
    struct core *core;
    struct resolve *resolve;
    uv_timer_t timer;
    struct roster_keeper keeper; /* of the cluster's users */
    bool is_stopping;
    struct task soon;
    bool is_soon;

    atomic_uint_fast64_t lease; /* until (ms) << INCARNATION_BITS | incarnation's low bits */

    /* Wishes of other threads, one task for all of them. */
    struct task wish;
    struct cluster_file saved; /* being written, or written last, on the pool */
    uv_work_t save_work;
    enum err save_err;
    bool is_saving;
    bool has_saved; /* `saved` is durable */

    atomic_bool is_wishing;
    atomic_uint warming;
    atomic_bool wants_drain;
    atomic_bool wants_leave;
    atomic_uint_fast64_t
        users_version; /* of the users that are in force here; on the disk they may be others */

    atomic_uint_fast64_t shown_version; /* odd: it is being written */
    atomic_uint_fast64_t shown[SHOWN_WORDS];
};

static uint64_t now_ms(void)
{
    return clock_boot_ns() / NS_PER_MS;
}

/* ---- what the core needs of the world ---- */

static uint64_t world_now_ms(void *arg)
{
    (void)arg;
    return now_ms();
}

static uint64_t world_random(void *arg)
{
    (void)arg;
    uint64_t number;
    CHECK(getrandom(&number, sizeof number, 0) == sizeof number);
    return number;
}

static void world_send(void *arg, const char *name, struct slice note)
{
    consensus_send_note(((struct membership *)arg)->consensus, name, note);
}

static void world_send_to(void *arg, const struct pmap_address *to, struct slice note)
{
    consensus_send_contact(((struct membership *)arg)->consensus, to->host, to->port, note);
}

static void world_send_join(void *arg, struct slice note)
{
    struct membership *m = arg;
    if (!m->is_stopping) { resolve_send(m->resolve, note); }
}

static uint32_t world_join_count(void *arg)
{
    return resolve_count(((struct membership *)arg)->resolve);
}

static void world_redial(void *arg, const char *name)
{
    consensus_redial(((struct membership *)arg)->consensus, name);
}

static void world_set_cluster(void *arg, uint64_t cluster_id)
{
    consensus_set_cluster(((struct membership *)arg)->consensus, cluster_id);
}

static void world_soon(void *arg)
{
    struct membership *m = arg;
    if (m->is_soon || m->is_stopping) { return; }
    m->is_soon = true;
    consensus_push(m->consensus, &m->soon);
}

/* What cannot be trusted to be on the disk ends the process, as a flush of the log would. */
static enum err judge_save(struct membership *m, enum err err)
{
    if (err == ERR_SYSTEM) { consensus_fail(m->consensus, "the cluster file cannot be written"); }
    return err;
}

static void on_save(uv_work_t *work)
{
    struct membership *m = work->data;
    m->save_err = cluster_file_save(m->dir, &m->saved);
}

static void on_saved(uv_work_t *work, int status)
{
    struct membership *m = work->data;
    CHECK(status == 0); /* nothing is cancelled */
    m->is_saving = false;
    m->has_saved = judge_save(m, m->save_err) == ERR_OK;
    world_soon(m);
}

/* A member's file follows the map, again and again, and nothing waits for it: it is written on the
 * pool, and asked for again it is there. The few steps before, which may be taken only once they
 * are durable, are written at once: the node serves nobody yet. */
static enum err world_save(void *arg, const struct cluster_file *file)
{
    struct membership *m = arg;
    if (m->is_saving) { return ERR_SLOW; }
    if (file->state != CLUSTER_MEMBER) {
        m->has_saved = false;
        return judge_save(m, cluster_file_save(m->dir, file));
    }
    if (m->has_saved && cluster_file_equal(&m->saved, file)) { return ERR_OK; }
    m->saved = *file;
    m->has_saved = false;
    m->is_saving = true;
    m->save_work.data = m;
    CHECK(uv_queue_work(consensus_loop(m->consensus), &m->save_work, on_save, on_saved) == 0);
    return ERR_SLOW;
}

static uint32_t world_on_map(void *arg, const struct pmap *map, uint32_t self)
{
    struct membership *m = arg;
    const struct membership_data *data = &m->opts.data;
    if (!m->is_stopping) { m->opts.on_map(m->opts.arg, map, self); }
    if (!m->is_stopping && data->on_map != NULL) { data->on_map(data->arg, map, self); }
    return atomic_load(&m->warming);
}

static void world_on_roster(void *arg, const struct roster *roster)
{
    struct membership *m = arg;
    if (m->is_stopping) { return; }
    m->opts.users.on_roster(m->opts.users.arg, roster);
    roster_keep(&m->keeper, roster);
}

static struct roster_change *world_own_users(void *arg, uint64_t id)
{
    const struct membership_users *users = &((struct membership *)arg)->opts.users;
    return users->own(users->arg, id);
}

/* In force and on the disk: now it holds, also after a restart. */
static void confirm_users(struct membership *m)
{
    uint64_t in_force = atomic_load(&m->users_version);
    uint64_t kept = m->keeper.kept_version;
    core_users_in_force(m->core, in_force < kept ? in_force : kept);
}

static void on_roster_kept(void *arg)
{
    struct membership *m = arg;
    if (!m->is_stopping) { confirm_users(m); }
}

static void world_set_lease(void *arg, uint64_t until_ms, uint64_t incarnation)
{
    struct membership *m = arg;
    uint64_t life = incarnation & ((1U << INCARNATION_BITS) - 1);
    atomic_store_explicit(&m->lease, until_ms << INCARNATION_BITS | life, memory_order_release);
}

/* ---- what others may read ---- */

static void show(struct membership *m)
{
    union {
        struct membership_status shown;
        uint64_t words[SHOWN_WORDS];
    } copy;
    struct core_status status;
    memset(&copy, 0, sizeof copy);
    core_status(m->core, &status);
    copy.shown = (struct membership_status){
        .unready_because = status.unready_because,
        .cluster_id = status.cluster_id,
        .term = status.raft.term,
        .commit = status.raft.commit,
        .applied = status.raft.applied,
        .last = status.raft.last,
        .is_leader = status.raft.is_leader,
    };
    memcpy(copy.shown.leader, status.leader, sizeof status.leader);
    uint64_t version = atomic_load_explicit(&m->shown_version, memory_order_relaxed);
    atomic_store_explicit(&m->shown_version, version + 1, memory_order_relaxed);
    for (size_t i = 0; i < SHOWN_WORDS; i++) { /* who sees one of them sees the odd version, too */
        atomic_store_explicit(&m->shown[i], copy.words[i], memory_order_release);
    }
    atomic_store_explicit(&m->shown_version, version + 2, memory_order_release);
}

static struct membership_status look(struct membership *m)
{
    union {
        struct membership_status shown;
        uint64_t words[SHOWN_WORDS];
    } copy;
    uint64_t before;
    uint64_t after;
    do {
        before = atomic_load_explicit(&m->shown_version, memory_order_acquire);
        for (size_t i = 0; i < SHOWN_WORDS; i++) {
            copy.words[i] = atomic_load_explicit(&m->shown[i], memory_order_acquire);
        }
        after = atomic_load_explicit(&m->shown_version, memory_order_relaxed);
    } while (before != after || before % 2 == 1);
    return copy.shown;
}

void membership_status(struct membership *m, struct membership_status *out)
{
    *out = look(m);
    uint64_t until_ms = atomic_load_explicit(&m->lease, memory_order_acquire) >> INCARNATION_BITS;
    out->has_lease = now_ms() < until_ms;
}

bool membership_has_lease(const struct membership *m, uint64_t incarnation)
{
    const uint64_t mask = (1U << INCARNATION_BITS) - 1;
    uint64_t lease = atomic_load_explicit(&m->lease, memory_order_acquire);
    return (lease & mask) == (incarnation & mask) && now_ms() < lease >> INCARNATION_BITS;
}

/* ---- the raft thread's turns ---- */

static void tick(struct membership *m)
{
    if (m->is_stopping) { return; }
    core_tick(m->core);
    roster_keep_tick(&m->keeper, now_ms());
    const struct membership_data *data = &m->opts.data;
    if (data->on_tick != NULL) {
        struct pmap_settled settled[SETTLED_MAX];
        uint32_t count = data->on_tick(data->arg, settled, COUNT_OF(settled));
        if (count > 0) { core_settled(m->core, settled, count); }
    }
    show(m);
}

static void on_timer(uv_timer_t *timer)
{
    tick(timer->data);
}

static void on_soon(struct task *task)
{
    struct membership *m = CONTAINER_OF(task, struct membership, soon);
    m->is_soon = false;
    tick(m);
}

static void on_note(void *arg, const char *from_name, struct slice note)
{
    struct membership *m = arg;
    if (m->core != NULL && !m->is_stopping) { core_note(m->core, from_name, note); }
}

/* Who shows a certificate speaks for its node, and for no other one. */
static void on_contact_note(void *arg, const char *shown_name, struct slice note)
{
    if (shown_name == NULL || note_is_of(note, shown_name)) {
        on_note(arg, NULL, note);
    } else {
        LOG_LIMITED(LOG_LEVEL_WARN, "a note was refused: the certificate is another node's",
                    LOG_STR("certificate_of", shown_name));
    }
}

static bool address_of(void *arg, const char *node_name, char host[LINK_HOST_BYTES], uint16_t *port)
{
    const struct membership *m = arg;
    struct pmap_address address;
    _Static_assert(sizeof address.host == LINK_HOST_BYTES, "a host fits");
    if (m->core == NULL || !core_address_of(m->core, node_name, &address)) { return false; }
    memcpy(host, address.host, sizeof address.host);
    *port = address.port;
    return true;
}

/* ---- wishes ---- */

static void on_wish(struct task *task)
{
    struct membership *m = CONTAINER_OF(task, struct membership, wish);
    atomic_store(&m->is_wishing, false); /* what is wished from now on posts again */
    if (m->is_stopping) { return; }
    core_set_warming(m->core, atomic_load(&m->warming));
    if (atomic_load(&m->wants_drain)) { core_drain(m->core); }
    if (atomic_load(&m->wants_leave)) { core_leave(m->core); }
    confirm_users(m);
    show(m);
}

static void wish(struct membership *m)
{
    if (!atomic_exchange(&m->is_wishing, true)) { consensus_post(m->consensus, &m->wish); }
}

void membership_set_warming(struct membership *m, uint32_t partition_count)
{
    if (atomic_exchange(&m->warming, partition_count) != partition_count) { wish(m); }
}

void membership_drain(struct membership *m)
{
    atomic_store(&m->wants_drain, true);
    wish(m);
}

void membership_leave(struct membership *m)
{
    atomic_store(&m->wants_leave, true);
    wish(m);
}

void membership_users_in_force(struct membership *m, uint64_t version)
{
    atomic_store(&m->users_version, version);
    wish(m);
}

struct request { /* FORGET, SUSPECT, UNSERVED */
    struct task task;
    struct membership *m;
    uint64_t id;
    uint64_t incarnation;
    uint32_t partition;
    uint64_t epoch;
    char name[PMAP_NAME_BYTES];
    void (*on_done)(void *arg, const char *error);
    void *arg;
};

static void on_forget(struct task *task)
{
    struct request *request = CONTAINER_OF(task, struct request, task);
    core_forget(request->m->core, request->name, request->on_done, request->arg);
    mem_free(request);
}

void membership_forget(struct membership *m, const char *name,
                       void (*on_done)(void *arg, const char *error), void *arg)
{
    struct request *request = mem_new0(sizeof *request);
    *request = (struct request){.task = {.run = on_forget}, .m = m, .on_done = on_done, .arg = arg};
    snprintf(request->name, sizeof request->name, "%s", name);
    consensus_post(m->consensus, &request->task);
}

static void on_suspect(struct task *task)
{
    struct request *request = CONTAINER_OF(task, struct request, task);
    core_suspect(request->m->core, request->id, request->incarnation);
    mem_free(request);
}

void membership_suspect(struct membership *m, uint64_t id, uint64_t incarnation)
{
    struct request *request = mem_new0(sizeof *request);
    *request =
        (struct request){.task = {.run = on_suspect}, .m = m, .id = id, .incarnation = incarnation};
    consensus_post(m->consensus, &request->task);
}

static void on_unserved(struct task *task)
{
    struct request *request = CONTAINER_OF(task, struct request, task);
    core_unserved(request->m->core, request->partition, request->epoch);
    mem_free(request);
}

void membership_unserved(struct membership *m, uint32_t partition, uint64_t epoch)
{
    struct request *request = mem_new0(sizeof *request);
    *request = (struct request){
        .task = {.run = on_unserved}, .m = m, .partition = partition, .epoch = epoch};
    consensus_post(m->consensus, &request->task);
}

struct users_request {
    struct task task;
    struct membership *m;
    struct roster_change *change;
    uint32_t timeout_ms;
    users_on_done *on_done;
    void *arg;
};

static void on_change_users(struct task *task)
{
    struct users_request *request = CONTAINER_OF(task, struct users_request, task);
    core_change_users(request->m->core, request->change, request->timeout_ms, request->on_done,
                      request->arg);
    roster_change_free(request->change);
    mem_free(request);
}

void membership_change_users(struct membership *m, struct roster_change *change,
                             uint32_t timeout_ms, users_on_done *on_done, void *arg)
{
    struct users_request *request = mem_new0(sizeof *request);
    *request =
        (struct users_request){{.run = on_change_users}, m, change, timeout_ms, on_done, arg};
    consensus_post(m->consensus, &request->task);
}

/* ---- life ---- */

static void send_contact(void *arg, const char *host, uint16_t port, struct slice note)
{
    consensus_send_contact(((struct membership *)arg)->consensus, host, port, note);
}

static enum err open_log(struct membership *m, uint64_t cluster_id)
{
    char path[PATH_BYTES];
    struct wal_report report;
    int len = snprintf(path, sizeof path, "%s/raft", m->dir);
    if (len >= (int)sizeof path || (mkdir(path, 0700) != 0 && errno != EEXIST)) {
        LOG_ERROR("cannot make the folder of the raft log", LOG_STR("path", path),
                  LOG_STR("error", strerror(errno)));
        return ERR_SYSTEM;
    }
    struct consensus_opts opts = consensus_opts_default();
    opts.dir = path;
    opts.cluster_id = cluster_id;
    opts.listen_host = m->raft_listen_host;
    opts.listen_port = m->opts.raft_listen_port;
    opts.silence_ms_max = 2 * m->opts.node_timeout_ms;
    opts.trust = m->opts.trust;
    opts.address_of = address_of;
    opts.on_note = on_note;
    opts.on_contact_note = on_contact_note;
    opts.arg = m;
    opts.engine.node_name = m->name;
    opts.engine.node_id = m->opts.node_id;
    opts.engine.random_seed = world_random(NULL);
    opts.engine.election_ms = m->opts.election_ms;
    opts.engine.heartbeat_ms = m->opts.heartbeat_ms;
    bool has_data = m->opts.data.on_tick != NULL;
    opts.engine.segment_bytes = LOG_SEGMENT_BYTES;
    opts.engine.ballast_bytes = LOG_BALLAST_BYTES;
    opts.engine.free_bytes_min = m->opts.disk_reserve_bytes;
    opts.engine.snapshot_log_bytes = has_data ? DATA_SNAPSHOT_BYTES : LOG_SNAPSHOT_BYTES;
    if (m->opts.data.log_bytes > 0) { opts.engine.snapshot_log_bytes = m->opts.data.log_bytes; }
    enum err err = consensus_open(&m->consensus, &opts, &report);
    if (err == ERR_CORRUPT) {
        LOG_ERROR("the raft log is damaged", LOG_STR("path", path), LOG_STR("what", report.damage));
    }
    return err;
}

static enum err open_core(struct membership *m, const struct cluster_file *file)
{
    const struct membership_opts *o = &m->opts;
    struct core_world world = {
        .arg = m,
        .now_ms = world_now_ms,
        .random = world_random,
        .send = world_send,
        .send_to = world_send_to,
        .send_join = world_send_join,
        .join_count = world_join_count,
        .redial = world_redial,
        .set_cluster = world_set_cluster,
        .save = world_save,
        .on_map = world_on_map,
        .on_roster = o->users.on_roster != NULL ? world_on_roster : NULL,
        .own_users = o->users.own != NULL ? world_own_users : NULL,
        .soon = world_soon,
        .set_lease = world_set_lease,
    };
    struct core_opts opts = {
        .node_id = o->node_id,
        .name = m->name,
        .zone = m->zone,
        .client = o->client,
        .peer = o->peer,
        .raft = o->raft,
        .has_join = o->join_count > 0,
        .expect = o->expect,
        .partition_count = o->partition_count,
        .key_layout = o->key_layout,
        .has_data = o->data.on_tick != NULL,
        .has_users = o->users.on_roster != NULL,
        .replicas = o->replicas > 0 ? o->replicas : REPLICAS,
        .heartbeat_ms = o->heartbeat_ms,
        .node_timeout_ms = o->node_timeout_ms,
    };
    if (opts.raft.port == 0) { opts.raft.port = consensus_port(m->consensus); }
    return core_new(&m->core, &opts, &world, consensus_engine(m->consensus), file);
}

static void start_timer(struct membership *m)
{
    uv_loop_t *loop = consensus_loop(m->consensus);
    uint64_t every_ms = core_tick_ms(m->core);
    CHECK(uv_timer_init(loop, &m->timer) == 0);
    m->timer.data = m;
    CHECK(uv_timer_start(&m->timer, on_timer, 0, every_ms) == 0);
}

static void free_memory(struct membership *m)
{
    roster_keeper_fini(&m->keeper);
    mem_free(m->dir);
    mem_free(m->name);
    mem_free(m->zone);
    mem_free(m->raft_listen_host);
    mem_free(m);
}

static char *copy_text(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

/* What was read may be in the page cache only, left there by a process whose flush failed: it is
 * written again. A full disk leaves the old file as it is. */
static enum err load_file(struct membership *m, struct cluster_file *file)
{
    enum err err = cluster_file_load(m->dir, file);
    if (err != ERR_OK || file->state == CLUSTER_NONE) { return err; }
    err = cluster_file_save(m->dir, file);
    return err == ERR_FULL ? ERR_OK : err;
}

enum err membership_known_users(const char *dir, struct roster **out)
{
    return roster_file_load(dir, out);
}

static void keep_users(struct membership *m)
{
    m->keeper.loop = consensus_loop(m->consensus);
    m->keeper.dir = m->dir;
    m->keeper.on_kept = on_roster_kept;
    m->keeper.arg = m;
}

enum err membership_start(struct membership **out, const struct membership_opts *opts)
{
    struct cluster_file file;
    struct membership *m = mem_new0(sizeof *m);
    m->opts = *opts;
    m->dir = copy_text(opts->dir);
    m->name = copy_text(opts->name);
    m->zone = copy_text(opts->zone);
    m->raft_listen_host = copy_text(opts->raft_listen_host);
    m->soon.run = on_soon;
    m->wish.run = on_wish;
    enum err err = load_file(m, &file);
    bool has_cluster = file.state >= CLUSTER_FOUNDING;
    if (err == ERR_OK) { err = open_log(m, has_cluster ? file.cluster_id : 0); }
    if (err != ERR_OK) {
        free_memory(m);
        return err;
    }
    keep_users(m);
    m->resolve =
        resolve_new(consensus_loop(m->consensus), opts->join, opts->join_count, send_contact, m);
    err = open_core(m, &file);
    if (err == ERR_OK && opts->data.on_consensus != NULL) {
        err = opts->data.on_consensus(opts->data.arg, m->consensus);
    }
    if (err != ERR_OK) {
        consensus_abandon(m->consensus);
        core_free(m->core);
        resolve_free(m->resolve);
        free_memory(m);
        return err;
    }
    show(m);
    start_timer(m);
    consensus_run(m->consensus);
    *out = m;
    return ERR_OK;
}

struct stopping {
    struct task task;
    struct membership *m;
};

static void on_stop(struct task *task)
{
    struct membership *m = CONTAINER_OF(task, struct stopping, task)->m;
    m->is_stopping = true;
    host_lookup_cancel(m->resolve);
    uv_close((uv_handle_t *)&m->timer, NULL);
}

void membership_stop(struct membership *m)
{
    if (m == NULL) { return; }
    struct stopping stopping = {.task = {.run = on_stop}, .m = m};
    consensus_post(m->consensus, &stopping.task);
    consensus_stop(m->consensus);
    core_free(m->core);
    resolve_free(m->resolve);
    free_memory(m);
}
