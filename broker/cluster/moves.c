/* moves: partitions change owners. All of it is worker 0's but what says "any thread".
 *
 * A node that is to follow a new owner waits for the end of the old one's stream (END, or its lane closed), then
 * sends the new owner a picture of its clients' interest (Sync) and holds changes back until the owner says READY.
 * An owner begins when every member that is up has sent its picture. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"
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

static void staged_free(struct place *place, uint32_t node)
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

static void on_lane_gone(struct event *event);

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

/* ---- closing subscribers that may have missed something ---- */

struct concern {
    struct directory *directory;
    bool everything;
    bool patterns;
    bool partition[];
};

static bool concerns(void *arg, enum topic_kind kind, struct slice name)
{
    const struct concern *concern = arg;
    if (concern->everything) { return true; }
    if (kind == TOPIC_PATTERN) { return concern->patterns; }
    return concern->partition[directory_partition_of(concern->directory, name)];
}

static void on_close_subscribers(struct event *event)
{
    struct cluster *c = event->half->cluster;
    c->opts.close_subscribers(c->opts.arg, event->half->index, concerns, event->pointer);
    mem_free(event->pointer);
}

static struct concern *concern_new(const struct cluster *c)
{
    struct concern *concern = mem_new0(sizeof *concern + c->partition_count);
    concern->directory = c->directory;
    return concern;
}

/* Takes: concern. Any thread. */
static void close_subscribers(struct cluster *c, struct concern *concern)
{
    size_t bytes = sizeof *concern + c->partition_count;
    for (uint32_t i = 0; i < c->worker_count; i++) {
        struct concern *copy = mem_new(bytes);
        memcpy(copy, concern, bytes);
        event_post(c->half[i], (struct event){.run = on_close_subscribers, .pointer = copy});
    }
    mem_free(concern);
}

void moves_lane_lost(struct cluster *c, uint32_t node, uint32_t lane, uint32_t lane_count,
                     bool is_clean)
{
    if (atomic_load(&c->is_stopping)) { return; }
    struct concern *concern = is_clean ? NULL : concern_new(c);
    for (uint32_t p = lane; p < c->partition_count; p += lane_count) {
        struct place *place = &c->place[p];
        lock_take(&place->lock);
        bool was_previous = place->previous_owner == node;
        bool was_owner = place->owner == node;
        if (was_previous) { place->previous_owner = REMOTE_NOBODY; }
        bool had_stream = was_previous || (was_owner && place->has_stream);
        if (was_previous || (had_stream && !place->is_ended)) {
            place->is_broken = true;
            place->broken = (struct origin){(uint8_t)node, (uint8_t)lane};
        }
        if (was_owner) { place->has_stream = false; }
        lock_release(&place->lock);
        if (concern != NULL && had_stream) {
            concern->partition[p] = true;
            concern->patterns = true;
        }
    }
    if (concern != NULL && concern->patterns) {
        close_subscribers(c, concern);
    } else {
        mem_free(concern);
    }
    event_post(half_0(c), (struct event){.run = on_lane_gone, .node = node});
}

/* ---- this node's side: following an owner ---- */

static void set_stale(struct remote_partition *at)
{
    at->phase = PARTITION_STALE;
    at->stale_count++;
}

/* Bodies of directory_exclusive get one of these. */
struct turnover {
    struct cluster *cluster;
    bool *is_concerned; /* by partition */
    bool any;
    struct picture *picture; /* by partition */
    uint64_t members;        /* up, without this node */
};

static struct turnover turnover_begin(struct cluster *c)
{
    struct turnover t = {.cluster = c, .is_concerned = mem_new0(c->partition_count)};
    const struct half *half = half_0(c);
    for (uint32_t node = 0; half->map != NULL && node < half->map->node_count; node++) {
        if (node != half->self && node_is_up(half->map, node)) { t.members |= 1ULL << node; }
    }
    return t;
}

static void turnover_end(struct turnover *t)
{
    mem_free(t->is_concerned);
}

/* The names of one partition, for its owner. */
struct picture {
    struct buf names;
    struct wire_sync_entry *entry;
    size_t count;
    size_t cap;
};

