/* interest_patterns: changes of our clients' patterns, which every member counts: worker 0 tells all of them. And other
 * nodes' patterns. */
#include "base/mem.h"
#include "cluster/interest_int.h"

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
    struct map_node *node = map_find(&c->patterns, interest_id(&id), slice_hash(interest_id(&id)));
    return node != NULL ? CONTAINER_OF(node, struct pattern_op, by_id) : NULL;
}

static struct pattern_op *op_new(struct half *half, struct interest_change *change)
{
    struct cluster *c = half->cluster;
    struct pattern_op *op = mem_new0(sizeof *op);
    op->change = change;
    op->id = ++half->next_id;
    op->by_id.key = interest_id(&op->id);
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
    interest_send(half->outlet[node], op->change, asked->id, 0, op->change->is_join ? 1 : -1);
}

/* Those nodes have been asked to count it, and are not to. */
static void join_take_back(struct half *half, const struct interest_change *change, uint64_t nodes)
{
    for (; nodes != 0; nodes &= nodes - 1) {
        struct outlet *outlet = half->outlet[__builtin_ctzll(nodes)];
        if (outlet_can_ask(outlet)) { interest_send(outlet, change, 0, 0, -1); }
    }
}

static void tell_all(struct half *half, const struct interest_change *change, uint64_t seq)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        uint64_t told = half->cluster->patterns_told[node];
        struct outlet *outlet = half->outlet[node];
        if (told == 0 || told > seq || !outlet_can_ask(outlet)) { continue; }
        interest_send(outlet, change, 0, 0, -1);
    }
}

/* All count it, or have ceased to; or it is given up: then change->err is set. */
static void op_end(struct half *half, struct pattern_op *op)
{
    struct cluster *c = half->cluster;
    struct interest_change *copy =
        interest_copy(op->change); /* from its end on it is its worker's */
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

void interest_change_pattern(struct half *half, struct interest_change *change)
{
    event_post(half_0(half->cluster), (struct event){.run = pattern_begin, .pointer = change});
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
void interest_on_pattern_ack(struct inlet *inlet, uint64_t id)
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

void interest_tick_patterns(struct half *half, uint64_t since_ns)
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
