/* interest_sync: changes of our clients' subscriptions on their way to who counts them (a channel's owner; every
 * member for a pattern) and, acknowledged, back into this node's order; and other nodes' changes.
 * A change that was sent is in cluster.changes under the id it was sent with. Whoever takes it out of there
 * decides what becomes of it: the acknowledgement, or its worker when it has to be sent again. */
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"

struct change_key {
    struct map_node node;
    uint64_t id;
    struct interest_change *change;
    uint64_t epoch; /* it was sent under */
};

static struct slice id_slice(const uint64_t *id)
{
    return slice_of((const char *)id, sizeof *id);
}

static uint64_t change_register(struct half *half, struct interest_change *change, uint64_t epoch)
{
    struct change_key *key = mem_new0(sizeof *key);
    key->id = ++half->next_id << 8 | half->index;
    key->change = change;
    key->epoch = epoch;
    key->node.key = id_slice(&key->id);
    struct cluster *c = half->cluster;
    lock_take(&c->lock);
    map_insert(&c->changes, &key->node, slice_hash(key->node.key));
    lock_release(&c->lock);
    return key->id;
}

/* Gives: the change that was sent with the id, or NULL if it is not waited for (any more). */
static struct interest_change *change_take(struct cluster *c, uint64_t id, uint64_t *epoch)
{
    struct interest_change *change = NULL;
    lock_take(&c->lock);
    struct map_node *node = map_find(&c->changes, id_slice(&id), slice_hash(id_slice(&id)));
    if (node != NULL) {
        struct change_key *key = CONTAINER_OF(node, struct change_key, node);
        map_remove(&c->changes, node);
        change = key->change;
        *epoch = key->epoch;
        mem_free(key);
    }
    lock_release(&c->lock);
    return change;
}

static void send_interest(struct outlet *outlet, const struct interest_change *change, uint64_t id,
                          uint64_t epoch, int32_t delta)
{
    const struct wire_frame frame = {
        .type = WIRE_INTEREST,
        .interest = {.id = id,
                     .partition = change->partition,
                     .epoch = epoch,
                     .kind = change->kind,
                     .name = interest_change_name(change),
                     .change = delta},
    };
    outlet_send(outlet, outlet->request, &frame);
}

/* ---- channels ---- */

static void pattern_begin(struct event *event);

void interest_change(void *arg, struct interest_change *change)
{
    struct half *half = arg;
    if (change->kind == TOPIC_PATTERN) {
        event_post(half_0(half->cluster), (struct event){.run = pattern_begin, .pointer = change});
        return;
    }
    list_push_back(&half->waiting[change->partition].changes, &change->link);
    half_due(half, change->partition);
}

static void drop(struct interest_change *change)
{
    list_remove(&change->link);
    interest_change_free(change);
}

/* One change whose client is gone, not sent yet. */
static void flush_orphan(struct outlet *outlet, struct interest_change *change,
                         const struct remote_partition *at)
{
    bool is_right = change->is_drop && change->epoch == at->epoch;
    if (is_right && at->phase == PARTITION_SYNCED) { return; } /* once the owner is ready */
    if (is_right && at->phase == PARTITION_READY) {
        if (!outlet_can_ask(outlet)) { return; }
        send_interest(outlet, change, 0, at->epoch, -1);
    }
    drop(change);
}

static void flush_change(struct half *half, struct outlet *outlet, struct interest_change *change,
                         const struct remote_partition *at)
{
    if (change->subscriber == NULL) {
        flush_orphan(outlet, change, at);
    } else if (at->phase == PARTITION_OWNED && half_lease(half) != 0) {
        change->is_sent = true;
        bool is_void = directory_apply_change(half->cluster->directory, change);
        CHECK(!is_void); /* its client is there, and this is its worker */
    } else if (at->phase == PARTITION_READY && outlet_can_ask(outlet)) {
        change->is_sent = true;
        change->id = change_register(half, change, at->epoch);
        send_interest(outlet, change, change->id, at->epoch, change->is_join ? 1 : -1);
    }
}

