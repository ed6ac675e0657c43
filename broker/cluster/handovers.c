/* handovers: partitions change owners. All of it is worker 0's but what says "any thread".
 *
 * A node that is to follow a new owner waits for the end of the old one's stream (END, or its lane closed), then
 * sends the new owner a snapshot of its clients' interest (Sync) and holds changes back until the owner says READY.
 * An owner begins when every member that is up has sent its snapshot. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/handovers_int.h"
#include "cluster/interest.h"

struct turnover turnover_begin(struct cluster *c)
{
    struct turnover t = {.cluster = c, .is_affected = mem_new0(c->partition_count)};
    const struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t node = 0; cw->map != NULL && node < cw->map->node_count; node++) {
        if (node != cw->self && node_is_up(cw->map, node)) { t.members |= 1ULL << node; }
    }
    return t;
}

void turnover_end(struct turnover *t)
{
    mem_free(t->is_affected);
}

/* ---- a turn's share ---- */

enum {
    NAME_BYTES = 8,      /* of a frame's, by which a turn's share is reckoned */
    NAMES_PER_STEP = 64, /* so many take as long as what every step takes, that is all stripes */
};

bool handovers_may_work(struct cluster *c)
{
    uint64_t now_ns = worker_now_ns(cluster_worker_0(c)->worker);
    if (c->work_turn_ns != now_ns) {
        c->work_turn_ns = now_ns;
        c->work_left = sync_frame_bytes(c) / NAME_BYTES + 1;
    }
    if (c->work_left == 0) { handovers_soon(c); }
    return c->work_left > 0;
}

void handovers_worked(struct cluster *c, size_t names)
{
    size_t done = names + NAMES_PER_STEP;
    c->work_left -= done < c->work_left ? done : c->work_left;
}

/* ---- the map changes ---- */

/* Follow one partition's row. Exclusive, under the partition's lock. */
static void follow_row(struct turnover *t, uint32_t p, uint32_t owner, uint64_t epoch)
{
    struct cluster *c = t->cluster;
    struct cluster_partition *cp = &c->partition[p];
    struct handover *h = &cp->handover;
    struct remote_partition *at = directory_partition(c->directory, p);
    bool has_ordered = at->phase == PARTITION_OWNED;
    if (h->is_own && handover_rule(RULE_SEND_END)) {
        own_push_end(c, p, t->members, at->epoch, has_ordered ? at->seq : 0);
    }
    bool is_own = owner == cluster_worker_0(c)->self && owner != PMAP_NOBODY;
    handover_take_row(h, owner, epoch, has_ordered ? at->seq : 0, is_own);
    if (t->is_reborn) {
        handover_forget_self(h);
        cp->is_followed = false;
        at->snapshot = ++at->number; /* nobody has it */
    }
    cp->warming_since_ns = is_own ? clock_mono_ns() : 0;
    at->owner = owner == PMAP_NOBODY ? REMOTE_NOBODY : owner;
    at->epoch = epoch;
    at->phase = PARTITION_STALE;
}

static uint64_t incarnation_of_self(struct cluster *c)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    return node_is_up(cw->map, cw->self) ? cw->map->node[cw->self].incarnation : 0;
}

static void follow_rows(void *arg)
{
    struct turnover *t = arg;
    struct cluster *c = t->cluster;
    const struct pmap *map = cluster_worker_0(c)->map;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition *at = directory_partition(c->directory, p);
        bool is_forgotten = t->is_reborn && handover_rule(RULE_FORGET_SELF);
        if (at->epoch == map->partition[p].epoch && !is_forgotten) { continue; }
        t->is_affected[p] = true;
        lock_take(&c->partition[p].lock);
        follow_row(t, p, map->partition[p].owner, map->partition[p].epoch);
        lock_release(&c->partition[p].lock);
    }
    directory_forget_interest(c->directory, t->is_affected);
    atomic_store(&c->own_incarnation, incarnation_of_self(c));
}

static void forget_node(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    directory_forget_node(c->directory, late->node);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        lock_take(&c->partition[p].lock);
        handover_unstage(&c->partition[p].handover, late->node);
        lock_release(&c->partition[p].lock);
    }
}

