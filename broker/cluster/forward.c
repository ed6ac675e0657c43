/* forward: publishes on their way to the owner of their partition, in the order in which they were made, and
 * other nodes' publishes on their way into this one's order. */
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "pubsub/msg.h"

/* ---- towards the owner ---- */

static struct shipment *shipment_at(struct list *link)
{
    return CONTAINER_OF(link, struct shipment, link);
}

static void count_waiting(struct half *half, const struct shipment *s)
{
    atomic_fetch_add_explicit(&half->cluster->waiting_publishes, s->message_count,
                              memory_order_relaxed);
}

static void count_out(struct half *half, const struct shipment *s)
{
    atomic_fetch_sub_explicit(&half->cluster->waiting_publishes, s->message_count,
                              memory_order_relaxed);
}

/* Enter in a list of those that wait; take out of it. */
static void put_in(struct half *half, struct list *list, struct shipment *s)
{
    list_push_back(list, &s->link);
    count_waiting(half, s);
}

static void take_out(struct half *half, struct shipment *s)
{
    list_remove(&s->link);
    count_out(half, s);
}

static bool is_own(const struct shipment *s)
{
    return s->arg == NULL; /* else it is an inlet's */
}

/* One of this node's own publishes is not this worker's to wait for any more. */
static void part_from(struct half *half, const struct shipment *s)
{
    if (!is_own(s)) { return; }
    atomic_fetch_sub_explicit(&half->unanswered_bytes, s->span.len, memory_order_relaxed);
}

static void settle(struct half *half, struct shipment *s, enum err err, uint64_t receivers)
{
    part_from(half, s);
    shipment_settle(s, err, receivers);
}

void forward_ship(void *arg, struct shipment *s)
{
    struct half *half = arg;
    put_in(half, &half->waiting[s->partition].shipments, s);
    atomic_fetch_add_explicit(&half->unanswered_bytes, s->span.len, memory_order_relaxed);
    half_due(half, s->partition);
}

static bool is_waiting(const struct waiting *w)
{
    return w->in_flight > 0 || !list_is_empty(&w->shipments) || !list_is_empty(&w->refused);
}

bool forward_must_wait(void *arg, uint32_t partition, enum topic_kind kind, struct slice channel)
{
    const struct half *half = arg;
    return is_waiting(&half->waiting[partition]) || jams_hold(&half->jams, kind, channel);
}

/* Another node's, which waits here for the lease: not if that node has lost its connection, for what it sends on its
 * next one may be ordered before; and not if this node is not the owner in that epoch any more. */
static bool is_to_go_back(const struct shipment *s, const struct remote_partition *at)
{
    if (is_own(s)) { return false; }
    const struct inlet *inlet = s->arg;
    return inlet->in == NULL || at->phase != PARTITION_OWNED || at->epoch != s->epoch;
}

static void give_back(struct half *half, struct list *list, const struct remote_partition *at)
{
    LIST_EACH (link, list) {
        struct shipment *s = shipment_at(link);
        if (!is_to_go_back(s, at)) { continue; }
        take_out(half, s);
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
    }
}

static enum shipment_result order(struct half *half, struct shipment *s)
{
    enum shipment_result result = jams_order(&half->jams, s);
    if (UNLIKELY(result == SHIPMENT_HELD)) { count_waiting(half, s); }
    return result;
}

/* Order what waits, or jam it. False: it cannot be ordered here now. */
static bool order_all(struct half *half, struct list *list)
{
    LIST_EACH (at, list) {
        struct shipment *s = shipment_at(at);
        take_out(half, s);
        switch (order(half, s)) {
        case SHIPMENT_ORDERED: part_from(half, s); break;
        case SHIPMENT_HELD: break;
        case SHIPMENT_ELSEWHERE: /* the lease is not held: it goes on waiting, first of all */
            put_in(half, at_next, s);
            return false;
        }
    }
    return true;
}

/* A jam has an end. Its publishes wait like others for their owner or its lease, before what has come later. */
void forward_unjam(void *arg, struct shipment *s)
{
    struct half *half = arg;
    const struct remote_partition at =
        directory_partition_peek(half->cluster->directory, s->partition);
    count_out(half, s);
    if (is_to_go_back(s, &at)) {
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
        return;
    }
    put_in(half, half->waiting[s->partition].shipments.next, s);
    half_due(half, s->partition);
}

