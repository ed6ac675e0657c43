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

static void count_in(struct half *half, const struct shipment *s)
{
    atomic_fetch_add_explicit(&half->cluster->waiting_publishes, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&half->waiting_bytes, s->span.len, memory_order_relaxed);
}

void forward_ship(void *arg, struct shipment *s)
{
    struct half *half = arg;
    list_push_back(&half->waiting[s->partition].shipments, &s->link);
    count_in(half, s);
    half_due(half, s->partition);
}

bool forward_must_wait(void *arg, uint32_t partition)
{
    const struct half *half = arg;
    const struct waiting *w = &half->waiting[partition];
    return w->in_flight > 0 || !list_is_empty(&w->shipments) || !list_is_empty(&w->refused);
}

static void take_out(struct half *half, struct shipment *s)
{
    list_remove(&s->link);
    atomic_fetch_sub_explicit(&half->cluster->waiting_publishes, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&half->waiting_bytes, s->span.len, memory_order_relaxed);
}

static void answer(struct shipment *s);

/* Another node's, which waits here for the lease: not if that node has lost its connection, for what it sends on its
 * next one may be ordered before; and not if this node is not the owner any more. */
static bool is_to_go_back(const struct shipment *s, const struct remote_partition *at)
{
    if (s->on_settled != answer) { return false; }
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

static void order_here(struct half *half, struct list *list)
{
    LIST_EACH (at, list) {
        struct shipment *s = shipment_at(at);
        take_out(half, s);
        if (!shipment_order(s)) { /* the lease is not held: it goes on waiting, first of all */
            list_push_back(at_next, &s->link);
            count_in(half, s);
            return;
        }
    }
}

static void send_one(struct half *half, struct outlet *outlet, struct waiting *w,
                     struct shipment *s, uint64_t epoch)
{
    take_out(half, s);
    s->id = ++half->next_id;
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
    if (list_is_empty(&w->shipments) && list_is_empty(&w->refused)) { return; }
    struct remote_partition at = directory_partition_peek(half->cluster->directory, partition);
    give_back(half, &w->shipments, &at);
    bool may_follow = w->in_flight_to == at.owner && w->in_flight_epoch == at.epoch;
    if (w->in_flight > 0 && (!may_follow || !list_is_empty(&w->refused))) { return; }
    if (at.phase == PARTITION_OWNED) {
        order_here(half, &w->refused);
        if (list_is_empty(&w->refused)) { order_here(half, &w->shipments); }
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
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
        return;
    }
    struct list *before = w->refused.prev;
    while (before != &w->refused && shipment_at(before)->id > s->id) {
        before = before->prev;
    }
    list_push_back(before->next, &s->link);
    count_in(half, s);
    w->refused_epoch = epoch;
}

static void landed(struct half *half, struct shipment *s)
{
    list_remove(&s->link);
    struct waiting *w = &half->waiting[s->partition];
    CHECK(w->in_flight > 0);
    w->in_flight--;
    half_due(half, s->partition);
}

void forward_on_published(struct outlet *outlet, const struct wire_published *published)
{
    struct half *half = outlet->half;
    LIST_EACH (at, &outlet->in_flight) {
        struct shipment *s = shipment_at(at);
        if (s->id != published->id) { continue; }
        landed(half, s);
        switch (published->status) {
        case WIRE_DONE: shipment_settle(s, ERR_OK, published->receivers); break;
        case WIRE_INDOUBT: shipment_settle(s, ERR_INDOUBT, 0); break;
        case WIRE_NOT_OWNER:
            refuse(half, s, directory_partition_peek(half->cluster->directory, s->partition).epoch);
            break;
        }
        return;
    }
}

void forward_on_down(struct outlet *outlet, uint64_t unsent_from)
{
    struct half *half = outlet->half;
    LIST_EACH (at, &outlet->in_flight) {
        struct shipment *s = shipment_at(at);
        landed(half, s);
        if (s->sent_end > unsent_from) { /* not whole when the connection ended: not executed */
            refuse(half, s, 0);
        } else {
            shipment_settle(s, ERR_INDOUBT, 0);
        }
    }
}

static void give_up(struct half *half, struct list *list, uint64_t since_ns)
{
    LIST_EACH (at, list) {
        struct shipment *s = shipment_at(at);
        if (s->since_ns > since_ns) { return; }
        take_out(half, s);
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
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
}

void forward_stop(struct half *half)
{
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        give_up(half, &half->waiting[p].refused, UINT64_MAX);
        give_up(half, &half->waiting[p].shipments, UINT64_MAX);
    }
}

/* ---- from other nodes ---- */

/* on_settled of theirs. */
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
    bool must_wait = forward_must_wait(half, s->partition);
    if (!must_wait && shipment_order(s)) { return true; }
    /* What is refused is sent again behind all that was sent in the same epoch: of that, none may be ordered. */
    const struct remote_partition at = directory_partition_peek(c->directory, s->partition);
    if (is_to_go_back(s, &at)) {
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
    } else {
        forward_ship(half, s);
    }
    return true;
}