void interest_flush(struct half *half, uint32_t partition)
{
    struct waiting *w = &half->waiting[partition];
    if (list_is_empty(&w->changes)) { return; }
    struct remote_partition at = directory_partition_peek(half->cluster->directory, partition);
    if (w->stale_seen != at.stale_count) { /* what was sent before may be lost: it is sent again */
        w->stale_seen = at.stale_count;
        interest_stale(half, partition);
    }
    struct outlet *outlet = at.owner < PMAP_NODES_MAX ? half->outlet[at.owner] : NULL;
    LIST_EACH (link, &w->changes) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        if (!change->is_sent) { flush_change(half, outlet, change, &at); }
    }
}

void interest_stale(struct half *half, uint32_t partition)
{
    LIST_EACH (link, &half->waiting[partition].changes) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        uint64_t epoch;
        if (!change->is_sent) { continue; }
        if (change_take(half->cluster, change->id, &epoch) == NULL) { continue; } /* acknowledged */
        change->is_sent = false;
    }
}

static void fail_old(struct half *half, uint32_t partition, uint64_t since_ns)
{
    LIST_EACH (link, &half->waiting[partition].changes) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        if (change->is_sent || change->since_ns > since_ns || change->subscriber == NULL) {
            continue;
        }
        list_remove(&change->link);
        interest_change_end(change, ERR_CLUSTER_DOWN);
    }
}

static void pattern_tick(struct half *half, uint64_t since_ns);

void interest_tick(struct half *half)
{
    struct cluster *c = half->cluster;
    uint64_t since_ns = clock_mono_ns() - (uint64_t)c->opts.timeout_ms * NS_PER_MS;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (list_is_empty(&half->waiting[p].changes)) { continue; }
        half_due(half, p);
        fail_old(half, p, since_ns);
    }
    if (half->index == 0) { pattern_tick(half, since_ns); }
}

static void take_back(struct event *event)
{
    struct interest_change *change = event->pointer;
    struct outlet *outlet = event->half->outlet[event->node];
    struct remote_partition at =
        directory_partition_peek(event->half->cluster->directory, change->partition);
    bool is_right = at.phase == PARTITION_READY && at.owner == event->node && at.epoch == event->a;
    if (is_right && outlet_can_ask(outlet)) { send_interest(outlet, change, 0, at.epoch, -1); }
    mem_free(change);
}

/* A join was counted whose client has gone: have it taken back. `change` is its worker's from the applying on,
 * so what is needed is copied before. */
static struct interest_change *copy_of(const struct interest_change *change)
{
    struct interest_change *copy = mem_new0(sizeof *copy + change->name_len + 1);
    copy->kind = change->kind;
    copy->partition = change->partition;
    copy->name_len = change->name_len;
    memcpy(copy->name, change->name, change->name_len);
    return copy;
}

static void on_pattern_ack(struct inlet *inlet, uint64_t id);

/* What was ordered up to here and was for this node has come before: what is recovered of it is not for those who
 * have subscribed since. */
static void note_seq(struct cluster *c, uint32_t node, uint32_t partition, uint64_t seq)
{
    struct place *place = &c->place[partition];
    lock_take(&place->lock);
    bool is_its = place->owner == node || place->previous_owner == node;
    if (is_its && seq > place->seq) { place->seq = seq; }
    lock_release(&place->lock);
}

static void note_seqs(struct inlet *inlet, const struct wire_interest_ack *ack)
{
    bool is_pattern = ack->kind == TOPIC_PATTERN;
    struct cluster *c = inlet->half->cluster;
    lock_take(&c->lock);
    uint32_t step = is_pattern ? c->from[inlet->node].worker_count : 1;
    lock_release(&c->lock);
    uint32_t partition = is_pattern ? inlet->worker : ack->partition;
    size_t count = is_pattern || ack->seq_count == 0 ? ack->seq_count : 1;
    for (size_t i = 0; i < count && partition < c->partition_count; i++, partition += step) {
        note_seq(c, inlet->node, partition, ack->seq[i]);
    }
}