void forward_unjammed(void *arg, const struct shipment *s)
{
    struct half *half = arg;
    count_out(half, s);
    part_from(half, s);
}

static struct slice key_of(const uint64_t *id)
{
    return slice_of((const char *)id, sizeof *id);
}

static void send_one(struct half *half, struct outlet *outlet, struct waiting *w,
                     struct shipment *s, uint64_t epoch)
{
    take_out(half, s);
    s->id = ++half->next_id;
    s->sent_epoch = epoch;
    const struct wire_frame frame = {
        .type = WIRE_PUBLISH,
        .publish = {.id = s->id,
                    .partition = s->partition,
                    .epoch = epoch,
                    .kind = s->kind,
                    .count = s->message_count,
                    .data = slice_of(s->span.data, s->span.len)},
    };
    outlet_send_run(outlet, outlet->request, &frame, &s->span);
    s->sent_end = peer_out_queued(outlet->request);
    list_push_back(&outlet->in_flight, &s->link);
    s->by_id.key = key_of(&s->id);
    map_insert(&outlet->in_flight_by_id, &s->by_id, slice_hash(s->by_id.key));
    w->in_flight++;
    w->in_flight_to = outlet->node;
    w->in_flight_epoch = epoch;
    atomic_fetch_add_explicit(&half->cluster->stat[outlet->node].sent_publishes, s->message_count,
                              memory_order_relaxed);
}

/* Send what waits, if the partition's owner can take it, and if nothing is on its way to another one, or to the same
 * in another epoch: a publisher's order would be lost. */
void forward_flush(struct half *half, uint32_t partition)
{
    struct waiting *w = &half->waiting[partition];
    bool is_jammed = half->jams.count > 0;
    if (list_is_empty(&w->shipments) && list_is_empty(&w->refused) && !is_jammed) { return; }
    struct remote_partition at = directory_partition_peek(half->cluster->directory, partition);
    if (is_jammed && at.phase != PARTITION_OWNED) { jams_leave(&half->jams, partition); }
    give_back(half, &w->shipments, &at);
    bool may_follow = w->in_flight_to == at.owner && w->in_flight_epoch == at.epoch;
    if (w->in_flight > 0 && (!may_follow || !list_is_empty(&w->refused))) { return; }
    if (at.phase == PARTITION_OWNED) {
        if (order_all(half, &w->refused)) { (void)order_all(half, &w->shipments); }
        return;
    }
    struct outlet *outlet = at.phase == PARTITION_READY ? half->outlet[at.owner] : NULL;
    if (!outlet_can_ask(outlet)) { return; }
    if (!list_is_empty(&w->refused) && at.epoch <= w->refused_epoch) { return; }
    LIST_EACH (link, &w->refused) {
        send_one(half, outlet, w, shipment_at(link), at.epoch);
    }
    LIST_EACH (link, &w->shipments) {
        send_one(half, outlet, w, shipment_at(link), at.epoch);
    }
}

/* The owner did not execute it: it goes before everything that came after it, also of what was refused earlier. */
static void refuse(struct half *half, struct shipment *s, uint64_t epoch)
{
    struct waiting *w = &half->waiting[s->partition];
    uint64_t timeout_ns = (uint64_t)half->cluster->opts.timeout_ms * NS_PER_MS;
    if (clock_mono_ns() - s->since_ns >=
        timeout_ns) { /* what came after it may have been executed */
        settle(half, s, ERR_CLUSTER_DOWN, 0);
        return;
    }
    struct list *before = w->refused.prev;
    while (before != &w->refused && shipment_at(before)->id > s->id) {
        before = before->prev;
    }
    put_in(half, before->next, s);
    w->refused_epoch = epoch;
}

static void landed(struct outlet *outlet, struct shipment *s)
{
    struct half *half = outlet->half;
    list_remove(&s->link);
    map_remove(&outlet->in_flight_by_id, &s->by_id);
    struct waiting *w = &half->waiting[s->partition];
    CHECK(w->in_flight > 0);
    w->in_flight--;
    half_due(half, s->partition);
}

