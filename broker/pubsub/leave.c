/* leave: subscribers that go away with all they have. A change of the pattern set takes every stripe, and somebody may
 * have a hundred thousand subscriptions: they leave the directory in groups, and so many of them in a turn. */
#include "base/mem.h"
#include "pubsub/fanout_int.h"

enum { DROPS_AT_ONCE = 256 };

/* Subscriptions that leave the directory at once: patterns, or none of them is one. */
struct drops {
    struct fanout *fanout;
    uint32_t count;
    struct directory_drop drop[DROPS_AT_ONCE];
};

static void drops_begin(struct drops *drops, struct fanout *f)
{
    drops->fanout = f; /* the array is large, and is left as it is */
    drops->count = 0;
}

static void drops_make(struct drops *drops)
{
    struct fanout *f = drops->fanout;
    directory_drop(f->directory, f->index, drops->drop, drops->count);
    for (uint32_t i = 0; i < drops->count; i++) {
        if (drops->drop[i].is_to_be_told) { fanout_tell_drop(f, &drops->drop[i]); }
    }
    drops->count = 0;
}

static void drops_add(struct drops *drops, const struct directory_drop *drop)
{
    bool is_pattern = drop->kind == TOPIC_PATTERN;
    bool fits = drops->count == 0 || (drops->drop[0].kind == TOPIC_PATTERN) == is_pattern;
    if (!fits || drops->count == DROPS_AT_ONCE) { drops_make(drops); }
    drops->drop[drops->count++] = *drop;
}

/* ---- what is pending ---- */

/* What has not begun yet never will; of a leaving that others are asked for, what it had goes now. */
static void cancel(struct drops *drops, struct subscriber *subscriber,
                   struct interest_change *change)
{
    struct fanout *f = drops->fanout;
    if (change->is_join) {
        directory_cancel_change(f->directory, change);
        return;
    }
    struct slice name = interest_change_name(change);
    struct topic *topic = directory_topic(f->directory, f->index, change->kind, name);
    struct subscription *subscription =
        topic != NULL ? subscription_find(f, subscriber, topic) : NULL;
    if (subscription == NULL || subscription->is_in_transit) { return; } /* it goes on alone */
    subscription->is_dropped = true;
    const struct directory_drop drop = {.kind = change->kind, .name = name, .pending = change};
    drops_add(drops, &drop);
}

static void discard(struct fanout *f, struct subscription *subscription)
{
    struct topic *topic = subscription->topic;
    subscription_discard(f, subscription);
    topic_retire_if_empty(f, topic);
}

static void drop_changes(struct fanout *f, struct subscriber *subscriber)
{
    if (subscriber->changes == NULL) { return; }
    mailbox_run(&f->inbox); /* what has been applied or begun by now is made */
    struct drops drops;
    drops_begin(&drops, f);
    for (struct interest_change *at = subscriber->changes; at != NULL; at = at->next) {
        if (!at->is_ended) { cancel(&drops, subscriber, at); }
    }
    drops_make(&drops);
    mailbox_run(&f->inbox);
    struct interest_change *next;
    for (struct interest_change *at = subscriber->changes; at != NULL; at = next) {
        next = at->next;
        struct subscription *in_transit = at->transit != NULL ? at->transit->subscription : NULL;
        fanout_forget_change(at);
        if (in_transit != NULL) { discard(f, in_transit); }
    }
}

/* ---- what is in force ---- */

static void leave_some(struct fanout *f, struct subscriber *subscriber, uint32_t count)
{
    struct drops drops;
    drops_begin(&drops, f);
    struct list gone;
    list_init(&gone);
    while (count-- > 0 && !list_is_empty(&subscriber->subscriptions)) {
        struct list *link = list_pop_front(&subscriber->subscriptions);
        list_push_back(&gone, link);
        const struct subscription *subscription = CONTAINER_OF(link, struct subscription, link);
        if (subscription->is_dropped) { continue; }
        const struct topic *topic = subscription->topic;
        const struct directory_drop drop = {.kind = topic->kind, .name = topic_name(topic)};
        drops_add(&drops, &drop);
    }
    drops_make(&drops);
    mailbox_run(&f->inbox); /* from here on no posting names a topic that has left */
    LIST_EACH (at, &gone) {
        discard(f, CONTAINER_OF(at, struct subscription, link));
    }
}

/* A part of what the subscriber has; true: nothing is left. */
static bool leave(struct fanout *f, struct subscriber *subscriber, uint32_t *left)
{
    while (*left > 0 && !list_is_empty(&subscriber->subscriptions)) {
        uint32_t count = *left < DROPS_AT_ONCE ? *left : DROPS_AT_ONCE;
        leave_some(f, subscriber, count);
        *left -= count;
    }
    return list_is_empty(&subscriber->subscriptions);
}

bool fanout_drop(struct fanout *f, struct subscriber *subscriber)
{
    gap_forget(f, subscriber);
    drop_changes(f, subscriber);
    bool is_gone = leave(f, subscriber, &f->drops_left);
    if (!is_gone) {
        ARRAY_GROW(f->leaving, f->leaving_count, f->leaving_cap);
        f->leaving[f->leaving_count++] = subscriber;
    }
    subscriber_forget_pending(f, subscriber);
    return is_gone;
}

void fanout_leave_ahead(struct fanout *f, struct subscriber *subscriber)
{
    drop_changes(f, subscriber);
    (void)leave(f, subscriber, &f->drops_left);
}

bool fanout_clear(struct fanout *f, struct subscriber *subscriber)
{
    drop_changes(f, subscriber);
    if (!leave(f, subscriber, &f->drops_left)) { return false; }
    subscriber_forget_pending(f, subscriber);
    return true;
}

static void leave_in_turn(struct fanout *f, uint32_t *left)
{
    uint32_t gone = 0;
    while (gone < f->leaving_count && leave(f, f->leaving[gone], left)) {
        struct subscriber *subscriber = f->leaving[gone++];
        subscriber_forget_pending(f, subscriber);
        f->ops->dropped(subscriber);
    }
    f->leaving_count -= gone;
    if (gone > 0 && f->leaving_count > 0) {
        memmove(f->leaving, f->leaving + gone, f->leaving_count * sizeof(struct subscriber *));
    }
}

void fanout_leave_turn(struct fanout *f)
{
    f->drops_left = FANOUT_DROPS_PER_TURN;
    if (LIKELY(f->leaving_count == 0)) { return; }
    leave_in_turn(f, &f->drops_left);
}

void fanout_leave_all(struct fanout *f)
{
    uint32_t left = UINT32_MAX;
    leave_in_turn(f, &left);
}
