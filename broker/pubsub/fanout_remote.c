/* fanout_remote: the fanout in a cluster: runs that are ordered elsewhere or whose answer waits for other nodes'
 * lanes, and changes of subscriptions that other nodes count. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "pubsub/fanout_int.h"

/* So long an answer waits for a lease that has lapsed. */
enum { DOUBT_NS_MAX = 2000000000 };

void fanout_remote_init(struct fanout *f)
{
    list_init(&f->changed);
    list_init(&f->settled);
    list_init(&f->doubted);
}

void fanout_set_remote(struct fanout *f, const struct fanout_remote_ops *ops, void *arg)
{
    f->remote = ops;
    f->remote_arg = arg;
}

uint32_t fanout_index(const struct fanout *f)
{
    return f->index;
}

void fanout_wake(struct fanout *f)
{
    mailbox_wake(f->mailbox[f->index]);
}

void fanout_lane_item_init(struct fanout *f, struct lane_item *item)
{
    item->task.run = f->remote->on_lane_item;
    item->half = f->remote_arg;
}

struct mailbox *fanout_lanes(struct fanout *f)
{
    return &f->lanes;
}

void fanout_push(struct fanout *f, struct task *task)
{
    mailbox_push(&f->inbox, task);
}

static void wake_others(struct fanout *f)
{
    for (uint32_t worker = 0; worker < f->worker_count; worker++) {
        if (f->woken[worker] && worker != f->index) { mailbox_wake(f->mailbox[worker]); }
    }
}

/* ---- shipments ---- */

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
    mem_free(s->ticket);
    mem_free(s);
}

