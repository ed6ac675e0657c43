/* replicas: one step after the other for each partition that has something due.
 * Owns: its rows, a reference to the map. Thread: the raft thread.
 * Always: a partition is looked at when the map says something new of it, when this node begins to lead it, while something is
 * unfinished, and once every LOOK_MS, in case that something went by unseen. */
#include "partition/replicas.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/map/placement_replicas.h"
#include "partition/partition.h"

enum {
    SOON_MS = 20,     /* until a change that was begun is looked at again */
    LATER_MS = 200,   /* until something that cannot be done now is tried again */
    RETRY_MS = 1000,  /* the same of what failed, or takes as long */
    FULL_MS = 5000,   /* of what had no room */
    LOOK_MS = 5000,   /* between looks at what nothing is known to be due of */
    SETTLED_MS = 300, /* until what was told is told again */
    TRANSFER_MS =
        1000, /* so long it leads before it hands over to whom the map prefers; doubled at each attempt */
    TRANSFER_MS_MAX = 120000,
    LAG_MAX =
        8, /* entries that are not yet with whom leadership is handed to: it cannot lead before */
    STANDBY_LAG_MAX = 4096, /* and with one that is to vote */
};

enum { ROLE_STANDBY, ROLE_VOTER };

struct row {
    bool is_open;
    uint64_t due_ms;      /* UINT64_MAX: when something happens */
    uint64_t term;        /* in which this node leads; 0: it does not */
    uint64_t transfer_ms; /* no sooner */
    uint64_t transfer_wait_ms;
    uint32_t target;  /* of it */
    uint64_t told_ms; /* of what cannot be done; 0: not yet */
};

/* A node whose lives before an incarnation are over. */
struct ended {
    uint64_t node_id; /* 0: none */
    uint64_t below;
    uint64_t due_ms;
};

enum { ENDED_MAX = 2 * PMAP_NODES_MAX };

struct replicas {
    struct replicas_opts opts;
    const struct pmap *map; /* a reference; NULL: none yet */
    uint32_t self;
    uint64_t look_ms;
    atomic_bool is_handed_over;
    struct row *row;
    struct ended ended[ENDED_MAX];
    struct engine_status status; /* of the one that is looked at */
};

static uint64_t boot_ms(void *arg)
{
    (void)arg;
    return clock_boot_ns() / NS_PER_MS;
}

struct replicas *replicas_new(const struct replicas_opts *opts)
{
    struct replicas *r = mem_new0(sizeof *r);
    r->opts = *opts;
    if (r->opts.now_ms == NULL) { r->opts.now_ms = boot_ms; }
    r->self = PMAP_NOBODY;
    r->row = mem_new0(opts->partition_count * sizeof *r->row);
    for (uint32_t p = 0; p < opts->partition_count; p++) {
        r->row[p].due_ms = UINT64_MAX;
        r->row[p].target = PMAP_NOBODY;
    }
    atomic_init(&r->is_handed_over, true);
    return r;
}

void replicas_free(struct replicas *r)
{
    if (r == NULL) { return; }
    pmap_unref(r->map);
    mem_free(r->row);
    mem_free(r);
}

enum err replicas_open_alone(struct partitions *partitions, uint32_t partition_count)
{
    enum { FOUNDER = 1 };
    for (uint32_t p = 0; p < partition_count; p++) {
        bool is_there = partitions_replica(partitions, p) != 0;
        enum err err = is_there ? partitions_open(partitions, p)
                                : partitions_create(partitions, p, FOUNDER, true);
        if (err != ERR_OK) { return err; }
    }
    return ERR_OK;
}

/* ---- the map ---- */

static bool members_are_same(const struct pmap *a, const struct pmap *b)
{
    if (a == NULL || a->node_count != b->node_count) { return false; }
    for (uint32_t i = 0; i < a->node_count; i++) {
        if (a->node[i].id != b->node[i].id || a->node[i].is_up != b->node[i].is_up ||
            a->node[i].is_draining != b->node[i].is_draining) {
            return false;
        }
    }
    return true;
}

