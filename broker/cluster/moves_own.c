/* moves_own: this node begins to own partitions: what the members tell it (Sync), what the previous owner left
 * in their hands, and members that come late. Worker 0's; a place, whose staged pictures any worker may bring, is
 * under its lock. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/moves_int.h"
#include "pubsub/msg.h"

/* ---- what is staged ---- */

static void staged_clear(struct staged *staged)
{
    tail_clear(&staged->tail);
    buf_fini(&staged->names);
    mem_free(staged->entry);
    *staged = (struct staged){0};
    list_init(&staged->tail);
}

void staged_free(struct place *place, uint32_t node)
{
    if (place->staged[node] == NULL) { return; }
    staged_clear(place->staged[node]);
    mem_free(place->staged[node]);
    place->staged[node] = NULL;
}

static void stage_entry(struct staged *staged, const struct wire_sync_entry *entry)
{
    if (staged->entry_count == staged->entry_cap) {
        staged->entry_cap = staged->entry_cap > 0 ? staged->entry_cap * 2 : 16;
        staged->entry = mem_resize(staged->entry, staged->entry_cap * sizeof *staged->entry);
    }
    staged->entry[staged->entry_count++] = (struct staged_entry){
        entry->kind, entry->count, (uint32_t)entry->name.len, staged->names.len};
    buf_append(&staged->names, entry->name);
}

static void stage_run(struct staged *staged, const struct wire_run *run)
{
    struct tail_run *kept = mem_new0(sizeof *kept);
    struct block *block = block_new(run->data.len);
    memcpy(block->data, run->data.data, run->data.len);
    block->len = run->data.len;
    *kept = (struct tail_run){
        .seq = run->seq,
        .kind = run->kind,
        .count = run->count,
        .span = {block, block->data, run->data.len},
    };
    list_push_back(&staged->tail, &kept->link);
}

static bool sync_is_sane(const struct cluster *c, const struct wire_sync *sync)
{
    if (sync->partition >= c->partition_count) { return false; }
    for (size_t i = 0; i < sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &sync->entry[i];
        if (entry->kind == TOPIC_PATTERN ||
            directory_partition_of(c->directory, entry->name) != sync->partition) {
            return false;
        }
    }
    for (size_t i = 0; i < sync->tail_count; i++) {
        const struct wire_run *run = &sync->tail[i];
        struct slice channel = msg_channel(run->kind, run->data.data);
        if (run->count == 0 || directory_partition_of(c->directory, channel) != sync->partition) {
            return false;
        }
    }
    return true;
}

static void on_progress(struct event *event)
{
    moves_progress(event->half->cluster);
}

bool moves_on_sync(struct inlet *inlet, const struct wire_sync *sync)
{
    struct cluster *c = inlet->half->cluster;
    if (!sync_is_sane(c, sync)) { return false; }
    struct place *place = &c->place[sync->partition];
    lock_take(&place->lock);
    if (place->staged[inlet->node] == NULL) {
        place->staged[inlet->node] = mem_new0(sizeof(struct staged));
        list_init(&place->staged[inlet->node]->tail);
    }
    struct staged *staged = place->staged[inlet->node];
    if (sync->is_first) { staged_clear(staged); }
    staged->epoch = sync->epoch;
    for (size_t i = 0; i < sync->entry_count; i++) {
        stage_entry(staged, &sync->entry[i]);
    }
    for (size_t i = 0; i < sync->tail_count; i++) {
        stage_run(staged, &sync->tail[i]);
    }
    staged->is_done = sync->is_last;
    staged->seq = sync->seq;
    staged->tail_from = sync->tail_from;
    lock_release(&place->lock);
    if (sync->is_last) { event_post(half_0(c), (struct event){.run = on_progress}); }
    return true;
}
/* ---- this node's side: owning ---- */

/* Has every member that is up told us what it wants, and has the stream before ours ended? */
static bool may_begin(struct cluster *c, uint32_t p)
{
    const struct half *half = half_0(c);
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.owner != half->self || at.phase == PARTITION_OWNED) { return false; }
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool may = place->previous_owner == REMOTE_NOBODY;
    for (uint32_t node = 0; may && node < half->map->node_count; node++) {
        if (node == half->self || !node_is_up(half->map, node)) { continue; }
        may = is_synced(place, node, at.epoch);
    }
    lock_release(&place->lock);
    return may;
}

static void take_interest(struct directory *d, struct place *place, uint32_t node)
{
    struct staged *staged = place->staged[node];
    for (uint32_t i = 0; i < staged->entry_count; i++) {
        const struct staged_entry *entry = &staged->entry[i];
        struct slice name = slice_of(staged->names.data + entry->name_at, entry->name_len);
        directory_add_interest(d, node, entry->kind, name, entry->count);
    }
    staged->is_taken = true;
}

