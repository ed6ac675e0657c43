/* shipments: publishes of this worker, and of other nodes, whose fate is decided later. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "pubsub/fanout_int.h"
#include "pubsub/order_int.h"
#include "pubsub/shipment.h"

/* So long an answer waits for a lease that has lapsed. */
enum { DOUBT_NS_MAX = 2000000000 };

/* Ordered, and on its way. That counts if the lease held all the time: then nobody else was the owner. A lease
 * that has lapsed may come back; in another life of this node it is another one. */
static bool is_decided(struct shipment *s)
{
    struct fanout *f = s->fanout;
    uint64_t lease = f->remote->lease(f->remote_arg);
    bool is_over = lease == 0 && s->since_ns != 0 && clock_mono_ns() - s->since_ns > DOUBT_NS_MAX;
    if (lease == 0 && !is_over) { return false; }
    shipment_settle(s, lease == s->lease ? ERR_OK : ERR_INDOUBT, s->receivers);
    return true;
}

static void decide(struct shipment *s)
{
    s->since_ns = 0;
    if (is_decided(s)) { return; }
    s->since_ns = clock_mono_ns();
    list_push_back(&s->fanout->doubted, &s->link);
}

static void on_shipment_sent(struct task *task)
{
    decide(CONTAINER_OF(task, struct shipment, task));
}

static struct shipment *shipment_empty(struct fanout *f)
{
    struct shipment *s = f->spare != NULL ? f->spare : mem_new0(sizeof *s);
    f->spare = NULL;
    s->task.run = on_shipment_sent;
    s->fanout = f;
    return s;
}

static void shipment_free(struct shipment *s)
{
    block_unref(s->span.block);
    if (s->ticket_cap > 0) { mem_free(s->ticket.many); }
    mem_free(s);
}

struct shipment *shipment_new(struct fanout *f, enum topic_kind kind, struct slice data,
                              size_t prefix_bytes, uint32_t count, uint32_t partition)
{
    struct shipment *s = shipment_empty(f);
    s->span = fanout_keep(f, data);
    s->kind = kind;
    s->prefix_bytes = prefix_bytes;
    s->message_count = count;
    s->partition = partition;
    s->since_ns = clock_mono_ns();
    return s;
}

enum shipment_result shipment_order(struct shipment *s, uint32_t *full_node)
{
    struct fanout *f = s->fanout;
    s->lease = f->remote->lease(f->remote_arg);
    if (s->lease == 0) { return SHIPMENT_ELSEWHERE; }
    struct slice channel = msg_channel(s->kind, s->span.data);
    struct run run = {
        .channel = channel,
        .hash = directory_hash(s->kind, channel),
        .block = s->span.block,
        .data = s->span.data,
        .len = s->span.len,
        .prefix_bytes = s->prefix_bytes,
        .message_count = s->message_count,
        .partition = s->partition,
        .epoch = s->epoch,
        .kind = s->kind,
    };
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    directory_post_shipment(f->directory, &run, s, f->woken);
    if (run.is_elsewhere) { return SHIPMENT_ELSEWHERE; }
    if (run.is_lane_full) {
        *full_node = run.full_node;
        return SHIPMENT_LANE_FULL;
    }
    fanout_wake_others(f);
    metric_add(METRIC_messages_published_total, s->message_count);
    s->receivers = run.receivers; /* read by this worker only, when the task has come back */
    if (run.nodes == 0) { decide(s); }
    return SHIPMENT_ORDERED;
}

void shipment_settle(struct shipment *s, enum err err, uint64_t receivers)
{
    s->err = err;
    s->receivers = receivers;
    list_push_back(&s->fanout->settled, &s->link);
}

void shipment_sent(struct shipment *s, const struct fanout *fanout)
{
    struct fanout *f = s->fanout;
    if (f == fanout) {
        decide(s);
        return;
    }
    mailbox_post(f->mailbox[f->index], &s->task);
}

static void tell_publishers(struct shipment *s)
{
    void **ticket = s->ticket_cap > 0 ? s->ticket.many : &s->ticket.one;
    for (uint32_t i = 0; i < s->ticket_count; i++) {
        s->fanout->ops->settled(ticket[i], s->err, s->receivers);
    }
}

/* ---- commit ---- */