static bool lives_are_same(const struct pmap *a, const struct pmap *b)
{
    if (!members_are_same(a, b)) { return false; }
    for (uint32_t i = 0; i < a->node_count; i++) {
        if (a->node[i].incarnation != b->node[i].incarnation) { return false; }
    }
    return true;
}

static bool rows_are_same(const struct pmap_partition *a, const struct pmap_partition *b)
{
    return a->owner == b->owner && a->change == b->change && a->is_settled == b->is_settled;
}

/* ---- lives that are over ---- */

/* To be said once nobody waits for them any more; with all places taken it is not: what is kept for them stays. */
static void note_ended(struct replicas *r, uint64_t node_id, uint64_t below)
{
    struct ended *place = NULL;
    for (size_t i = 0; i < ENDED_MAX; i++) {
        if (r->ended[i].node_id == node_id) {
            place = &r->ended[i];
            break;
        }
        if (place == NULL && r->ended[i].node_id == 0) { place = &r->ended[i]; }
    }
    if (place == NULL || (place->node_id == node_id && place->below >= below)) { return; }
    *place = (struct ended){node_id, below, r->opts.now_ms(r->opts.arg) + r->opts.forget_ms};
}

/* Those before the present one of each member, and the present one of who is down. */
static void note_all_ended(struct replicas *r, const struct pmap *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        if (node->id != 0) { note_ended(r, node->id, node->incarnation + !node->is_up); }
    }
}

/* Those of who was a member and is none. */
static void note_gone(struct replicas *r, const struct pmap *old, const struct pmap *map)
{
    for (uint32_t i = 0; old != NULL && i < old->node_count; i++) {
        uint64_t id = old->node[i].id;
        if (id == 0 || pmap_find_id(map, id) != PMAP_NOBODY) { continue; }
        note_ended(r, id, old->node[i].incarnation + 1);
    }
}

static void tell_ended(struct replicas *r, uint64_t now_ms)
{
    for (size_t i = 0; i < ENDED_MAX; i++) {
        struct ended *ended = &r->ended[i];
        if (ended->node_id == 0 || now_ms < ended->due_ms) { continue; }
        partitions_forget(r->opts.partitions, ended->node_id, ended->below);
        ended->node_id = 0;
    }
}

/* ---- the map again ---- */

void replicas_on_map(struct replicas *r, const struct pmap *map, uint32_t self)
{
    const struct pmap *old = r->map;
    bool is_same = members_are_same(old, map) && self == r->self;
    CHECK(map->partition_count == r->opts.partition_count);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (!is_same || !rows_are_same(&old->partition[p], &map->partition[p])) {
            r->row[p].due_ms = 0;
        }
    }
    if (!lives_are_same(old, map)) {
        note_gone(r, old, map);
        note_all_ended(r, map);
    }
    r->map = pmap_ref(map);
    r->self = self;
    pmap_unref(old);
}

/* ---- this node's replica ---- */

static bool may_tell(struct row *row, uint64_t now_ms)
{
    enum { TELL_MS = 10000 };
    if (row->told_ms != 0 && now_ms < row->told_ms + TELL_MS) { return false; }
    row->told_ms = now_ms;
    return true;
}

static void failed(struct row *row, uint32_t partition, uint64_t now_ms, const char *what,
                   enum err err)
{
    /* ERR_SLOW: a former one is being closed. */
    row->due_ms = now_ms + (err == ERR_SLOW ? LATER_MS : err == ERR_FULL ? FULL_MS : RETRY_MS);
    if (err == ERR_SLOW || !may_tell(row, now_ms)) { return; }
    LOG_ERROR("a replica of a partition's data cannot be had", LOG_STR("call", what),
              LOG_UINT("partition", partition), LOG_STR("error", err_word(err)));
}