static void picture_add(void *arg, uint32_t partition, enum topic_kind kind, struct slice name,
                        uint64_t count)
{
    struct turnover *t = arg;
    if (!t->is_concerned[partition]) { return; }
    struct picture *picture = &t->picture[partition];
    if (picture->count == picture->cap) {
        picture->cap = picture->cap > 0 ? picture->cap * 2 : 16;
        picture->entry = mem_resize(picture->entry, picture->cap * sizeof *picture->entry);
    }
    picture->entry[picture->count++] = (struct wire_sync_entry){
        .kind = kind, .name = slice_of(NULL, name.len), .count = (uint32_t)count};
    buf_append(&picture->names, name);
}

static void take_pictures(void *arg)
{
    struct turnover *t = arg;
    struct cluster *c = t->cluster;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (t->is_concerned[p]) { directory_partition(c->directory, p)->phase = PARTITION_SYNCED; }
    }
    directory_each_local(c->directory, TOPIC_CHANNEL, picture_add, t);
    directory_each_local(c->directory, TOPIC_SHARD, picture_add, t);
}

static struct wire_run *tail_as_runs(const struct place *place, size_t *count)
{
    *count = 0;
    LIST_EACH (at, &place->tail) {
        (*count)++;
    }
    struct wire_run *runs = mem_new0((*count + 1) * sizeof *runs);
    size_t i = 0;
    LIST_EACH (at, &place->tail) {
        const struct tail_run *run = CONTAINER_OF(at, struct tail_run, link);
        runs[i++] = (struct wire_run){.seq = run->seq,
                                      .kind = run->kind,
                                      .count = run->count,
                                      .data = slice_of(run->span.data, run->span.len)};
    }
    return runs;
}

static void sync_send(struct cluster *c, uint32_t p, struct picture *picture, struct outlet *outlet,
                      uint64_t epoch)
{
    size_t at = 0;
    for (size_t i = 0; i < picture->count; i++) {
        picture->entry[i].name.data = picture->names.data + at;
        at += picture->entry[i].name.len;
    }
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    place->has_stream = true;
    place->incarnation = outlet->incarnation;
    size_t tail_count;
    struct wire_run *tail = tail_as_runs(place, &tail_count);
    size_t begun = 0;
    bool is_last;
    do {
        size_t bytes = 0;
        size_t end = begun;
        while (end < picture->count && bytes < SYNC_FRAME_BYTES) {
            bytes += picture->entry[end++].name.len + 16;
        }
        is_last = end == picture->count;
        const struct wire_frame frame = {
            .type = WIRE_SYNC,
            .sync = {.partition = p,
                     .epoch = epoch,
                     .is_first = begun == 0,
                     .is_last = is_last,
                     .entry = picture->entry + begun,
                     .entry_count = end - begun,
                     .seq = place->seq,
                     .tail_from = place->tail_from,
                     .tail = tail,
                     .tail_count = is_last ? tail_count : 0},
        };
        outlet_send(outlet, outlet->request, &frame);
        begun = end;
    } while (!is_last);
    lock_release(&place->lock);
    mem_free(tail);
}

/* May the partition's owner be told our interest now? */
static bool may_sync(struct cluster *c, uint32_t p)
{
    struct half *half = half_0(c);
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.phase != PARTITION_STALE || at.owner == REMOTE_NOBODY || at.owner == half->self) {
        return false;
    }
    struct outlet *outlet = half->outlet[at.owner];
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool is_at_end = place->previous_owner == REMOTE_NOBODY && !place->is_ended;
    lock_release(&place->lock);
    return is_at_end && outlet_can_ask(outlet) && lanes_complete(c, at.owner) > 0 &&
           c->patterns_told[at.owner] != 0;
}

static void sync_owners(struct cluster *c)
{
    struct turnover t = turnover_begin(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        t.is_concerned[p] = may_sync(c, p);
        t.any |= t.is_concerned[p];
    }
    if (t.any) {
        t.picture = mem_new0(c->partition_count * sizeof *t.picture);
        directory_exclusive(c->directory, take_pictures, &t);
        for (uint32_t p = 0; p < c->partition_count; p++) {
            if (!t.is_concerned[p]) { continue; }
            const struct remote_partition at = directory_partition_peek(c->directory, p);
            sync_send(c, p, &t.picture[p], half_0(c)->outlet[at.owner], at.epoch);
            buf_fini(&t.picture[p].names);
            mem_free(t.picture[p].entry);
        }
        mem_free(t.picture);
    }
    turnover_end(&t);
}

