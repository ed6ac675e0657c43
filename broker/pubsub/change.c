/* change: subscriptions of this node's workers in the directory. What is decided here is in force at once; what others
 * have to count is applied when they do. */
#include "pubsub/change.h"

#include "base/mem.h"
#include "pubsub/change_int.h"
#include "pubsub/table_int.h"
#include "pubsub/topic_int.h"

struct topic *directory_topic(struct directory *d, uint32_t worker, enum topic_kind kind,
                              struct slice name)
{
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    struct topic *topic = local_topic(d, stripe, worker, kind, name, hash);
    stripe_unlock(stripe);
    return topic;
}

/* Is a change of subscriptions to this name for this node alone to decide? Under the name's lock. */
static bool is_decided_here(const struct directory *d, enum topic_kind kind, struct slice name)
{
    if (LIKELY(d->partition_count == 0)) { return true; }
    return kind != TOPIC_PATTERN &&
           d->partition[directory_partition_of(d, name)].at.phase == PARTITION_OWNED;
}

bool directory_join(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                    struct topic *topic, struct task *change)
{
    if (kind == TOPIC_PATTERN && d->partition_count > 0) { return false; }
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = name_lock(d, kind, hash);
    bool is_here = is_decided_here(d, kind, name);
    if (is_here) {
        local_join(d, stripe, worker, kind, name, hash, topic);
        mailbox_push(d->member[worker].is.inbox, change);
    }
    name_unlock(d, stripe);
    return is_here;
}

bool directory_leave(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                     struct task *change)
{
    if (kind == TOPIC_PATTERN && d->partition_count > 0) { return false; }
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = name_lock(d, kind, hash);
    bool is_here = is_decided_here(d, kind, name);
    if (is_here) {
        local_leave(d, stripe, worker, kind, name, hash);
        mailbox_push(d->member[worker].is.inbox, change);
    }
    name_unlock(d, stripe);
    return is_here;
}

/* ---- clients that go away ---- */

/* Does the partition's owner count, or is it about to count, what our clients want? */
static bool is_counted(const struct remote_partition *at)
{
    return at->phase == PARTITION_SYNCED || at->phase == PARTITION_READY;
}

/* A pattern's change that has begun goes on without its client. */
static bool deliver_pattern_drop(struct directory *d, struct directory_drop *drop)
{
    drop->partition = 0;
    drop->epoch = ++d->pattern_changes;
    bool is_under_way = drop->pending != NULL && drop->pending->is_begun;
    if (drop->pending != NULL) { drop->pending->is_cancelled = true; }
    drop->is_to_be_told = !is_under_way;
    return !is_under_way;
}

/* Who must be told of a drop, and what becomes of its pending change. Under the name's lock. True: the
 * subscriber still has its share, which is to go. */
static bool delivery_drop(struct directory *d, struct directory_drop *drop)
{
    drop->is_to_be_told = false;
    if (d->partition_count == 0) { return true; }
    if (drop->kind == TOPIC_PATTERN) { return deliver_pattern_drop(d, drop); }
    drop->partition = directory_partition_of(d, drop->name);
    const struct remote_partition *at = &d->partition[drop->partition].at;
    drop->snapshot = at->snapshot;
    struct interest_change *pending = drop->pending;
    if (pending == NULL) {
        drop->is_to_be_told = is_counted(at);
        return true;
    }
    pending->is_cancelled = true; /* its own telling goes on, if it is still right */
    if (pending->is_applied) { return false; }
    pending->is_drop = is_counted(at);
    pending->snapshot = at->snapshot;
    return true;
}

void directory_drop(struct directory *d, uint32_t worker, struct directory_drop *drop,
                    uint32_t count)
{
    if (count == 0) { return; }
    bool is_patterns = drop->kind == TOPIC_PATTERN;
    if (is_patterns) { directory_lock_all(d); }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = directory_hash(drop[i].kind, drop[i].name);
        struct stripe *stripe = is_patterns ? NULL : stripe_lock(d, hash);
        if (delivery_drop(d, &drop[i])) {
            local_leave(d, stripe, worker, drop[i].kind, drop[i].name, hash);
        }
        if (stripe != NULL) { stripe_unlock(stripe); }
    }
    if (is_patterns) { directory_unlock_all(d); }
}

void directory_cancel_change(struct directory *d, struct interest_change *change)
{
    struct slice name = interest_change_name(change);
    struct stripe *stripe = name_lock(d, change->kind, directory_hash(change->kind, name));
    change->is_cancelled = true;
    if (change->is_begun && !change->is_applied) { /* a pattern: not counted here from now on */
        struct pattern *pattern = pattern_find(d, name);
        CHECK(pattern != NULL && pattern->joining > 0);
        pattern->joining--;
        pattern->total--;
    }
    name_unlock(d, stripe);
}