/* What members that went, or came up anew, have told is void. */
static void follow_members(struct cluster *c)
{
    struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        bool is_up = node != cw->self && node_is_up(cw->map, node);
        uint64_t incarnation = is_up ? cw->map->node[node].incarnation : 0;
        if (incarnation == atomic_load(&c->known_incarnation[node])) { continue; }
        struct latecomer late = {c, 0, node};
        directory_exclusive(c->directory, forget_node, &late);
        interest_node_gone(cw, node);
        atomic_store(&c->known_incarnation[node], incarnation);
    }
}

/* This node was declared down, or is a new member: its clients have missed what it cannot know. Whom an owner has
 * counted until now is among them, and nobody is any more from here on. */
static void follow_self(struct cluster *c, uint64_t incarnation)
{
    LOG_WARN("this node was declared down: its subscribers are closed",
             LOG_UINT("incarnation", incarnation));
    bool *all = mem_new(c->partition_count);
    memset(all, true, c->partition_count);
    handovers_missed(c, all);
    mem_free(all);
}

void handovers_follow_map(struct cluster *c)
{
    if (cluster_worker_0(c)->map == NULL) { return; }
    uint64_t known = atomic_load(&c->own_incarnation);
    follow_members(c);
    struct turnover t = turnover_begin(c);
    t.is_reborn = known != 0 && known != incarnation_of_self(c);
    directory_exclusive(c->directory, follow_rows, &t);
    if (t.is_reborn) { follow_self(c, known); }
    turnover_end(&t);
    directory_wake_lanes(c->directory);
    handovers_progress(c);
}

void handovers_progress(struct cluster *c)
{
    struct cluster_worker *cw = cluster_worker_0(c);
    if (cw->map == NULL || !node_is_up(cw->map, cw->self)) { return; }
    for (uint32_t node = 0; node < cw->map->node_count; node++) {
        if (node != cw->self && node_is_up(cw->map, node) && c->patterns_told[node] == 0) {
            interest_tell_patterns(cw, node);
        }
    }
    own_begin(c);
    own_take_latecomers(c);
    own_answer_outdated(c);
    follow_sync_owners(c);
    own_count(c);
    interest_look(cw);
    cluster_look_all(c);
}

static bool stream_is_settled(const struct cluster_worker *cw, const struct cluster_partition *cp)
{
    uint32_t owner = cp->handover.stream.node;
    uint64_t incarnation = node_is_up(cw->map, owner) ? cw->map->node[owner].incarnation : 0;
    return cp->is_followed && handover_is_settled(&cp->handover, incarnation);
}

/* Until the owner has begun, it may still bring what its predecessor had ordered, and answered, before. */
static bool partition_is_settled(struct cluster *c, uint32_t p)
{
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.phase != PARTITION_OWNED && at.phase != PARTITION_READY) { return false; }
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    bool is_settled = stream_is_settled(cluster_worker_0(c), cp);
    lock_release(&cp->lock);
    return is_settled;
}

bool handovers_are_settled(struct cluster *c)
{
    bool are_settled = true;
    for (uint32_t p = 0; are_settled && p < c->partition_count; p++) {
        are_settled = partition_is_settled(c, p);
    }
    return are_settled;
}

/* ---- connections come and go ---- */

static void on_lane_gone(struct event *event);

/* Its owner elsewhere is to be told anew. Exclusive. */
static void partition_stale(struct remote_partition *at)
{
    bool is_told = at->phase == PARTITION_SYNCED || at->phase == PARTITION_READY;
    if (is_told) { at->phase = PARTITION_STALE; }
}

struct lost_lane {
    const struct accepted_peer *accepted;
    uint32_t lane_count;
    bool is_clean;
};

/* The owner does not know it yet, and goes on putting on that lane what it orders and what it acknowledges: nobody is
 * to ask it any more to count a join until it has been told anew. Exclusive. */