void interest_on_ack(struct inlet *inlet, const struct wire_interest_ack *ack)
{
    struct half *half = inlet->half;
    struct cluster *c = half->cluster;
    note_seqs(inlet, ack);
    if (ack->kind == TOPIC_PATTERN) {
        on_pattern_ack(inlet, ack->id);
        return;
    }
    uint64_t epoch = 0;
    struct interest_change *change = change_take(c, ack->id, &epoch);
    if (change == NULL) { return; }
    struct half *owner = c->half[ack->id & 0xff];
    struct interest_change *copy = copy_of(change);
    if (directory_apply_change(c->directory, change)) {
        event_post(owner, (struct event){
                              .run = take_back, .node = inlet->node, .a = epoch, .pointer = copy});
    } else {
        mem_free(copy);
    }
}

bool interest_on_request(struct inlet *inlet, const struct wire_interest *interest)
{
    struct cluster *c = inlet->half->cluster;
    if (interest->partition >= c->partition_count || interest->change == 0) { return false; }
    bool is_pattern = interest->kind == TOPIC_PATTERN;
    if (!is_pattern &&
        directory_partition_of(c->directory, interest->name) != interest->partition) {
        return false;
    }
    /* Without a lease nothing may be acknowledged: the sender begins anew with us, or with who comes after. */
    if (half_lease(inlet->half) == 0) {
        peer_in_close(inlet->in, true);
        return true;
    }
    /* Not counted when this node does not order the partition any more: the sender, when it learns of the
     * move, asks the new owner. */
    (void)!directory_change_interest(c->directory, inlet->node, interest->kind, interest->name,
                                     interest->partition, interest->epoch, interest->change,
                                     interest->id);
    return true;
}

/* ---- patterns: worker 0 of this node tells all members ---- */

static bool op_is_done(const struct half *half, const struct pattern_op *op)
{
    for (uint32_t node = 0; node < half->map->node_count; node++) {
        if (node == half->self || !node_is_up(half->map, node)) { continue; }
        if (op->asked[node].id == 0 || op->asked[node].remaining > 0) { return false; }
    }
    return true;
}

/* Under cluster.lock. `id` is that of an acknowledgement. NULL: it has ended. */
static struct pattern_op *op_find(struct cluster *c, uint64_t id)
{
    id >>= 8;
    struct map_node *node = map_find(&c->patterns, id_slice(&id), slice_hash(id_slice(&id)));
    return node != NULL ? CONTAINER_OF(node, struct pattern_op, by_id) : NULL;
}

static struct pattern_op *op_new(struct half *half, struct interest_change *change)
{
    struct cluster *c = half->cluster;
    struct pattern_op *op = mem_new0(sizeof *op);
    op->change = change;
    op->id = ++half->next_id;
    op->by_id.key = id_slice(&op->id);
    list_push_back(&c->pattern_ops, &op->link);
    lock_take(&c->lock);
    map_insert(&c->patterns, &op->by_id, slice_hash(op->by_id.key));
    lock_release(&c->lock);
    return op;
}

/* From here on no lane finds it. */
static void op_leave(struct cluster *c, struct pattern_op *op)
{
    lock_take(&c->lock);
    map_remove(&c->patterns, &op->by_id);
    lock_release(&c->lock);
    list_remove(&op->link);
}

/* If its link or one of its lanes is gone, the node will be told all patterns anew, and asked again then. Who is asked
 * again may still acknowledge the first time: that is not enough to wait for, but the subscriber hears of it. */
static void op_ask(struct half *half, struct pattern_op *op, uint32_t node)
{
    struct pattern_asked *asked = &op->asked[node];
    *asked = (struct pattern_asked){.remaining = lanes_complete(half->cluster, node)};
    if (asked->remaining == 0 || !outlet_can_ask(half->outlet[node])) { return; }
    asked->id = op->id << 8 | op->asked_count++;
    send_interest(half->outlet[node], op->change, asked->id, 0, op->change->is_join ? 1 : -1);
}

/* Those nodes have been asked to count it, and are not to. */
static void join_take_back(struct half *half, const struct interest_change *change, uint64_t nodes)
{
    for (; nodes != 0; nodes &= nodes - 1) {
        struct outlet *outlet = half->outlet[__builtin_ctzll(nodes)];
        if (outlet_can_ask(outlet)) { send_interest(outlet, change, 0, 0, -1); }
    }
}