struct span fanout_keep(struct fanout *f, struct slice bytes)
{
    struct block *block = bytes.len >= FANOUT_LARGE_BYTES
                              ? block_new(bytes.len)
                              : block_ref(block_room(&f->arena, bytes.len, FANOUT_ARENA_BYTES));
    char *at = block->data + block->len;
    memcpy(at, bytes.data, bytes.len);
    block->len += bytes.len;
    return (struct span){block, at, bytes.len};
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
    struct run run = {
        .channel = msg_channel(s->kind, s->span.data),
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
    if (run.is_held) {
        *full_node = run.full_node;
        return SHIPMENT_HELD;
    }
    wake_others(f);
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

void shipment_sent(struct shipment *s)
{
    struct fanout *f = s->fanout;
    mailbox_post(f->mailbox[f->index], &s->task);
}

static void tell_publishers(struct shipment *s)
{
    for (uint32_t i = 0; i < s->ticket_count; i++) {
        s->fanout->ops->settled(s->ticket[i], s->err, s->receivers);
    }
}

/* ---- commit ---- */

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
        ARRAY_GROW(s->ticket, s->ticket_count, s->ticket_cap);
        s->ticket[s->ticket_count++] =
            f->ops->deferred(record->publisher, record->count, record->is_silent);
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
        run->is_elsewhere |= run->is_held; /* it has to wait as well */
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
        order_run(f, &f->run[i], lease);
    }
    wake_others(f);
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

static struct run run_of_arrival(const struct arrival *arrival)
{
    return (struct run){
        .channel = msg_channel(arrival->kind, arrival->span.data),
        .block = arrival->span.block,
        .data = arrival->span.data,
        .len = arrival->span.len,
        .prefix_bytes = arrival->prefix_bytes,
        .message_count = arrival->count,
        .kind = arrival->kind,
        .origin = arrival->origin,
    };
}

void fanout_deliver(struct fanout *f, const struct arrival *arrival)
{
    struct run run = run_of_arrival(arrival);
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    directory_deliver(f->directory, &run, f->woken);
    wake_others(f);
}

void fanout_deliver_exclusive(struct fanout *f, const struct arrival *arrival)
{
    struct run run = run_of_arrival(arrival);
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    directory_deliver_exclusive(f->directory, &run, f->woken);
    wake_others(f);
}

/* ---- changes of subscriptions ---- */

static void seat(struct interest_change *change)
{
    CHECK(change->subscriber != NULL); /* its client would have cancelled it */
    struct subscription *subscription = mem_new0(sizeof *subscription);
    subscription->topic = change->topic;
    subscription->subscriber = change->subscriber;
    subscription_seat(change->fanout, subscription);
}

static void unseat(struct interest_change *change)
{
    struct fanout *f = change->fanout;
    struct topic *topic = change->topic;
    struct subscription *subscription = subscription_find(f, change->subscriber, topic);
    CHECK(subscription != NULL);
    subscription_unseat(f, subscription);
    topic_retire_if_empty(f, topic);
}

static void chain_in(struct subscriber *subscriber, struct interest_change *change)
{
    change->subscriber = subscriber;
    change->back = &subscriber->changes;
    change->next = subscriber->changes;
    if (change->next != NULL) { change->next->back = &change->next; }
    subscriber->changes = change;
    change->fanout->change_count++;
}

static void chain_out(struct interest_change *change)
{
    *change->back = change->next;
    if (change->next != NULL) { change->next->back = change->back; }
    change->back = NULL;
    change->subscriber = NULL;
    change->fanout->change_count--;
}

/* Tell its client, if there still is one. It is in nobody else's hands. */
static void tell(struct interest_change *change)
{
    if (change->subscriber == NULL) {
        mem_free(change);
        return;
    }
    change->is_ended = true;
    list_push_back(&change->fanout->changed, &change->link);
}

/* In the worker's inbox, where the change has its place in the order. */
static void on_applied(struct task *task)
{
    struct interest_change *change = CONTAINER_OF(task, struct interest_change, task);
    list_remove(&change->link); /* out of the hands of who held it */
    if (change->kind == TOPIC_PATTERN) {
        transit_end(change);
    } else if (!change->is_void && change->is_join) {
        seat(change);
    } else if (!change->is_void && change->subscriber != NULL) {
        unseat(change);
    }
    tell(change);
}

static void on_begun(struct task *task)
{
    transit_begin(CONTAINER_OF(task, struct interest_change, begin_task));
}

static struct interest_change *change_new(struct fanout *f, enum topic_kind kind, struct slice name,
                                          bool is_join)
{
    struct interest_change *change = mem_new0(sizeof *change + name.len + 1);
    change->task.run = on_applied;
    change->begin_task.run = on_begun;
    change->fanout = f;
    change->kind = kind;
    change->is_join = is_join;
    change->since_ns = clock_mono_ns();
    change->name_len = (uint32_t)name.len;
    memcpy(change->name, name.data, name.len);
    list_init(&change->link);
    if (kind != TOPIC_PATTERN) {
        change->partition = directory_partition_of(f->directory, interest_change_name(change));
    }
    return change;
}

void fanout_change_elsewhere(struct fanout *f, struct subscriber *subscriber, enum topic_kind kind,
                             struct slice name, bool is_join, void *waiter)
{
    struct interest_change *change = change_new(f, kind, name, is_join);
    change->waiter = waiter;
    chain_in(subscriber, change);
    f->remote->change(f->remote_arg, change);
}

void fanout_tell_drop(struct fanout *f, const struct directory_drop *drop)
{
    struct interest_change *change = change_new(f, drop->kind, drop->name, false);
    change->is_drop = true;
    change->is_cancelled = true;
    change->epoch = drop->epoch;
    change->snapshot = drop->snapshot;
    f->remote->change(f->remote_arg, change);
}

void fanout_forget_change(struct interest_change *change)
{
    chain_out(change);
    if (!change->is_ended) { return; } /* who holds it finds out */
    list_remove(&change->link);
    mem_free(change);
}

void interest_change_end(struct interest_change *change, enum err err)
{
    change->err = err;
    tell(change);
}

static void on_given_back(struct task *task)
{
    struct interest_change *change = CONTAINER_OF(task, struct interest_change, task);
    interest_change_end(change, change->err);
}

void interest_change_give_back(struct interest_change *change)
{
    struct fanout *f = change->fanout;
    change->task.run = on_given_back;
    mailbox_post(f->mailbox[f->index], &change->task);
}

void interest_change_free(struct interest_change *change)
{
    CHECK(change->subscriber == NULL && change->back == NULL);
    mem_free(change);
}

void fanout_settle(struct fanout *f)
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
    while ((link = list_pop_front(&f->changed)) != NULL) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        chain_out(change);
        f->ops->changed(change->waiter, change->err);
        mem_free(change);
    }
}

void fanout_remote_fini(struct fanout *f)
{
    LIST_EACH (at, &f->doubted) {
        list_remove(at);
        shipment_settle(CONTAINER_OF(at, struct shipment, link), ERR_INDOUBT, 0);
    }
    fanout_settle(f);
    CHECK(f->change_count == 0);
    if (f->spare != NULL) { shipment_free(f->spare); }
}