static void delete_replica(struct replicas *r, uint32_t partition, uint64_t replica)
{
    LOG_INFO("a replica of a partition's data is deleted", LOG_UINT("partition", partition),
             LOG_UINT("replica", replica));
    partitions_delete(r->opts.partitions, partition);
    r->row[partition].is_open = false;
    r->row[partition].term = 0;
}

static void open_replica(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    if (row->is_open) { return; }
    enum err err = partitions_open(r->opts.partitions, partition);
    row->is_open = err == ERR_OK;
    if (err != ERR_OK) { failed(row, partition, now_ms, "open", err); }
}

static void create_replica(struct replicas *r, uint32_t partition,
                           const struct pmap_replica *replica, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    const struct pmap_partition *wanted = &r->map->partition[partition];
    bool is_founder = !wanted->is_founded && wanted->replica_count == 1;
    if (replica->is_voter) { /* it would have forgotten its votes, and what it has acknowledged */
        row->due_ms = now_ms + RETRY_MS;
        if (may_tell(row, now_ms)) {
            LOG_ERROR("a replica of a partition's data is gone from the log; remove the whole data "
                      "directory to join as a new node",
                      LOG_UINT("partition", partition), LOG_UINT("replica", replica->id));
        }
        return;
    }
    enum err err = partitions_create(r->opts.partitions, partition, replica->id, is_founder);
    row->is_open = err == ERR_OK;
    if (err != ERR_OK) {
        failed(row, partition, now_ms, "create", err);
        return;
    }
    LOG_INFO("a replica of a partition's data is new", LOG_UINT("partition", partition),
             LOG_UINT("replica", replica->id), LOG_UINT("founds", is_founder));
}

/* What the map wants of this node; true: an open replica is there. */
static bool follow_map(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    const struct pmap_partition *wanted = &r->map->partition[partition];
    const struct pmap_replica *own = pmap_replica_on(wanted, r->self);
    uint64_t here = partitions_replica(r->opts.partitions, partition);
    bool is_other = here != 0 && (own == NULL || own->id != here);
    if (is_other && wanted->is_settled) {
        delete_replica(r, partition, here);
    } else if (is_other && own != NULL) { /* the one before was out when this one was wanted */
        delete_replica(r, partition, here);
        row->due_ms = now_ms + SOON_MS;
    } else if (here != 0) {
        open_replica(r, partition, now_ms);
    } else if (own != NULL) {
        create_replica(r, partition, own, now_ms);
    }
    return row->is_open;
}

/* ---- the group, where this node leads it ---- */

/* -1: no such server. */
static int server_of(const struct engine_status *status, uint64_t id)
{
    for (size_t i = 0; i < status->server_count; i++) {
        if (status->servers[i].id == id) { return (int)i; }
    }
    return -1;
}