/* ---- what others have counted ---- */

enum change_result directory_apply_change(struct directory *d, struct interest_change *change,
                                          uint64_t snapshot)
{
    CHECK(change->kind != TOPIC_PATTERN);
    struct slice name = interest_change_name(change);
    uint64_t hash = directory_hash(change->kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    uint32_t worker = change->worker;
    if (d->partition[change->partition].at.snapshot != snapshot) {
        stripe_unlock(stripe);
        return CHANGE_IS_STALE;
    }
    bool is_void_join = change->is_cancelled && change->is_join;
    change->is_void = change->is_cancelled;
    if (!change->is_void) {
        change->topic = local_topic(d, stripe, worker, change->kind, name, hash);
    }
    if (!change->is_void && change->is_join) {
        if (change->topic == NULL) { change->topic = topic_new(change->kind, name); }
        local_join(d, stripe, worker, change->kind, name, hash, change->topic);
    } else if (!change->is_void) {
        local_leave(d, stripe, worker, change->kind, name, hash);
    }
    change->is_applied = true;
    mailbox_push(d->member[worker].is.inbox, &change->task); /* from here on it is its worker's */
    stripe_unlock(stripe);
    member_wake(d, worker);
    return is_void_join ? CHANGE_IS_VOID : CHANGE_APPLIED;
}

/* ---- patterns ---- */

static void pattern_begin_join(struct directory *d, struct interest_change *change, uint32_t worker)
{
    struct slice text = interest_change_name(change);
    uint64_t hash = directory_hash(TOPIC_PATTERN, text);
    change->topic = local_topic(d, NULL, worker, TOPIC_PATTERN, text, hash);
    if (change->topic == NULL) { change->topic = topic_new(TOPIC_PATTERN, text); }
    local_join(d, NULL, worker, TOPIC_PATTERN, text, hash, change->topic);
    pattern_find(d, text)->joining++;
}

static void pattern_begin_leave(struct directory *d, struct interest_change *change,
                                uint32_t worker)
{
    struct pattern *pattern = pattern_find(d, interest_change_name(change));
    CHECK(pattern != NULL && pattern->total > 0 && pattern->share[worker].topic != NULL);
    change->topic = pattern->share[worker].topic;
    pattern->total--;
    pattern->leaving++;
}

static void begin_pattern(struct directory *d, struct pattern_step *step)
{
    struct interest_change *change = step->change;
    CHECK(change->kind == TOPIC_PATTERN && !change->is_begun);
    step->is_void = change->is_cancelled;
    if (step->is_void) { return; }
    uint32_t worker = change->worker;
    if (change->is_join) {
        pattern_begin_join(d, change, worker);
    } else {
        pattern_begin_leave(d, change, worker);
    }
    change->is_begun = true;
    mailbox_push(d->member[worker].is.inbox, &change->begin_task);
    member_wake(d, worker);
}

static void end_pattern(struct directory *d, struct pattern_step *step)
{
    struct interest_change *change = step->change;
    CHECK(change->is_begun && !change->is_applied);
    uint32_t worker = change->worker;
    struct pattern *pattern = pattern_find(d, interest_change_name(change));
    CHECK(pattern != NULL);
    change->is_void = change->is_join && change->is_cancelled;
    bool is_in_force = change->is_join && !change->is_void && change->err == ERR_OK;
    if (!change->is_join) {
        pattern->leaving--;
    } else if (!change->is_void) {
        pattern->joining--;
        pattern->total -= is_in_force ? 0 : 1;
    }
    if (!is_in_force) { pattern_share_leave(d, pattern, worker); }
    change->is_applied = true;
    step->is_void = change->is_void;
    mailbox_push(d->member[worker].is.inbox, &change->task); /* from here on it is its worker's */
    member_wake(d, worker);
}

static void all_steps(struct directory *d, struct pattern_step *step, uint32_t count,
                      void (*one)(struct directory *d, struct pattern_step *step))
{
    CHECK(count <= PATTERN_STEPS_MAX);
    if (count == 0) { return; }
    directory_lock_all(d);
    for (uint32_t i = 0; i < count; i++) {
        one(d, &step[i]);
    }
    directory_unlock_all(d);
}

void directory_begin_patterns(struct directory *d, struct pattern_step *step, uint32_t count)
{
    all_steps(d, step, count, begin_pattern);
}

void directory_end_patterns(struct directory *d, struct pattern_step *step, uint32_t count)
{
    all_steps(d, step, count, end_pattern);
}