static void tell_all(struct half *half, const struct interest_change *change, uint64_t seq)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        uint64_t told = half->cluster->patterns_told[node];
        struct outlet *outlet = half->outlet[node];
        if (told == 0 || told > seq || !outlet_can_ask(outlet)) { continue; }
        send_interest(outlet, change, 0, 0, -1);
    }
}

/* All count it, or have ceased to; or it is given up: then change->err is set. */
static void op_end(struct half *half, struct pattern_op *op)
{
    struct cluster *c = half->cluster;
    struct interest_change *copy = copy_of(op->change); /* from its end on it is its worker's */
    bool is_refused = op->change->err != ERR_OK;
    uint64_t nodes = 0;
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (op->asked[node].id != 0) { nodes |= 1ULL << node; }
    }
    op_leave(c, op);
    bool is_void = directory_end_change(c->directory, op->change);
    if (is_void || is_refused) { join_take_back(half, copy, nodes); }
    mem_free(copy);
    mem_free(op);
}

static void ops_look(struct half *half)
{
    if (half->map == NULL) { return; }
    LIST_EACH (at, &half->cluster->pattern_ops) {
        struct pattern_op *op = CONTAINER_OF(at, struct pattern_op, link);
        if (!op_is_done(half, op)) { continue; }
        if (!moves_are_settled(half->cluster)) { return; }
        op_end(half, op);
    }
}

void interest_look(struct half *half)
{
    ops_look(half);
}

static void pattern_fail(struct half *half, struct pattern_op *op);

static void pattern_begin(struct event *event)
{
    struct half *half = event->half;
    struct cluster *c = half->cluster;
    struct interest_change *change = event->pointer;
    if (change->is_drop) {
        tell_all(half, change, change->epoch);
        interest_change_free(change);
        return;
    }
    if (!directory_begin_change(c->directory, change)) {
        interest_change_give_back(change);
        return;
    }
    struct pattern_op *op = op_new(half, change);
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (c->patterns_told[node] != 0) { op_ask(half, op, node); }
    }
    if (atomic_load(&c->is_stopping)) {
        pattern_fail(half, op);
    } else {
        ops_look(half);
    }
}

static void on_pattern_counted(struct event *event)
{
    struct half *half = event->half;
    struct cluster *c = half->cluster;
    lock_take(&c->lock);
    struct pattern_op *op = op_find(c, event->a);
    lock_release(&c->lock);
    struct pattern_asked *asked = op != NULL ? &op->asked[event->node] : NULL;
    if (asked == NULL || asked->id != event->a || asked->remaining == 0) { return; }
    asked->remaining--;
    ops_look(half);
}

/* On the lane's worker. The subscriber's worker is told here, so that it hears of it between what has come on
 * this lane before and after; under the lock, so that it does before the change's end. */
static void on_pattern_ack(struct inlet *inlet, uint64_t id)
{
    struct cluster *c = inlet->half->cluster;
    const struct origin origin = {(uint8_t)inlet->node, (uint8_t)inlet->worker};
    lock_take(&c->lock);
    struct pattern_op *op = op_find(c, id);
    if (op != NULL) { interest_change_acknowledged(op->change, origin); }
    lock_release(&c->lock);
    event_post(half_0(c), (struct event){.run = on_pattern_counted, .node = inlet->node, .a = id});
}

struct picture {
    struct half *half;
    struct buf names;
    struct wire_sync_entry *entry;
    size_t count;
    size_t cap;
    uint64_t changes;
};

static void picture_add(void *arg, uint32_t partition, enum topic_kind kind, struct slice name,
                        uint64_t count)
{
    (void)partition;
    struct picture *picture = arg;
    if (picture->count == picture->cap) {
        picture->cap = picture->cap > 0 ? picture->cap * 2 : 64;
        picture->entry = mem_resize(picture->entry, picture->cap * sizeof *picture->entry);
    }
    /* The place of the name now; a slice once `names` does not move any more. */
    picture->entry[picture->count++] = (struct wire_sync_entry){
        .kind = kind, .name = slice_of(NULL, name.len), .count = (uint32_t)count};
    buf_append(&picture->names, name);
}

