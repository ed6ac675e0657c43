/* channels: the worker's index: topics, their attachments, and who has subscribed to what. */
#include "base/mem.h"
#include "pubsub/fanout_int.h"

enum {
    SUBSCRIPTION_SLOTS_MIN = 64,
    SLOTS_PER_CHANGE =
        8, /* moved to another size with each change: that is done long before the next size */
    ATTACHMENTS_MIN = 4,
};

/* ---- the set of subscriptions ---- */

static uint32_t slot_home(const struct subscription_table *table,
                          const struct subscriber *subscriber, const struct topic *topic)
{
    uint64_t mixed = ((uintptr_t)subscriber >> 4) * 0x9e3779b97f4a7c15ULL ^
                     ((uintptr_t)topic >> 4) * 0xd6e8feb86659fd93ULL;
    return (uint32_t)((mixed ^ mixed >> 32) & (table->slot_count - 1));
}

/* The slot, or NULL. */
static struct subscription **table_find(const struct subscription_table *table,
                                        const struct subscriber *subscriber,
                                        const struct topic *topic)
{
    if (table->count == 0) { return NULL; }
    uint32_t at = slot_home(table, subscriber, topic);
    while (table->slot[at] != NULL) {
        const struct subscription *found = table->slot[at];
        if (found->subscriber == subscriber && found->topic == topic) { return &table->slot[at]; }
        at = (at + 1) & (table->slot_count - 1);
    }
    return NULL;
}

static void table_place(struct subscription_table *table, struct subscription *subscription)
{
    uint32_t at = slot_home(table, subscription->subscriber, subscription->topic);
    while (table->slot[at] != NULL) {
        at = (at + 1) & (table->slot_count - 1);
    }
    table->slot[at] = subscription;
    table->count++;
}

/* Empty the slot and move back those that it had pushed along. */
static void table_clear(struct subscription_table *table, struct subscription **slot)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t hole = (uint32_t)(slot - table->slot);
    for (uint32_t at = (hole + 1) & mask; table->slot[at] != NULL; at = (at + 1) & mask) {
        uint32_t home = slot_home(table, table->slot[at]->subscriber, table->slot[at]->topic);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slot[hole] = table->slot[at];
            hole = at;
        }
    }
    table->slot[hole] = NULL;
    table->count--;
}

static void table_fini(struct subscription_table *table)
{
    mem_free(table->slot);
    *table = (struct subscription_table){0};
}

/* Move up to `slots` slots' worth from the old table. */
static void set_move(struct subscription_set *set, uint32_t slots)
{
    struct subscription_table *old = &set->old;
    while (old->count > 0 && slots-- > 0) {
        CHECK(set->old_at < old->slot_count);
        struct subscription **slot = &old->slot[set->old_at];
        if (*slot == NULL) {
            set->old_at++;
            continue;
        }
        struct subscription *subscription = *slot;
        table_clear(old, slot); /* what it had pushed along may take its place */
        table_place(&set->now, subscription);
    }
    if (old->count == 0 && old->slot != NULL) { table_fini(old); }
}

/* Begin to move to another size. Moving is faster than growing: nobody finds the old one still there. */
static void set_resize(struct subscription_set *set, uint32_t slot_count)
{
    set_move(set, UINT32_MAX);
    set->old = set->now;
    set->old_at = 0;
    set->now = (struct subscription_table){
        .slot = mem_new0(slot_count * sizeof(struct subscription *)),
        .slot_count = slot_count,
    };
    set_move(set, SUBSCRIPTION_SLOTS_MIN);
}

struct subscription *subscription_find(const struct fanout *fanout,
                                       const struct subscriber *subscriber,
                                       const struct topic *topic)
{
    const struct subscription_set *set = &fanout->subscriptions;
    struct subscription **slot = table_find(&set->now, subscriber, topic);
    if (slot == NULL) { slot = table_find(&set->old, subscriber, topic); }
    return slot != NULL ? *slot : NULL;
}

static void set_add(struct subscription_set *set, struct subscription *subscription)
{
    uint32_t slot_count = set->now.slot_count;
    if (subscription_set_count(set) >= slot_count / 4 * 3) {
        set_resize(set, slot_count > 0 ? slot_count * 2 : SUBSCRIPTION_SLOTS_MIN);
    }
    set_move(set, SLOTS_PER_CHANGE);
    table_place(&set->now, subscription);
}

static void set_remove(struct subscription_set *set, const struct subscription *subscription)
{
    struct subscription_table *table = &set->now;
    struct subscription **slot = table_find(table, subscription->subscriber, subscription->topic);
    if (slot == NULL) {
        table = &set->old;
        slot = table_find(table, subscription->subscriber, subscription->topic);
    }
    CHECK(slot != NULL && *slot == subscription);
    table_clear(table, slot);
    set_move(set, SLOTS_PER_CHANGE);
    uint32_t count = subscription_set_count(set);
    uint32_t slot_count = set->now.slot_count;
    if (count == 0) {
        table_fini(&set->now);
    } else if (slot_count > SUBSCRIPTION_SLOTS_MIN && count < slot_count / 8) {
        set_resize(set, slot_count / 2);
    }
}