/* Begin it. The status, which names the node, is not read any more after it. */
static void change(struct replicas *r, uint32_t partition, enum engine_change what, uint64_t id,
                   const char *node_name, uint64_t now_ms)
{
    static const char *const words[] = {[ENGINE_ADD_STANDBY] = "is added",
                                        [ENGINE_PROMOTE] = "is to vote",
                                        [ENGINE_REMOVE] = "is removed"};
    struct row *row = &r->row[partition];
    char name[ENGINE_NAME_BYTES];
    strncpy(name, node_name, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    enum err err = engine_change(r->opts.engine, partitions_group(partition), what, id, name);
    row->due_ms = now_ms + (err == ERR_OK ? SOON_MS : LATER_MS);
    if (err != ERR_OK) { return; }
    LOG_INFO("a replica of a partition", LOG_UINT("partition", partition), LOG_STR("node", name),
             LOG_STR("change", words[what]), LOG_UINT("replica", id),
             LOG_UINT("term", r->status.term));
}

/* Hand the leadership to that node, if it has nearly all. */
static bool transfer(struct replicas *r, uint32_t partition, uint32_t node, const char *reason)
{
    const struct engine_status *status = &r->status;
    const struct pmap_replica *replica = pmap_replica_on(&r->map->partition[partition], node);
    int at = replica != NULL ? server_of(status, replica->id) : -1;
    if (at < 0 || status->servers[at].role != ROLE_VOTER || !status->servers[at].is_fit ||
        status->servers[at].match + LAG_MAX < status->last ||
        engine_transfer(r->opts.engine, partitions_group(partition), replica->id) != ERR_OK) {
        return false;
    }
    LOG_INFO("hands a partition's group over", LOG_UINT("partition", partition),
             LOG_STR("to", r->map->node[node].name), LOG_STR("reason", reason),
             LOG_UINT("term", status->term));
    return true;
}

/* What is in the group and not in the map goes. True: something was begun, or has to wait. */
static bool remove_stale(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    const struct engine_status *status = &r->status;
    const struct pmap_partition *wanted = &r->map->partition[partition];
    bool is_self = false;
    for (size_t i = 0; i < status->server_count; i++) {
        uint64_t id = status->servers[i].id;
        if (pmap_replica_with(wanted, id) != NULL) { continue; }
        is_self = is_self || id == status->self;
        if (id == status->self) { continue; }
        change(r, partition, ENGINE_REMOVE, id, status->servers[i].node_name, now_ms);
        return true;
    }
    if (!is_self) { return false; }
    uint32_t to = placement_leader(r->map, partition); /* whoever leads then removes this one */
    bool is_begun = to != PMAP_NOBODY && transfer(r, partition, to, "it is removed");
    r->row[partition].due_ms = now_ms + (is_begun ? RETRY_MS : LATER_MS);
    return true;
}

/* What is in the map and not, or not to vote, in the group. True: something was begun, or has to wait. */
static bool bring_in(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    const struct engine_status *status = &r->status;
    const struct pmap_partition *wanted = &r->map->partition[partition];
    for (uint32_t i = 0; i < wanted->replica_count; i++) {
        const struct pmap_replica *replica = &wanted->replica[i];
        const struct pmap_node *node = &r->map->node[replica->node];
        int at = server_of(status, replica->id);
        if (at >= 0 && status->servers[at].role == ROLE_VOTER) { continue; }
        if (!node->is_up) { /* another map will say more */
            r->row[partition].due_ms = now_ms + RETRY_MS;
        } else if (at < 0) {
            change(r, partition, ENGINE_ADD_STANDBY, replica->id, node->name, now_ms);
        } else if (status->servers[at].match == 0 ||
                   status->servers[at].match + STANDBY_LAG_MAX < status->last) {
            r->row[partition].due_ms = now_ms + LATER_MS;
        } else {
            change(r, partition, ENGINE_PROMOTE, replica->id, node->name, now_ms);
        }
        return true;
    }
    return false;
}

/* Towards whom the map would have lead: not at once, and less and less often while it does not last. */
static void steer(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    uint32_t to = placement_leader(r->map, partition);
    bool is_urgent = r->map->node[r->self].is_draining;
    if (to == PMAP_NOBODY || to == r->self) { return; }
    if (to != row->target) {
        row->target = to;
        row->transfer_wait_ms = TRANSFER_MS;
        row->transfer_ms = now_ms + (is_urgent ? 0 : TRANSFER_MS);
    }
    if (now_ms < row->transfer_ms) {
        row->due_ms = row->transfer_ms;
        return;
    }
    if (!transfer(r, partition, to, is_urgent ? "drain" : "the map's choice")) {
        row->due_ms = now_ms + LATER_MS;
        return;
    }
    row->transfer_wait_ms *= is_urgent ? 1 : 2;
    if (row->transfer_wait_ms > TRANSFER_MS_MAX) { row->transfer_wait_ms = TRANSFER_MS_MAX; }
    row->transfer_ms = row->due_ms = now_ms + row->transfer_wait_ms;
}

/* True: it is as the map wants it, and the map does not know. */
static bool lead(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    const struct pmap_partition *wanted = &r->map->partition[partition];
    if (!r->status.owns_term || r->status.is_changing) {
        row->due_ms = now_ms + SOON_MS;
        return false;
    }
    if (wanted->replica_count == 0) { return false; } /* all is lost: nothing is made worse */
    if (remove_stale(r, partition, now_ms) || bring_in(r, partition, now_ms)) { return false; }
    steer(r, partition, now_ms);
    if (wanted->is_settled) { return false; }
    if (row->due_ms > now_ms + SETTLED_MS) { row->due_ms = now_ms + SETTLED_MS; }
    return true;
}

/* ---- the tick ---- */

static bool service(struct replicas *r, uint32_t partition, uint64_t now_ms)
{
    struct row *row = &r->row[partition];
    row->due_ms = UINT64_MAX;
    if (!follow_map(r, partition, now_ms)) { return false; }
    bool is_there = engine_status(r->opts.engine, partitions_group(partition), &r->status);
    return is_there && r->status.is_leader && lead(r, partition, now_ms);
}

/* Has anybody else a place for what this node leads? */
static bool is_handed_over(const struct replicas *r)
{
    const struct pmap_node *self = &r->map->node[r->self];
    bool is_alone = true;
    for (uint32_t i = 0; i < r->map->node_count; i++) {
        const struct pmap_node *node = &r->map->node[i];
        is_alone = is_alone && (i == r->self || !node->is_up || node->is_draining);
    }
    if (is_alone || !self->is_up) { return true; }
    if (!self->is_draining) { return false; }
    for (uint32_t p = 0; p < r->map->partition_count; p++) {
        if (r->row[p].term != 0 && placement_leader(r->map, p) != PMAP_NOBODY) { return false; }
        if (r->row[p].is_open && placement_must_wait(r->map, p)) { return false; }
    }
    return true;
}

/* Who leads what may have changed; and now and then all are looked at. */
static void find_due(struct replicas *r, uint64_t now_ms)
{
    bool is_look = now_ms >= r->look_ms;
    bool is_new_leader = false;
    if (is_look) { r->look_ms = now_ms + LOOK_MS; }
    for (uint32_t p = 0; p < r->opts.partition_count; p++) {
        struct row *row = &r->row[p];
        uint64_t term = row->is_open ? partition_leads(r->opts.partitions, p) : 0;
        if (term == row->term && !is_look) { continue; }
        is_new_leader = is_new_leader || (term != 0 && term != row->term);
        row->term = term;
        if (row->due_ms > now_ms) { row->due_ms = now_ms; }
    }
    if (is_new_leader) { note_all_ended(r, r->map); } /* who led before may not have come to it */
}

uint32_t replicas_tick(struct replicas *r, struct pmap_settled *out, uint32_t out_max)
{
    uint32_t count = 0;
    if (r->map == NULL || r->self == PMAP_NOBODY) {
        atomic_store_explicit(&r->is_handed_over, true, memory_order_release);
        return 0;
    }
    uint64_t now_ms = r->opts.now_ms(r->opts.arg);
    find_due(r, now_ms);
    tell_ended(r, now_ms);
    for (uint32_t p = 0; p < r->opts.partition_count && count < out_max; p++) {
        if (r->row[p].due_ms > now_ms || !service(r, p, now_ms)) { continue; }
        out[count++] = (struct pmap_settled){p, r->map->partition[p].change};
    }
    atomic_store_explicit(&r->is_handed_over, is_handed_over(r), memory_order_release);
    return count;
}

bool replicas_are_handed_over(const struct replicas *r)
{
    return atomic_load_explicit(&r->is_handed_over, memory_order_acquire);
}