static void add_ticket(struct shipment *s, void *ticket)
{
    if (s->ticket_count == 0) {
        s->ticket.one = ticket;
        s->ticket_count = 1;
        return;
    }
    if (s->ticket_cap == 0) {
        void *first = s->ticket.one;
        s->ticket_cap = 16;
        s->ticket.many = mem_new(s->ticket_cap * sizeof *s->ticket.many);
        s->ticket.many[0] = first;
    }
    ARRAY_GROW(s->ticket.many, s->ticket_count, s->ticket_cap);
    s->ticket.many[s->ticket_count++] = ticket;
}

/* Those who wait for the runs: answered, or given a ticket on the run's shipment. */
static void answer_or_defer(struct fanout *f)
{
    for (uint32_t i = 0; i < f->record_count; i++) {
        const struct publish_record *record = &f->record[i];
        const struct run *run = &f->run[record->run];
        struct shipment *s = run->shipment;
        if (record->publisher == NULL) { continue; }
        if (s == NULL) {
            if (record->is_silent) { continue; }
            f->ops->published(record->publisher, run->receivers, record->count);
            continue;
        }
        add_ticket(s, f->ops->deferred(record->publisher, record->count, record->is_silent));
    }
    f->record_count = 0;
}

static void shipment_of_run(struct shipment *s, const struct run *run)
{
    s->span = (struct span){block_ref(run->block), run->data, run->len};
    s->kind = run->kind;
    s->prefix_bytes = run->prefix_bytes;
    s->message_count = run->message_count;
    s->partition = run->partition;
    s->receivers = run->receivers;
    s->on_settled = tell_publishers;
}

/* Order one run if that may be done here; what has to wait gets a shipment. */
static void order_run(struct fanout *f, struct run *run, uint64_t lease)
{
    struct shipment *s = shipment_empty(f);
    run->is_elsewhere = true;
    run->nodes = 0;
    s->lease = lease;
    if (lease != 0 &&
        !f->remote->must_wait(f->remote_arg, run->partition, run->kind, run->channel)) {
        directory_post_shipment(f->directory, run, s, f->woken);
        run->is_elsewhere |= run->is_lane_full; /* it has to wait as well */
    }
    if (run->is_elsewhere || run->nodes != 0) {
        shipment_of_run(s, run);
        run->shipment = s;
    } else {
        f->spare = s;
        run->shipment = NULL;
    }
}

/* The lease does not hold any more: nobody may be told yet that the runs were ordered. */
static void doubt_runs(struct fanout *f, uint64_t lease)
{
    for (uint32_t i = 0; i < f->run_count; i++) {
        struct run *run = &f->run[i];
        if (run->shipment != NULL) { continue; }
        run->shipment = shipment_empty(f);
        shipment_of_run(run->shipment, run);
        run->shipment->lease = lease;
        decide(run->shipment);
    }
}

void fanout_commit_remote(struct fanout *f)
{
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    uint64_t lease = f->remote->lease(f->remote_arg);
    for (uint32_t i = 0; i < f->run_count; i++) {
        runs_foresee(f, i);
        order_run(f, &f->run[i], lease);
    }
    fanout_wake_others(f);
    if (f->remote->lease(f->remote_arg) != lease) { doubt_runs(f, lease); }
    answer_or_defer(f);
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t i = 0; i < f->run_count; i++) {
        struct run *run = &f->run[i];
        if (run->shipment == NULL || !run->is_elsewhere) { continue; }
        run->shipment->since_ns = now_ns;
        f->remote->ship(f->remote_arg, run->shipment);
    }
}

/* ---- settling ---- */

void shipments_settle(struct fanout *f)
{
    struct list *link;
    while ((link = list_pop_front(&f->doubted)) != NULL) { /* the oldest is decided first */
        if (is_decided(CONTAINER_OF(link, struct shipment, link))) { continue; }
        list_push_back(f->doubted.next, link);
        break;
    }
    while ((link = list_pop_front(&f->settled)) != NULL) {
        struct shipment *s = CONTAINER_OF(link, struct shipment, link);
        if (s->on_settled != NULL) { s->on_settled(s); }
        shipment_free(s);
    }
}

void shipments_init(struct fanout *f)
{
    list_init(&f->settled);
    list_init(&f->doubted);
}

void shipments_fini(struct fanout *f)
{
    LIST_EACH (at, &f->doubted) {
        list_remove(at);
        shipment_settle(CONTAINER_OF(at, struct shipment, link), ERR_INDOUBT, 0);
    }
    shipments_settle(f);
    if (f->spare != NULL) { shipment_free(f->spare); }
}
