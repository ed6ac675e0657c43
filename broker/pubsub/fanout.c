/* fanout: publish, order, subscribe. What a turn brings is gathered and flushed in deliver.c. */
#include "pubsub/fanout.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "pubsub/fanout_int.h"
#include "pubsub/order_int.h"
#include "pubsub/table_int.h"

void subscriber_init(struct subscriber *subscriber, uint8_t resp_version)
{
    *subscriber = (struct subscriber){.resp_version = resp_version};
    list_init(&subscriber->subscriptions);
}

/* ---- publish ---- */

/* A new run for a frame of at most `bytes_max` bytes; its block has the room. */
static struct run *run_begin(struct fanout *f, enum topic_kind kind, struct slice channel,
                             size_t bytes_max)
{
    ARRAY_GROW(f->run, f->run_count, f->run_cap);
    struct run *run = &f->run[f->run_count++];
    struct block *block = bytes_max >= FANOUT_LARGE_BYTES
                              ? block_new(bytes_max)
                              : block_ref(block_room(&f->arena, bytes_max, FANOUT_ARENA_BYTES));
    *run = (struct run){
        .block = block,
        .data = block->data + block->len,
        .prefix_bytes = msg_prefix_bytes(kind, channel),
        .kind = kind,
    };
    return run;
}

/* The last run, if it is this channel's and the frame can follow it in its block. */
static struct run *run_extend(struct fanout *f, enum topic_kind kind, struct slice channel,
                              size_t bytes_max)
{
    if (f->run_count == 0) { return NULL; }
    struct run *run = &f->run[f->run_count - 1];
    bool fits = run->block == f->arena && bytes_max < FANOUT_LARGE_BYTES &&
                f->arena->cap - f->arena->len >= bytes_max &&
                run->data + run->len == f->arena->data + f->arena->len; /* see fanout_keep */
    return fits && run->kind == kind && slice_equal(run->channel, channel) ? run : NULL;
}

static void record_publisher(struct fanout *f, void *publisher, bool is_silent)
{
    uint32_t run = f->run_count - 1;
    if (f->record_count > 0) {
        struct publish_record *last = &f->record[f->record_count - 1];
        if (last->publisher == publisher && last->run == run && last->is_silent == is_silent) {
            last->count++;
            return;
        }
    }
    ARRAY_GROW(f->record, f->record_count, f->record_cap);
    f->record[f->record_count++] = (struct publish_record){publisher, run, 1, is_silent};
}

static void append(struct fanout *f, enum topic_kind kind, struct slice channel,
                   struct slice payload)
{
    CHECK(kind != TOPIC_PATTERN);
    size_t bytes_max = msg_bytes_max(kind, channel, payload);
    struct run *run = run_extend(f, kind, channel, bytes_max);
    char *frame;
    char *at;
    if (run != NULL) {
        frame = run->block->data + run->block->len;
        memcpy(frame, run->data, run->prefix_bytes);
        at = frame + run->prefix_bytes;
    } else {
        run = run_begin(f, kind, channel, bytes_max);
        frame = run->block->data + run->block->len;
        at = msg_write_prefix(frame, kind, channel);
        run->channel = msg_channel(kind, frame);
        run->hash = directory_hash(kind, run->channel);
        if (UNLIKELY(f->remote != NULL)) {
            run->partition = directory_partition_of(f->directory, run->channel);
        }
    }
    at = msg_write_payload(at, payload);
    size_t len = (size_t)(at - frame);
    run->block->len += len;
    run->len += len;
    run->message_count++;
}

void fanout_publish(struct fanout *f, enum topic_kind kind, struct slice channel,
                    struct slice payload, void *publisher)
{
    append(f, kind, channel, payload);
    record_publisher(f, publisher, false);
}

void fanout_publish_silent(struct fanout *f, enum topic_kind kind, struct slice channel,
                           struct slice payload, void *publisher)
{
    append(f, kind, channel, payload);
    record_publisher(f, publisher, true);
}