static void picture_take(void *arg)
{
    struct picture *picture = arg;
    struct directory *d = picture->half->cluster->directory;
    directory_each_local(d, TOPIC_PATTERN, picture_add, picture);
    picture->changes = directory_pattern_changes(d);
}

static void picture_send(struct picture *picture, struct outlet *outlet)
{
    size_t at = 0;
    for (size_t i = 0; i < picture->count; i++) {
        picture->entry[i].name.data = picture->names.data + at;
        at += picture->entry[i].name.len;
    }
    size_t begun = 0;
    do {
        size_t bytes = 0;
        size_t end = begun;
        while (end < picture->count && bytes < SYNC_FRAME_BYTES) {
            bytes += picture->entry[end++].name.len + 16;
        }
        const struct wire_frame frame = {
            .type = WIRE_SYNC,
            .sync = {.is_patterns = true,
                     .is_first = begun == 0,
                     .is_last = end == picture->count,
                     .entry = picture->entry + begun,
                     .entry_count = end - begun},
        };
        outlet_send(outlet, outlet->request, &frame);
        begun = end;
    } while (begun < picture->count);
}

void interest_tell_patterns(struct half *half, uint32_t node)
{
    struct cluster *c = half->cluster;
    struct outlet *outlet = half->outlet[node];
    c->patterns_told[node] = 0;
    if (!outlet_can_ask(outlet) || lanes_complete(c, node) == 0) { return; }
    struct picture picture = {.half = half};
    directory_exclusive(c->directory, picture_take, &picture);
    picture_send(&picture, outlet);
    c->patterns_told[node] = picture.changes + 1;
    buf_fini(&picture.names);
    mem_free(picture.entry);
    LIST_EACH (at, &c->pattern_ops) {
        struct pattern_op *op = CONTAINER_OF(at, struct pattern_op, link);
        op_ask(half, op, node);
    }
}

void interest_node_gone(struct half *half, uint32_t node)
{
    struct cluster *c = half->cluster;
    c->patterns_told[node] = 0;
    LIST_EACH (at, &c->pattern_ops) {
        CONTAINER_OF(at, struct pattern_op, link)->asked[node] = (struct pattern_asked){0};
    }
    ops_look(half);
}

/* A leaving needs nobody's consent. A join is taken back where it was told. */
static void pattern_fail(struct half *half, struct pattern_op *op)
{
    op->change->err = op->change->is_join ? ERR_CLUSTER_DOWN : ERR_OK;
    op_end(half, op);
}

static void pattern_tick(struct half *half, uint64_t since_ns)
{
    LIST_EACH (at, &half->cluster->pattern_ops) {
        struct pattern_op *op = CONTAINER_OF(at, struct pattern_op, link);
        if (op->change->since_ns <= since_ns) { pattern_fail(half, op); }
    }
    ops_look(half);
}

/* ---- another node's patterns ---- */

struct patterns_taking {
    struct cluster *cluster;
    uint32_t node;
    const struct wire_sync *sync;
};

static void patterns_take(void *arg)
{
    const struct patterns_taking *taking = arg;
    struct directory *d = taking->cluster->directory;
    if (taking->sync->is_first) { directory_forget_node_patterns(d, taking->node); }
    for (size_t i = 0; i < taking->sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &taking->sync->entry[i];
        directory_add_interest(d, taking->node, TOPIC_PATTERN, entry->name, entry->count);
    }
}

bool interest_on_patterns(struct inlet *inlet, const struct wire_sync *sync)
{
    for (size_t i = 0; i < sync->entry_count; i++) {
        if (sync->entry[i].kind != TOPIC_PATTERN) { return false; }
    }
    struct patterns_taking taking = {inlet->half->cluster, inlet->node, sync};
    directory_exclusive(inlet->half->cluster->directory, patterns_take, &taking);
    return true;
}

/* ---- the end ---- */

void interest_stop(struct half *half)
{
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        interest_stale(half, p);
        LIST_EACH (link, &half->waiting[p].changes) {
            struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
            list_remove(&change->link);
            interest_change_end(change, ERR_CLUSTER_DOWN);
        }
    }
    if (half->index == 0) { pattern_tick(half, UINT64_MAX); }
}
