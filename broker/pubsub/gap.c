/* gap: see the header. */
#include "pubsub/gap_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "pubsub/fanout_int.h"
#include "pubsub/table_int.h"

enum {
    ENTRIES_PER_TURN = 4096, /* channels, and buckets of patterns, that are looked at */
    CLOSED_PER_TURN = 256,
};

/* ---- who is attached there ---- */

void gap_cut(struct fanout *f, struct subscriber *subscriber)
{
    struct gap *gap = &f->gap;
    if (subscriber->cut_at != 0) { return; }
    ARRAY_GROW(gap->cut, gap->cut_count, gap->cut_cap);
    gap->cut[gap->cut_count++] = subscriber;
    subscriber->cut_at = gap->cut_count;
}

static void cut_attached(struct fanout *f, struct attachments *attachments)
{
    const struct attachment *attachment = attachments_begin(attachments);
    for (uint32_t i = 0; i < attachments->count; i++) {
        gap_cut(f, attachment[i].subscriber);
    }
}

static void cut_all(struct fanout *f, struct topic *topic)
{
    cut_attached(f, &topic->solo);
    cut_attached(f, &topic->multi);
    for (const struct transit *at = topic->transits; at != NULL; at = at->next) {
        if (at->subscription != NULL) { gap_cut(f, at->subscription->subscriber); }
    }
}

/* A topic that has come since, and nobody has looked at, had nobody in it then. */
static void look(struct fanout *f, struct topic *topic, uint32_t partition)
{
    uint32_t number = topic->kind == TOPIC_PATTERN ? f->gap.number : f->gap.partition[partition];
    if (number >= f->gap.since && number > topic->gap_seen) { cut_all(f, topic); }
    topic->gap_seen = f->gap.number;
}

bool gap_is_since(const struct fanout *f, uint32_t partition, uint32_t number)
{
    return f->gap.partition != NULL && f->gap.partition[partition] > number;
}

void gap_look_topic(struct fanout *f, struct topic *topic)
{
    if (UNLIKELY(f->gap.is_open) && topic->gap_seen < f->gap.number) {
        look(f, topic, directory_partition_of(f->directory, topic_name(topic)));
    }
}

void gap_look_posting(struct fanout *f, const struct posting *d)
{
    if (LIKELY(!f->gap.is_open)) { return; }
    if (d->channel != NULL) { gap_look_topic(f, d->channel); }
    for (uint32_t i = 0; i < d->pattern_count; i++) {
        gap_look_topic(f, d->pattern[i]);
    }
}

/* ---- the others ---- */

/* Returns how many there are. */
static uint32_t look_at_stripe(struct fanout *f, struct stripe *stripe)
{
    uint32_t count = 1;
    for (uint32_t p = 0; p < f->directory->partition_count; p++) {
        if (f->gap.partition[p] < f->gap.since) { continue; }
        LIST_EACH (at, &stripe->local[p]) {
            const struct entry *entry = CONTAINER_OF(at, struct entry, link);
            struct topic *topic = entry->share[f->index].topic;
            count++;
            if (topic != NULL) { look(f, topic, p); }
        }
    }
    return count;
}

/* Under a stripe. */
static void look_at_patterns(struct fanout *f, uint32_t bucket_count)
{
    struct gap *gap = &f->gap;
    const struct map *set = patterns_by_text(f->directory->patterns);
    if (set->bucket_count < gap->bucket_count) { gap->bucket = 0; } /* some have moved behind */
    gap->bucket_count = set->bucket_count;
    for (; gap->bucket < set->bucket_count && bucket_count > 0; gap->bucket++, bucket_count--) {
        for (struct map_node *at = set->bucket[gap->bucket]; at != NULL; at = at->next) {
            const struct pattern *pattern = CONTAINER_OF(at, struct pattern, node.by_text);
            struct topic *topic = pattern->share[f->index].topic;
            if (topic != NULL) { look(f, topic, 0); }
        }
    }
    gap->is_open = gap->bucket < set->bucket_count;
}