void fanout_forget(struct fanout *f, void *publisher)
{
    for (uint32_t i = 0; i < f->record_count; i++) {
        if (f->record[i].publisher == publisher) { f->record[i].publisher = NULL; }
    }
}

/* ---- order ---- */

enum { RUNS_WORTH_A_PREFETCH = 4, CACHE_LINE_BYTES = 64 };

static void on_posting(struct task *task);

/* The channel of a posting that comes soon is fetched meanwhile. */
static void posting_foresee(struct task *task)
{
    if (task == NULL || task->run != on_posting) { return; }
    const char *channel = (const char *)CONTAINER_OF(task, struct posting, task)->channel;
    if (channel == NULL) { return; }
    __builtin_prefetch(channel);
    __builtin_prefetch(channel + CACHE_LINE_BYTES);
}

static void on_posting(struct task *task)
{
    struct posting *d = CONTAINER_OF(task, struct posting, task);
    if (task->next != NULL) { posting_foresee(task->next->next); }
    gap_look_posting(d->fanout, d);
    posting_take(d->fanout, d);
    d->fanout->taken_bytes += d->len;
    block_unref(d->block);
    mem_free(d);
}

static void on_change(struct task *task)
{
    struct index_change *change = CONTAINER_OF(task, struct index_change, task);
    struct subscription *subscription = change->subscription;
    change->subscription = NULL;
    if (change->is_join) {
        subscription_add(change->fanout, subscription);
    } else {
        subscription_remove(change->fanout, subscription);
    }
}

static void answer_publishers(struct fanout *f)
{
    for (uint32_t i = 0; i < f->record_count; i++) {
        const struct publish_record *record = &f->record[i];
        if (record->publisher != NULL && !record->is_silent) {
            f->ops->published(record->publisher, f->run[record->run].receivers, record->count);
        }
    }
    f->record_count = 0;
}

static void runs_release(struct fanout *f)
{
    for (uint32_t i = 0; i < f->run_count; i++) {
        const struct run *run = &f->run[i];
        metric_add(METRIC_messages_published_total, run->message_count);
        if (run->receivers == 0) { metric_add(METRIC_messages_unheard_total, run->message_count); }
        block_unref(run->block);
    }
    f->run_count = 0;
}

void runs_foresee(struct fanout *f, uint32_t at)
{
    uint32_t left = f->run_count - at;
    if (at % DIRECTORY_PREFETCH_MAX != 0 || left < RUNS_WORTH_A_PREFETCH) { return; }
    directory_prefetch(f->directory, &f->run[at],
                       left < DIRECTORY_PREFETCH_MAX ? left : DIRECTORY_PREFETCH_MAX);
}

void fanout_commit(struct fanout *f)
{
    if (f->run_count > 0 && UNLIKELY(f->remote != NULL)) {
        fanout_commit_remote(f);
        runs_release(f);
    } else if (f->run_count > 0) {
        memset(f->woken, 0, f->worker_count * sizeof *f->woken);
        for (uint32_t i = 0; i < f->run_count; i++) {
            runs_foresee(f, i);
            directory_post(f->directory, &f->run[i], f->woken);
        }
        for (uint32_t worker = 0; worker < f->worker_count; worker++) {
            if (f->woken[worker] && worker != f->index) { mailbox_wake(f->mailbox[worker]); }
        }
        answer_publishers(f);
        runs_release(f);
    }
    mailbox_run(&f->inbox);
}

bool fanout_is_congested(struct fanout *f)
{
    return directory_is_congested(f->directory, f->index);
}

bool fanout_is_idle(const struct fanout *f)
{
    return f->run_count == 0 && f->dirty_count == 0 && f->to_flush_count == 0 &&
           mailbox_is_empty(&f->inbox) && mailbox_is_empty(&f->lanes) &&
           list_is_empty(&f->settled) && list_is_empty(&f->changed) && f->leaving_count == 0 &&
           gap_is_over(f);
}