static void lose_lane(void *arg)
{
    const struct lost_lane *lost = arg;
    const struct accepted_peer *accepted = lost->accepted;
    struct cluster *c = accepted->cw->cluster;
    bool *is_missing = mem_new0(c->partition_count);
    bool any = false;
    for (uint32_t p = accepted->worker; p < c->partition_count; p += lost->lane_count) {
        struct cluster_partition *cp = &c->partition[p];
        lock_take(&cp->lock);
        bool had_part = handover_lane_ended(&cp->handover, accepted->node, accepted->number);
        lock_release(&cp->lock);
        struct remote_partition *at = directory_partition(c->directory, p);
        if (had_part && at->owner == accepted->node) { partition_stale(at); }
        is_missing[p] = had_part && !lost->is_clean;
        any |= is_missing[p];
    }
    if (any) {
        handovers_missed(c, is_missing);
    } /* before a new lane may come in place of this one */
    mem_free(is_missing);
}

void handovers_lane_lost(const struct accepted_peer *accepted, uint32_t lane_count, bool is_clean)
{
    struct cluster *c = accepted->cw->cluster;
    if (atomic_load(&c->is_stopping)) { return; }
    struct lost_lane lost = {accepted, lane_count, is_clean};
    directory_exclusive(c->directory, lose_lane, &lost);
    event_post(cluster_worker_0(c), (struct event){.run = on_lane_gone, .node = accepted->node});
}

struct stale_owner {
    struct cluster *cluster;
    uint32_t node;
};

static void stale_partitions(void *arg)
{
    const struct stale_owner *stale = arg;
    for (uint32_t p = 0; p < stale->cluster->partition_count; p++) {
        struct remote_partition *at = directory_partition(stale->cluster->directory, p);
        if (at->owner != stale->node) { continue; }
        partition_stale(at);
        struct cluster_partition *cp = &stale->cluster->partition[p];
        lock_take(&cp->lock);
        handover_forget_fence(&cp->handover);
        lock_release(&cp->lock);
    }
}

/* Something that was on its way to the node, or from it, is lost: begin anew with it. */
static void begin_anew(struct cluster *c, uint32_t node)
{
    if (atomic_load(&c->is_stopping)) { return; }
    struct stale_owner stale = {c, node};
    directory_exclusive(c->directory, stale_partitions, &stale);
    interest_node_gone(cluster_worker_0(c), node);
    handovers_progress(c);
}

void handovers_request_lost(struct cluster *c, uint32_t node)
{
    begin_anew(c, node);
}

static void on_lane_gone(struct event *event)
{
    begin_anew(event->cw->cluster, event->node);
}

/* A handover that waits for members that are up: the leader may think again about them. */
static void suspect_unsynced(struct cluster *c, uint32_t p, uint64_t now_ns)
{
    const struct pmap *map = cluster_worker_0(c)->map;
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    bool is_late = cp->warming_since_ns != 0 && now_ns - cp->warming_since_ns > SUSPECT_NS;
    uint64_t nodes = 0;
    for (uint32_t node = 0; is_late && node < map->node_count; node++) {
        bool is_other = node != cluster_worker_0(c)->self && node_is_up(map, node);
        if (is_other && !has_told(c, p, node)) { nodes |= 1ULL << node; }
    }
    lock_release(&cp->lock);
    for (; nodes != 0; nodes &= nodes - 1) {
        const struct pmap_node *node = &map->node[__builtin_ctzll(nodes)];
        membership_suspect(c->membership, node->id, node->incarnation);
    }
}

void handovers_tick(struct cluster *c)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    if (cw->map == NULL || atomic_load(&c->is_stopping)) { return; }
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.owner == cw->self && at.phase != PARTITION_OWNED) { suspect_unsynced(c, p, now_ns); }
    }
    follow_ask_ends(c);
    watch_tick(c);
    handovers_progress(c);
}

/* ---- handovers_soon ---- */

static void on_progress(struct task *task)
{
    struct cluster *c = CONTAINER_OF(task, struct cluster, progress_task);
    atomic_store(&c->progress_is_posted, false);
    handovers_progress(c);
}

void handovers_soon(struct cluster *c)
{
    if (!atomic_exchange(&c->progress_is_posted, true)) {
        mailbox_post(worker_mailbox(cluster_worker_0(c)->worker), &c->progress_task);
    }
}

void handovers_init(struct cluster *c)
{
    c->progress_task.run = on_progress;
}