void forward_on_published(struct outlet *outlet, const struct wire_published *published)
{
    struct half *half = outlet->half;
    struct slice key = key_of(&published->id);
    struct map_node *node = map_find(&outlet->in_flight_by_id, key, slice_hash(key));
    if (node == NULL) { return; }
    struct shipment *s = CONTAINER_OF(node, struct shipment, by_id);
    landed(outlet, s);
    switch (published->status) {
    case WIRE_DONE: settle(half, s, ERR_OK, published->receivers); break;
    case WIRE_INDOUBT: settle(half, s, ERR_INDOUBT, 0); break;
    case WIRE_NOT_OWNER: refuse(half, s, s->sent_epoch); break;
    }
}

void forward_on_down(struct outlet *outlet, uint64_t unsent_from)
{
    struct half *half = outlet->half;
    LIST_EACH (at, &outlet->in_flight) {
        struct shipment *s = shipment_at(at);
        landed(outlet, s);
        if (s->sent_end > unsent_from) { /* not whole when the connection ended: not executed */
            refuse(half, s, 0);
        } else {
            settle(half, s, ERR_INDOUBT, 0);
        }
    }
}

static void give_up(struct half *half, struct list *list, uint64_t since_ns)
{
    LIST_EACH (at, list) {
        struct shipment *s = shipment_at(at);
        if (s->since_ns > since_ns) { return; }
        take_out(half, s);
        settle(half, s, ERR_CLUSTER_DOWN, 0);
    }
}

void forward_tick(struct half *half)
{
    struct cluster *c = half->cluster;
    uint64_t now_ns = clock_mono_ns();
    uint64_t since_ns = now_ns - (uint64_t)c->opts.timeout_ms * NS_PER_MS;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct waiting *w = &half->waiting[p];
        if (list_is_empty(&w->shipments) && list_is_empty(&w->refused)) { continue; }
        give_up(half, &w->refused, since_ns);
        give_up(half, &w->shipments, since_ns);
        w->refused_epoch = 0; /* once more: the refusal may have been for a passing reason */
        half_due(half, p);
    }
    jams_try(&half->jams);
}

void forward_stop(struct half *half)
{
    jams_stop(&half->jams);
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        give_up(half, &half->waiting[p].refused, UINT64_MAX);
        give_up(half, &half->waiting[p].shipments, UINT64_MAX);
    }
}

/* ---- from other nodes ---- */

static void answer(struct shipment *s)
{
    struct inlet *inlet = s->arg;
    const struct wire_frame frame = {
        .type = WIRE_PUBLISHED,
        .published = {.id = s->id,
                      .status = s->err == ERR_OK        ? WIRE_DONE
                                : s->err == ERR_INDOUBT ? WIRE_INDOUBT
                                                        : WIRE_NOT_OWNER,
                      .receivers = s->err == ERR_OK ? s->receivers : 0},
    };
    inlet_answer(inlet, &frame);
    inlet_release(inlet);
}

bool forward_on_publish(struct inlet *inlet, const struct wire_run *run)
{
    struct half *half = inlet->half;
    struct cluster *c = half->cluster;
    struct slice channel = msg_channel(run->kind, run->data.data);
    if (directory_partition_of(c->directory, channel) != run->partition) { return false; }
    atomic_fetch_add_explicit(&c->stat[inlet->node].received_publishes, run->count,
                              memory_order_relaxed);
    struct shipment *s = shipment_new(half->fanout, run->kind, run->data, run->prefix_bytes,
                                      run->count, run->partition);
    s->id = run->id;
    s->epoch = run->epoch;
    s->on_settled = answer;
    s->arg = inlet;
    inlet->outstanding++;
    bool must_wait = is_waiting(&half->waiting[s->partition]);
    if (!must_wait && order(half, s) != SHIPMENT_ELSEWHERE) { return true; }
    /* What is refused is sent again behind all that was sent in the same epoch: of that, none may be ordered. */
    const struct remote_partition at = directory_partition_peek(c->directory, s->partition);
    if (is_to_go_back(s, &at)) {
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
    } else {
        put_in(half, &half->waiting[s->partition].shipments, s);
        half_due(half, s->partition);
    }
    return true;
}

void forward_on_closed(struct inlet *inlet)
{
    if (inlet->outstanding > 0) { jams_drop(&inlet->half->jams, inlet); }
}