static void on_ready(struct event *event);

void moves_on_ready(struct cluster *c, uint32_t node, const struct wire_ready *ready)
{
    struct place *place = &c->place[ready->partition];
    lock_take(&place->lock);
    bool is_current = place->owner == node && place->epoch == ready->epoch;
    if (is_current) {
        place->seq = ready->seq;
        place->stable = ready->seq;
        place->is_broken = false;
        place_forget_tail(place);
    }
    lock_release(&place->lock);
    if (!is_current) { return; }
    if (ready->is_missed) {
        struct concern *concern = concern_new(c);
        concern->patterns = true;
        concern->partition[ready->partition] = true;
        close_subscribers(c, concern);
    }
    event_post(half_0(c), (struct event){.run = on_ready,
                                         .node = node,
                                         .partition = ready->partition,
                                         .a = ready->epoch});
}

static void mark_ready(void *arg)
{
    const struct event *event = arg;
    struct remote_partition *at =
        directory_partition(event->half->cluster->directory, event->partition);
    if (at->phase == PARTITION_SYNCED && at->owner == event->node && at->epoch == event->a) {
        at->phase = PARTITION_READY;
        event->half->cluster->place[event->partition].is_followed = true;
    }
}

static void on_ready(struct event *event)
{
    directory_exclusive(event->half->cluster->directory, mark_ready, event);
    interest_look(event->half);
    half_look_all(event->half->cluster);
}

/* ---- this node's side: owning ---- */

static bool is_synced(const struct place *place, uint32_t node, uint64_t epoch)
{
    const struct staged *staged = place->staged[node];
    return staged != NULL && staged->is_done && staged->epoch == epoch;
}

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

static void push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq)
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

/* The tails of all, in the order of their numbers, each run once. */
static struct tail_run *next_tail_run(struct place *place, uint64_t members, uint64_t after)
{
    struct tail_run *best = NULL;
    uint64_t nodes = members;
    struct list *tail = &place->tail;
    while (true) {
        LIST_EACH (at, tail) {
            struct tail_run *run = CONTAINER_OF(at, struct tail_run, link);
            if (run->seq > after && (best == NULL || run->seq < best->seq)) { best = run; }
        }
        if (nodes == 0) { return best; }
        tail = &place->staged[__builtin_ctzll(nodes)]->tail;
        nodes &= nodes - 1;
    }
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
    uint64_t after = 0;
    struct tail_run *run;
    while ((run = next_tail_run(place, members, after)) != NULL) {
        after = run->seq;
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

static void count_owned(struct cluster *c)
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

static void begin_owning(struct cluster *c)
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
        close_subscribers(c, b.missed);
    } else {
        mem_free(b.missed);
    }
    turnover_end(&b.turnover);
}

/* A member that comes late, or again, to a partition that is ordered already. */
struct latecomer {
    struct cluster *cluster;
    uint32_t partition;
    uint32_t node;
};

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

static void take_latecomers(struct cluster *c)
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
    push_end(c, late->partition, 1ULL << late->node, staged->epoch, 0);
    staged->is_taken = true;
    lock_release(&place->lock);
}

static void answer_outdated_syncs(struct cluster *c)
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

/* ---- the map changes ---- */

/* The lane on which a node's stream of a partition comes. */
static uint8_t lane_of(struct cluster *c, uint32_t node, uint32_t p)
{
    lock_take(&c->lock);
    uint32_t count = c->from[node].worker_count;
    lock_release(&c->lock);
    return count > 0 ? (uint8_t)(p % count) : 0;
}