/* ---- subscribe ---- */

/* Make the change here, if this node may. */
static bool pass_change(struct fanout *f, struct subscription *subscription, bool is_join)
{
    if (UNLIKELY(f->remote != NULL) && f->remote->lease(f->remote_arg) == 0) { return false; }
    f->change.subscription = subscription;
    f->change.is_join = is_join;
    const struct topic *topic = subscription->topic;
    bool is_here = is_join ? directory_join(f->directory, f->index, topic->kind, topic_name(topic),
                                            subscription->topic, &f->change.task)
                           : directory_leave(f->directory, f->index, topic->kind, topic_name(topic),
                                             &f->change.task);
    if (!is_here) { return false; }
    mailbox_run(&f->inbox);
    CHECK(f->change.subscription == NULL);
    return true;
}

void topic_retire_if_empty(struct fanout *f, struct topic *topic)
{
    if (topic->solo.count + topic->multi.count == 0 && topic->transits == NULL) {
        topic->is_dead = true;
        topic_mark_dirty(f, topic);
    }
}

enum fanout_change fanout_subscribe(struct fanout *f, struct subscriber *subscriber,
                                    enum topic_kind kind, struct slice name, void *waiter)
{
    struct topic *known = directory_topic(f->directory, f->index, kind, name);
    if (known != NULL && subscription_find(f, subscriber, known) != NULL) { return FANOUT_NOTHING; }
    struct topic *topic = known != NULL ? known : topic_new(kind, name);
    struct subscription *subscription = mem_new0(sizeof *subscription);
    subscription->topic = topic;
    subscription->subscriber = subscriber;
    if (LIKELY(pass_change(f, subscription, true))) { return FANOUT_DONE; }
    mem_free(subscription);
    if (known == NULL) { topic_free(topic); }
    fanout_change_elsewhere(f, subscriber, kind, name, true, waiter);
    return FANOUT_PENDING;
}

enum fanout_change fanout_unsubscribe(struct fanout *f, struct subscriber *subscriber,
                                      enum topic_kind kind, struct slice name, void *waiter)
{
    struct topic *topic = directory_topic(f->directory, f->index, kind, name);
    struct subscription *subscription =
        topic != NULL ? subscription_find(f, subscriber, topic) : NULL;
    if (subscription == NULL) { return FANOUT_NOTHING; }
    if (UNLIKELY(!pass_change(f, subscription, false))) {
        fanout_change_elsewhere(f, subscriber, kind, name, false, waiter);
        return FANOUT_PENDING;
    }
    topic_retire_if_empty(f, topic);
    return FANOUT_DONE;
}

void fanout_each_subscription(struct subscriber *subscriber, enum topic_kind kind,
                              void (*visit)(void *arg, struct slice name), void *arg)
{
    LIST_EACH (at, &subscriber->subscriptions) {
        const struct topic *topic = CONTAINER_OF(at, struct subscription, link)->topic;
        if (topic->kind == kind) { visit(arg, topic_name(topic)); }
    }
}

void subscriber_set_version(struct fanout *f, struct subscriber *subscriber, uint8_t resp_version)
{
    LIST_EACH (at, &subscriber->subscriptions) {
        fanout_flush_topic(f, CONTAINER_OF(at, struct subscription, link)->topic);
    }
    fanout_flush_subscriber(f, subscriber);
    subscriber->resp_version = resp_version;
}

size_t subscriber_bytes(const struct subscriber *subscriber)
{
    enum { SLOTS_PER_SUBSCRIPTION = 2 };
    size_t one = sizeof(struct subscription) + sizeof(struct attachment) +
                 SLOTS_PER_SUBSCRIPTION * sizeof(struct subscription *);
    return subscriber_total(subscriber) * one + subscriber->pending_cap * sizeof(uint32_t);
}