static void look_at_some(struct fanout *f)
{
    struct gap *gap = &f->gap;
    uint32_t left = ENTRIES_PER_TURN;
    while (gap->stripe < DIRECTORY_STRIPES && left > 0) {
        struct stripe *stripe = &f->directory->stripe[gap->stripe++];
        lock_take(&stripe->lock);
        uint32_t count = look_at_stripe(f, stripe);
        stripe_unlock(stripe);
        left -= count < left ? count : left;
    }
    if (gap->stripe < DIRECTORY_STRIPES) { return; }
    struct stripe *stripe = stripe_lock(f->directory, 0);
    look_at_patterns(f, left);
    stripe_unlock(stripe);
}

/* ---- closing ---- */

static void close_some(struct fanout *f)
{
    struct gap *gap = &f->gap;
    for (uint32_t left = CLOSED_PER_TURN; gap->closed_count < gap->cut_count && left > 0; left--) {
        struct subscriber *subscriber = gap->cut[gap->closed_count++];
        if (subscriber == NULL) { continue; }
        gap->interrupted++;
        f->ops->interrupted(subscriber);
    }
    if (gap->closed_count < gap->cut_count || gap->is_open) { return; }
    LOG_WARN("subscribers closed", LOG_STR("reason", "they may have missed a message"),
             LOG_UINT("clients", gap->interrupted), LOG_UINT("worker", f->index));
    for (uint32_t i = 0; i < gap->cut_count; i++) {
        if (gap->cut[i] != NULL) { gap->cut[i]->cut_at = CUT_NEVER; }
    }
    gap->cut_count = 0;
    gap->closed_count = 0;
    gap->interrupted = 0;
    ARRAY_GIVE_BACK(gap->cut, gap->cut_count, gap->cut_cap);
}

void gap_forget(struct fanout *f, struct subscriber *subscriber)
{
    if (subscriber->cut_at != 0 && subscriber->cut_at != CUT_NEVER) {
        f->gap.cut[subscriber->cut_at - 1] = NULL;
    }
    subscriber->cut_at = CUT_NEVER;
}

bool gap_is_over(const struct fanout *f)
{
    return !f->gap.is_open && f->gap.cut_count == 0;
}

void gap_turn(struct fanout *f)
{
    if (f->gap.is_open) { look_at_some(f); }
    if (f->gap.cut_count > 0) { close_some(f); }
}

void gap_fini(struct fanout *f)
{
    mem_free(f->gap.partition);
    mem_free(f->gap.cut);
}

/* ---- a gap ---- */

struct gap_mark {
    struct task task;
    struct fanout *fanout;
    bool is_missing[]; /* by partition */
};

static void on_mark(struct task *task)
{
    struct gap_mark *mark = CONTAINER_OF(task, struct gap_mark, task);
    struct fanout *f = mark->fanout;
    struct gap *gap = &f->gap;
    uint32_t partition_count = f->directory->partition_count;
    if (gap->partition == NULL) {
        gap->partition = mem_new0(partition_count * sizeof *gap->partition);
    }
    gap->number++;
    for (uint32_t p = 0; p < partition_count; p++) {
        if (mark->is_missing[p]) { gap->partition[p] = gap->number; }
    }
    gap->since = gap->is_open ? gap->since : gap->number;
    gap->is_open = true;
    gap->stripe = 0;
    gap->bucket = 0;
    mem_free(mark);
}

void fanout_interrupt(struct fanout *f, const bool *is_missing)
{
    uint32_t partition_count = f->directory->partition_count;
    struct gap_mark *mark = mem_new(sizeof *mark + partition_count);
    mark->task.run = on_mark;
    mark->fanout = f;
    memcpy(mark->is_missing, is_missing, partition_count);
    fanout_push(f, &mark->task);
    fanout_wake(f);
}