/* Follow one partition's row. Exclusive, under the place's lock. */
static void follow_row(struct turnover *t, uint32_t p, uint32_t owner, uint64_t epoch)
{
    struct cluster *c = t->cluster;
    const uint32_t self = half_0(c)->self;
    struct place *place = &c->place[p];
    struct remote_partition *at = directory_partition(c->directory, p);
    if (place->is_own) {
        place->seq = at->seq > place->seq ? at->seq : place->seq;
        at->seq = place->seq;
        push_end(c, p, t->members, at->epoch, at->seq);
    } else if (place->has_stream && !place->is_ended) { /* it has yet to end */
        place->previous_owner = place->owner;
        place->previous_epoch = place->epoch;
        place->is_broken = true; /* until then */
        place->broken = (struct origin){(uint8_t)place->owner, lane_of(c, place->owner, p)};
    }
    place->owner = owner == self ? REMOTE_NOBODY : owner;
    place->is_own = owner == self && owner != PMAP_NOBODY;
    place->epoch = epoch;
    place->is_ended = false;
    place->has_stream = false;
    place->warming_since_ns = place->is_own ? clock_mono_ns() : 0;
    at->owner = owner == PMAP_NOBODY ? REMOTE_NOBODY : owner;
    at->epoch = epoch;
    set_stale(at);
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
        if (at->epoch == map->partition[p].epoch) { continue; }
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
        staged_free(&c->place[p], late->node);
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

/* This node was declared down, or is a new member: its clients have missed what it cannot know. */
static void follow_self(struct cluster *c)
{
    uint64_t known = atomic_load(&c->own_incarnation);
    if (known == 0 || known == incarnation_of_self(c)) { return; }
    LOG_WARN("this node was declared down: its subscribers are closed",
             LOG_UINT("incarnation", known));
    struct concern *concern = concern_new(c);
    concern->everything = true;
    close_subscribers(c, concern);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        c->place[p].is_followed = false;
    }
}

void moves_follow_map(struct cluster *c)
{
    if (half_0(c)->map == NULL) { return; }
    follow_self(c);
    follow_members(c);
    struct turnover t = turnover_begin(c);
    directory_exclusive(c->directory, follow_rows, &t);
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
    begin_owning(c);
    take_latecomers(c);
    answer_outdated_syncs(c);
    sync_owners(c);
    count_owned(c);
    interest_look(half);
    half_look_all(c);
}

static bool place_is_settled(const struct half *half, const struct place *place)
{
    if (!place->is_followed || place->is_broken) { return false; }
    if (place->is_own || !place->has_stream) { return true; }
    return node_is_up(half->map, place->owner) &&
           half->map->node[place->owner].incarnation == place->incarnation;
}

bool moves_are_settled(struct cluster *c)
{
    bool are_settled = true;
    for (uint32_t p = 0; are_settled && p < c->partition_count; p++) {
        struct place *place = &c->place[p];
        lock_take(&place->lock);
        are_settled = place_is_settled(half_0(c), place);
        lock_release(&place->lock);
    }
    return are_settled;
}

/* ---- connections come and go ---- */

struct stale_owner {
    struct cluster *cluster;
    uint32_t node;
};

static void stale_partitions(void *arg)
{
    const struct stale_owner *stale = arg;
    for (uint32_t p = 0; p < stale->cluster->partition_count; p++) {
        struct remote_partition *at = directory_partition(stale->cluster->directory, p);
        bool is_told = at->phase == PARTITION_SYNCED || at->phase == PARTITION_READY;
        if (at->owner == stale->node && is_told) { set_stale(at); }
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
static void suspect_unsynced(struct cluster *c, uint32_t p, uint64_t epoch, uint64_t now_ns)
{
    const struct pmap *map = half_0(c)->map;
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool is_late = place->warming_since_ns != 0 && now_ns - place->warming_since_ns > SUSPECT_NS;
    uint64_t nodes = 0;
    for (uint32_t node = 0; is_late && node < map->node_count; node++) {
        bool is_other = node != half_0(c)->self && node_is_up(map, node);
        if (is_other && !is_synced(place, node, epoch)) { nodes |= 1ULL << node; }
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
            suspect_unsynced(c, p, at.epoch, now_ns);
        }
    }
    moves_progress(c);
}

void moves_free(struct cluster *c)
{
    for (uint32_t p = 0; p < c->partition_count; p++) {
        for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
            staged_free(&c->place[p], node);
        }
    }
}