static void push_ready(struct cluster *c, uint32_t p, uint64_t nodes, bool is_missed)
{
    if (nodes == 0) { return; }
    struct lane_item *item = lane_item_new(c->directory, LANE_READY, nodes, p);
    item->seq = directory_partition(c->directory, p)->seq;
    item->is_missed = is_missed;
    directory_push_lane(c->directory, item);
}

void own_push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq)
{
    if (nodes == 0) { return; }
    struct lane_item *item = lane_item_new(c->directory, LANE_END, nodes, p);
    item->epoch = epoch;
    item->seq = seq;
    directory_push_lane(c->directory, item);
}

/* The numbers from which some node's tail is no longer whole, and the highest seen. */
static void survey(const struct place *place, uint64_t members, uint64_t *floor, uint64_t *seq)
{
    *floor = place->tail_from;
    *seq = place->seq;
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        const struct staged *staged = place->staged[__builtin_ctzll(nodes)];
        if (staged->tail_from > *floor) { *floor = staged->tail_from; }
        if (staged->seq > *seq) { *seq = staged->seq; }
    }
}

/* A walk over the tails of this node and of the members, in the order of their numbers, each run once. */
struct tails {
    struct list *head[PMAP_NODES_MAX + 1];
    struct list *at[PMAP_NODES_MAX + 1];
    uint32_t count;
};

static struct tails tails_begin(struct place *place, uint64_t members)
{
    struct tails t = {.head[0] = &place->tail, .at[0] = place->tail.next, .count = 1};
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        struct list *tail = &place->staged[__builtin_ctzll(nodes)]->tail;
        t.head[t.count] = tail;
        t.at[t.count++] = tail->next;
    }
    return t;
}

/* The run with the lowest number above `after`; NULL: none. */
static struct tail_run *tails_next(struct tails *t, uint64_t after)
{
    struct tail_run *best = NULL;
    for (uint32_t i = 0; i < t->count; i++) {
        while (t->at[i] != t->head[i] &&
               CONTAINER_OF(t->at[i], struct tail_run, link)->seq <= after) {
            t->at[i] = t->at[i]->next;
        }
        if (t->at[i] == t->head[i]) { continue; }
        struct tail_run *run = CONTAINER_OF(t->at[i], struct tail_run, link);
        if (best == NULL || run->seq < best->seq) { best = run; }
    }
    return best;
}

/* Give a run of the previous owner to those who want it and have not seen its number. */
static void recover_run(struct cluster *c, uint32_t p, struct place *place, uint64_t members,
                        const struct tail_run *run)
{
    struct slice channel = msg_channel(run->kind, run->span.data);
    uint64_t wanted = directory_interested(c->directory, run->kind, channel) & members;
    uint64_t nodes = 0;
    for (uint64_t left = wanted; left != 0; left &= left - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(left);
        if (place->staged[node]->seq < run->seq) { nodes |= 1ULL << node; }
    }
    if (nodes != 0) {
        struct lane_item *item = lane_item_new(c->directory, LANE_RUN, nodes, p);
        item->seq = run->seq;
        item->kind = run->kind;
        item->message_count = run->count;
        item->is_recovered = true;
        item->span = (struct span){block_ref(run->span.block), run->span.data, run->span.len};
        directory_push_lane(c->directory, item);
    }
}

static void recover(struct cluster *c, uint32_t p, struct place *place, uint64_t members)
{
    struct tails tails = tails_begin(place, members);
    struct tail_run *run;
    for (uint64_t after = 0; (run = tails_next(&tails, after)) != NULL; after = run->seq) {
        recover_run(c, p, place, members, run);
        if (run->seq > place->seq) { /* news to this node's own subscribers */
            struct slice channel = msg_channel(run->kind, run->span.data);
            const struct arrival arrival = {run->span, msg_prefix_bytes(run->kind, channel),
                                            run->count, run->kind, place->broken};
            fanout_deliver_exclusive(half_0(c)->fanout, &arrival);
        }
    }
}

struct beginning {
    struct turnover turnover;
    struct concern *missed;
};

/* Under the place's lock, exclusive. */
static void begin_one(struct beginning *b, uint32_t p)
{
    struct cluster *c = b->turnover.cluster;
    uint64_t members = b->turnover.members;
    struct place *place = &c->place[p];
    uint64_t floor;
    uint64_t seq;
    survey(place, members, &floor, &seq);
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        take_interest(c->directory, place, (uint32_t)__builtin_ctzll(nodes));
    }
    struct remote_partition *at = directory_partition(c->directory, p);
    at->phase = PARTITION_OWNED;
    at->seq = seq;
    at->followers = members;
    recover(c, p, place, members);
    place->is_followed = true;
    place->is_broken = false;
    uint64_t missed = 0;
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        if (place->staged[node]->seq + 1 < floor) { missed |= 1ULL << node; }
        tail_clear(&place->staged[node]->tail);
    }
    if (place->seq + 1 < floor) {
        b->missed->partition[p] = true;
        b->missed->patterns = true;
    }
    place->seq = seq;
    place_forget_tail(place);
    push_ready(c, p, members & ~missed, false);
    push_ready(c, p, missed, true);
}

