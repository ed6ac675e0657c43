/* moves: partitions change owners. All of it is worker 0's but what says "any thread".
 *
 * A node that is to follow a new owner waits for the end of the old one's stream (END, or its lane closed), then
 * sends the new owner a picture of its clients' interest (Sync) and holds changes back until the owner says READY.
 * An owner begins when every member that is up has sent its picture. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/moves_int.h"

struct turnover turnover_begin(struct cluster *c)
{
    struct turnover t = {.cluster = c, .is_concerned = mem_new0(c->partition_count)};
    const struct half *half = half_0(c);
    for (uint32_t node = 0; half->map != NULL && node < half->map->node_count; node++) {
        if (node != half->self && node_is_up(half->map, node)) { t.members |= 1ULL << node; }
    }
    return t;
}

void turnover_end(struct turnover *t)
{
    mem_free(t->is_concerned);
}

/* ---- a turn's share ---- */

enum {
    NAME_BYTES = 8,      /* of a frame's, by which a turn's share is reckoned */
    NAMES_PER_STEP = 64, /* so many take as long as what every step takes, that is all stripes */
};

bool moves_may_work(struct cluster *c)
{
    uint64_t now_ns = worker_now_ns(half_0(c)->worker);
    if (c->work_turn_ns != now_ns) {
        c->work_turn_ns = now_ns;
        c->work_left = sync_frame_bytes(c) / NAME_BYTES + 1;
    }
    if (c->work_left == 0) { moves_soon(c); }
    return c->work_left > 0;
}

void moves_worked(struct cluster *c, size_t names)
{
    size_t done = names + NAMES_PER_STEP;
    c->work_left -= done < c->work_left ? done : c->work_left;
}

/* ---- the map changes ---- */

/* Follow one partition's row. Exclusive, under the place's lock. */
static void follow_row(struct turnover *t, uint32_t p, uint32_t owner, uint64_t epoch)
{
    struct cluster *c = t->cluster;
    struct place *place = &c->place[p];
    struct handover *h = &place->handover;
    struct remote_partition *at = directory_partition(c->directory, p);
    bool has_ordered = at->phase == PARTITION_OWNED;
    if (h->is_own && handover_rule(RULE_SEND_END)) {
        own_push_end(c, p, t->members, at->epoch, has_ordered ? at->seq : 0);
    }
    bool is_own = owner == half_0(c)->self && owner != PMAP_NOBODY;
    handover_take_row(h, owner, epoch, has_ordered ? at->seq : 0, is_own);
    if (t->is_reborn) {
        handover_forget_self(h);
        place->is_followed = false;
        at->snapshot = ++at->number; /* nobody has it */
    }
    place->warming_since_ns = is_own ? clock_mono_ns() : 0;
    at->owner = owner == PMAP_NOBODY ? REMOTE_NOBODY : owner;
    at->epoch = epoch;
    at->phase = PARTITION_STALE;
}

static uint64_t incarnation_of_self(struct cluster *c)
{
    const struct half *half = half_0(c);
    return node_is_up(half->map, half->self) ? half->map->node[half->self].incarnation : 0;
}

static void follow_rows(void *arg)
{
    struct turnover *t = arg;
    struct cluster *c = t->cluster;
    const struct pmap *map = half_0(c)->map;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition *at = directory_partition(c->directory, p);
        bool is_forgotten = t->is_reborn && handover_rule(RULE_FORGET_SELF);
        if (at->epoch == map->partition[p].epoch && !is_forgotten) { continue; }
        t->is_concerned[p] = true;
        lock_take(&c->place[p].lock);
        follow_row(t, p, map->partition[p].owner, map->partition[p].epoch);
        lock_release(&c->place[p].lock);
    }
    directory_forget_interest(c->directory, t->is_concerned);
    atomic_store(&c->own_incarnation, incarnation_of_self(c));
}

static void forget_node(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    directory_forget_node(c->directory, late->node);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        lock_take(&c->place[p].lock);
        handover_unstage(&c->place[p].handover, late->node);
        lock_release(&c->place[p].lock);
    }
}

/* What members that went, or came up anew, have told is void. */
static void follow_members(struct cluster *c)
{
    struct half *half = half_0(c);
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        bool is_up = node != half->self && node_is_up(half->map, node);
        uint64_t incarnation = is_up ? half->map->node[node].incarnation : 0;
        if (incarnation == atomic_load(&c->known_incarnation[node])) { continue; }
        struct latecomer late = {c, 0, node};
        directory_exclusive(c->directory, forget_node, &late);
        interest_node_gone(half, node);
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
    moves_missed(c, all);
    mem_free(all);
}

void moves_follow_map(struct cluster *c)
{
    if (half_0(c)->map == NULL) { return; }
    uint64_t known = atomic_load(&c->own_incarnation);
    follow_members(c);
    struct turnover t = turnover_begin(c);
    t.is_reborn = known != 0 && known != incarnation_of_self(c);
    directory_exclusive(c->directory, follow_rows, &t);
    if (t.is_reborn) { follow_self(c, known); }
    turnover_end(&t);
    directory_wake_lanes(c->directory);
    moves_progress(c);
}