/* ---- attachments ---- */

static void attachments_add(struct attachments *attachments, struct subscription *subscription)
{
    if (attachments->count == 1 && attachments->cap == 0) {
        struct attachment one = attachments->one;
        attachments->cap = ATTACHMENTS_MIN;
        attachments->many = mem_new(attachments->cap * sizeof *attachments->many);
        attachments->many[0] = one;
    } else if (attachments->cap > 0 && attachments->count == attachments->cap) {
        attachments->cap *= 2;
        attachments->many =
            mem_resize(attachments->many, attachments->cap * sizeof *attachments->many);
    }
    subscription->attached_at = attachments->count;
    attachments_begin(attachments)[attachments->count++] =
        (struct attachment){subscription->subscriber, subscription};
}

static void attachments_remove(struct attachments *attachments,
                               const struct subscription *subscription)
{
    struct attachment *attachment = attachments_begin(attachments);
    CHECK(attachment[subscription->attached_at].subscription == subscription);
    struct attachment last = attachment[--attachments->count];
    attachment[subscription->attached_at] = last;
    last.subscription->attached_at = subscription->attached_at;
    if (attachments->cap > 0 && attachments->count <= 1) {
        struct attachment one = attachments->many[0];
        mem_free(attachments->many);
        attachments->one = one;
        attachments->cap = 0;
    } else if (attachments->cap > ATTACHMENTS_MIN && attachments->count < attachments->cap / 4) {
        attachments->cap /= 2;
        attachments->many =
            mem_resize(attachments->many, attachments->cap * sizeof *attachments->many);
    }
}

static struct attachments *attachments_of(struct subscription *subscription)
{
    struct topic *topic = subscription->topic;
    return subscription->is_solo ? &topic->solo : &topic->multi;
}

static void attach(struct subscription *subscription, bool is_solo)
{
    subscription->is_solo = is_solo;
    subscription->is_in_transit = false;
    attachments_add(attachments_of(subscription), subscription);
}

/* The subscriber's first subscription changes its kind of attachment. Solo attachments get a chain when it is
 * flushed, multi attachments when it is made: with the chain and the subscriber's own list empty,
 * nothing is lost or doubled. */
static void reattach_first(struct fanout *fanout, struct subscriber *subscriber, bool to_solo)
{
    struct subscription *first =
        CONTAINER_OF(subscriber->subscriptions.next, struct subscription, link);
    if (first->is_in_transit || first->is_solo == to_solo) { return; }
    fanout_flush_topic(fanout, first->topic);
    fanout_flush_subscriber(fanout, subscriber);
    attachments_remove(attachments_of(first), first);
    attach(first, to_solo);
}

void subscription_enlist(struct fanout *fanout, struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    gap_look_topic(fanout, subscription->topic);
    if (subscriber_total(subscriber) > 0) { reattach_first(fanout, subscriber, false); }
    set_add(&fanout->subscriptions, subscription);
    list_push_back(&subscriber->subscriptions, &subscription->link);
    subscriber->count[subscription->topic->kind]++;
    subscription->is_in_transit = true;
}

void subscription_attach(struct fanout *fanout, struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    bool is_solo = subscriber_total(subscriber) == 1;
    fanout_flush_topic(fanout, subscription->topic);
    if (is_solo) { fanout_flush_subscriber(fanout, subscriber); }
    attach(subscription, is_solo);
}

void subscription_detach(struct fanout *fanout, struct subscription *subscription)
{
    if (subscription->is_solo) { fanout_flush_topic(fanout, subscription->topic); }
    attachments_remove(attachments_of(subscription), subscription);
    subscription->is_solo = false;
    subscription->is_in_transit = true;
}

void subscription_add(struct fanout *fanout, struct subscription *subscription)
{
    subscription_enlist(fanout, subscription);
    subscription_attach(fanout, subscription);
}

void subscription_discard(struct fanout *fanout, struct subscription *subscription)
{
    gap_look_topic(fanout, subscription->topic);
    set_remove(&fanout->subscriptions, subscription);
    list_remove(&subscription->link);
    subscription->subscriber->count[subscription->topic->kind]--;
    if (UNLIKELY(subscription->is_in_transit)) {
        transit_forget(subscription);
    } else {
        attachments_remove(attachments_of(subscription), subscription);
    }
    mem_free(subscription);
}

void subscription_remove(struct fanout *fanout, struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    if (subscription->is_solo) {
        fanout_flush_topic(fanout, subscription->topic);
    } else {
        fanout_flush_subscriber(fanout, subscriber);
    }
    subscription_discard(fanout, subscription);
    if (subscriber_total(subscriber) == 1) { reattach_first(fanout, subscriber, true); }
}