/* ---- with the cluster ---- */

void fanout_set_remote(struct fanout *f, const struct fanout_remote_ops *ops, void *arg)
{
    f->remote = ops;
    f->remote_arg = arg;
    directory_feed_lanes(f->directory, f->index, ops->on_lane_item, arg);
}

void fanout_wake(struct fanout *f)
{
    mailbox_wake(f->mailbox[f->index]);
}

void fanout_wake_others(struct fanout *f)
{
    for (uint32_t worker = 0; worker < f->worker_count; worker++) {
        if (f->woken[worker] && worker != f->index) { mailbox_wake(f->mailbox[worker]); }
    }
}

struct mailbox *fanout_lanes(struct fanout *f)
{
    return &f->lanes;
}

void fanout_push(struct fanout *f, struct task *task)
{
    mailbox_push(&f->inbox, task);
}

void fanout_settle(struct fanout *f)
{
    shipments_settle(f);
    changes_tell(f);
}

/* ---- life ---- */

void fanout_tick(struct fanout *f)
{
    enum { TICKS_PER_LOOK = 100 };
    if (++f->tick_count % TICKS_PER_LOOK != 0) { return; }
    ARRAY_GIVE_BACK(f->run, f->run_count, f->run_cap);
    ARRAY_GIVE_BACK(f->record, f->record_count, f->record_cap);
    ARRAY_GIVE_BACK(f->delivery, f->delivery_count, f->delivery_cap);
    ARRAY_GIVE_BACK(f->dirty, f->dirty_count, f->dirty_cap);
    ARRAY_GIVE_BACK(f->to_flush, f->to_flush_count, f->to_flush_cap);
    ARRAY_GIVE_BACK(f->leaving, f->leaving_count, f->leaving_cap);
    ARRAY_GIVE_BACK(f->scratch_full, f->scratch_full_count, f->scratch_full_cap);
}

/* The inbox has no sleeper of its own: who pushes to it wakes the worker through the worker's
 * mailbox. So have the lanes. */
static void never_called(void *arg)
{
    (void)arg;
    UNREACHABLE();
}

struct fanout *fanout_new(struct directory *directory, struct mailbox *const *mailbox,
                          uint32_t mailbox_count, uint32_t index, const struct fanout_ops *ops)
{
    CHECK(index < mailbox_count);
    struct fanout *f = mem_new0(sizeof *f);
    f->directory = directory;
    f->mailbox = mailbox;
    f->worker_count = mailbox_count;
    f->index = index;
    f->ops = ops;
    f->drops_left = FANOUT_DROPS_PER_TURN;
    f->woken = mem_new0(mailbox_count * sizeof *f->woken);
    f->change = (struct index_change){.task.run = on_change, .fanout = f};
    mailbox_init(&f->inbox, never_called, f);
    mailbox_init(&f->lanes, never_called, f);
    list_init(&f->changed);
    shipments_init(f);
    const struct directory_member member = {f, &f->inbox, &f->lanes, mailbox[index], on_posting};
    directory_attach(directory, index, &member);
    return f;
}

void fanout_free(struct fanout *f)
{
    if (f == NULL) { return; }
    fanout_leave_all(f);
    CHECK(subscription_set_count(&f->subscriptions) == 0);
    fanout_commit(f);
    fanout_flush(f);
    shipments_fini(f);
    changes_tell(f);
    CHECK(f->change_count == 0);
    block_unref(f->arena);
    block_unref(f->scratch);
    gap_fini(f);
    mem_free(f->scratch_full);
    mem_free(f->run);
    mem_free(f->record);
    mem_free(f->delivery);
    mem_free(f->dirty);
    mem_free(f->to_flush);
    mem_free(f->leaving);
    for (unsigned version = 0; version < VERSIONS; version++) {
        mem_free(f->gathered[version]);
    }
    mem_free(f->woken);
    mem_free(f);
}