static void begin_all(void *arg)
{
    struct beginning *b = arg;
    struct cluster *c = b->turnover.cluster;
    directory_forget_interest(c->directory, b->turnover.is_concerned);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!b->turnover.is_concerned[p]) { continue; }
        lock_take(&c->place[p].lock);
        begin_one(b, p);
        lock_release(&c->place[p].lock);
    }
}

static void log_begun(struct cluster *c, const bool *is_concerned)
{
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!is_concerned[p]) { continue; }
        uint64_t us = (now_ns - c->place[p].warming_since_ns) / 1000;
        c->place[p].warming_since_ns = 0;
        atomic_store(&c->last_warmup_us, us);
        LOG_INFO("owner of a partition", LOG_UINT("partition", p),
                 LOG_UINT("epoch", c->place[p].epoch), LOG_UINT("warm_up_us", us));
    }
}

void own_count(struct cluster *c)
{
    uint32_t owned = 0;
    uint32_t warming = 0;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.owner != half_0(c)->self || at.owner == REMOTE_NOBODY) { continue; }
        owned += at.phase == PARTITION_OWNED;
        warming += at.phase != PARTITION_OWNED;
    }
    atomic_store(&c->owned, owned);
    atomic_store(&c->warming, warming);
    struct membership *membership = c->membership;
    if (membership != NULL) { membership_set_warming(membership, warming); }
}

void own_begin(struct cluster *c)
{
    struct beginning b = {.turnover = turnover_begin(c), .missed = concern_new(c)};
    for (uint32_t p = 0; p < c->partition_count; p++) {
        b.turnover.is_concerned[p] = may_begin(c, p);
        b.turnover.any |= b.turnover.is_concerned[p];
    }
    if (b.turnover.any) {
        directory_exclusive(c->directory, begin_all, &b);
        directory_wake_lanes(c->directory);
        log_begun(c, b.turnover.is_concerned);
        half_look_all(c);
    }
    if (b.missed->patterns) {
        concern_close(c, b.missed);
    } else {
        mem_free(b.missed);
    }
    turnover_end(&b.turnover);
}

/* A member that comes late, or again, to a partition that is ordered already. */
static void take_latecomer(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct place *place = &c->place[late->partition];
    lock_take(&place->lock);
    directory_forget_node_partition(c->directory, late->node, late->partition);
    take_interest(c->directory, place, late->node);
    directory_partition(c->directory, late->partition)->followers |= 1ULL << late->node;
    tail_clear(&place->staged[late->node]->tail);
    push_ready(c, late->partition, 1ULL << late->node, false);
    lock_release(&place->lock);
}

void own_take_latecomers(struct cluster *c)
{
    const struct half *half = half_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.phase != PARTITION_OWNED) { continue; }
        struct place *place = &c->place[p];
        for (uint32_t node = 0; node < half->map->node_count; node++) {
            lock_take(&place->lock);
            bool is_late = is_synced(place, node, at.epoch) && !place->staged[node]->is_taken;
            lock_release(&place->lock);
            if (!is_late || !node_is_up(half->map, node)) { continue; }
            struct latecomer late = {c, p, node};
            directory_exclusive(c->directory, take_latecomer, &late);
            directory_wake_lanes(c->directory);
        }
    }
}

/* Whoever syncs with an owner that was, because it does not know better yet, has to be told the end of a stream
 * that it has not seen the end of: END may have gone out before its lane was there. */
static void answer_outdated(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct place *place = &c->place[late->partition];
    lock_take(&place->lock);
    struct staged *staged = place->staged[late->node];
    own_push_end(c, late->partition, 1ULL << late->node, staged->epoch, 0);
    staged->is_taken = true;
    lock_release(&place->lock);
}

void own_answer_outdated(struct cluster *c)
{
    const struct half *half = half_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        struct place *place = &c->place[p];
        for (uint32_t node = 0; node < half->map->node_count; node++) {
            lock_take(&place->lock);
            const struct staged *staged = place->staged[node];
            bool is_outdated =
                staged != NULL && staged->is_done && !staged->is_taken && staged->epoch < at.epoch;
            lock_release(&place->lock);
            if (!is_outdated) { continue; }
            struct latecomer late = {c, p, node};
            directory_exclusive(c->directory, answer_outdated, &late);
            directory_wake_lanes(c->directory);
        }
    }
}