void moves_progress(struct cluster *c)
{
    struct half *half = half_0(c);
    if (half->map == NULL || !node_is_up(half->map, half->self)) { return; }
    for (uint32_t node = 0; node < half->map->node_count; node++) {
        if (node != half->self && node_is_up(half->map, node) && c->patterns_told[node] == 0) {
            interest_tell_patterns(half, node);
        }
    }
    own_begin(c);
    own_take_latecomers(c);
    own_answer_outdated(c);
    follow_sync_owners(c);
    own_count(c);
    interest_look(half);
    half_look_all(c);
}

static bool place_is_settled(const struct half *half, const struct place *place)
{
    uint32_t owner = place->handover.stream.node;
    uint64_t incarnation = node_is_up(half->map, owner) ? half->map->node[owner].incarnation : 0;
    return place->is_followed && handover_is_settled(&place->handover, incarnation);
}

/* Until the owner has begun, it may still bring what its predecessor had ordered, and answered, before. */
static bool partition_is_settled(struct cluster *c, uint32_t p)
{
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.phase != PARTITION_OWNED && at.phase != PARTITION_READY) { return false; }
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool is_settled = place_is_settled(half_0(c), place);
    lock_release(&place->lock);
    return is_settled;
}

bool moves_are_settled(struct cluster *c)
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
    const struct inlet *inlet;
    uint32_t lane_count;
    bool is_clean;
};

/* The owner does not know it yet, and goes on putting on that lane what it orders and what it acknowledges: nobody is
 * to ask it any more to count a join until it has been told anew. Exclusive. */
static void lose_lane(void *arg)
{
    const struct lost_lane *lost = arg;
    const struct inlet *inlet = lost->inlet;
    struct cluster *c = inlet->half->cluster;
    bool *is_missing = mem_new0(c->partition_count);
    bool any = false;
    for (uint32_t p = inlet->worker; p < c->partition_count; p += lost->lane_count) {
        struct place *place = &c->place[p];
        lock_take(&place->lock);
        bool had_part = handover_lane_ended(&place->handover, inlet->node, inlet->number);
        lock_release(&place->lock);
        struct remote_partition *at = directory_partition(c->directory, p);
        if (had_part && at->owner == inlet->node) { partition_stale(at); }
        is_missing[p] = had_part && !lost->is_clean;
        any |= is_missing[p];
    }
    if (any) { moves_missed(c, is_missing); } /* before another lane may take this one's place */
    mem_free(is_missing);
}

void moves_lane_lost(const struct inlet *inlet, uint32_t lane_count, bool is_clean)
{
    struct cluster *c = inlet->half->cluster;
    if (atomic_load(&c->is_stopping)) { return; }
    struct lost_lane lost = {inlet, lane_count, is_clean};
    directory_exclusive(c->directory, lose_lane, &lost);
    event_post(half_0(c), (struct event){.run = on_lane_gone, .node = inlet->node});
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
        struct place *place = &stale->cluster->place[p];
        lock_take(&place->lock);
        handover_forget_fence(&place->handover);
        lock_release(&place->lock);
    }
}

/* Something that was on its way to the node, or from it, is lost: begin anew with it. */
static void begin_anew(struct cluster *c, uint32_t node)
{
    if (atomic_load(&c->is_stopping)) { return; }
    struct stale_owner stale = {c, node};
    directory_exclusive(c->directory, stale_partitions, &stale);
    interest_node_gone(half_0(c), node);
    moves_progress(c);
}

void moves_request_lost(struct cluster *c, uint32_t node)
{
    begin_anew(c, node);
}

static void on_lane_gone(struct event *event)
{
    begin_anew(event->half->cluster, event->node);
}

/* A move that waits for members that are up: the leader may think again about them. */
static void suspect_unsynced(struct cluster *c, uint32_t p, uint64_t now_ns)
{
    const struct pmap *map = half_0(c)->map;
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool is_late = place->warming_since_ns != 0 && now_ns - place->warming_since_ns > SUSPECT_NS;
    uint64_t nodes = 0;
    for (uint32_t node = 0; is_late && node < map->node_count; node++) {
        bool is_other = node != half_0(c)->self && node_is_up(map, node);
        if (is_other && !has_told(c, p, node)) { nodes |= 1ULL << node; }
    }
    lock_release(&place->lock);
    for (; nodes != 0; nodes &= nodes - 1) {
        const struct pmap_node *node = &map->node[__builtin_ctzll(nodes)];
        membership_suspect(c->membership, node->id, node->incarnation);
    }
}

void moves_tick(struct cluster *c)
{
    const struct half *half = half_0(c);
    if (half->map == NULL || atomic_load(&c->is_stopping)) { return; }
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.owner == half->self && at.phase != PARTITION_OWNED) {
            suspect_unsynced(c, p, now_ns);
        }
    }
    follow_ask_ends(c);
    watch_tick(c);
    moves_progress(c);
}

/* ---- moves_soon ---- */

static void on_progress(struct task *task)
{
    struct cluster *c = CONTAINER_OF(task, struct cluster, progress_task);
    atomic_store(&c->progress_is_posted, false);
    moves_progress(c);
}

void moves_soon(struct cluster *c)
{
    if (!atomic_exchange(&c->progress_is_posted, true)) {
        mailbox_post(worker_mailbox(half_0(c)->worker), &c->progress_task);
    }
}

void moves_init(struct cluster *c)
{
    c->progress_task.run = on_progress;
}
