/* changes: a worker's subscriptions that other nodes have to count, from the client's asking to its being told. */
#include "base/clock.h"
#include "base/mem.h"
#include "pubsub/fanout_int.h"

static void attach(struct interest_change *change)
{
    CHECK(change->subscriber != NULL); /* its client would have cancelled it */
    struct subscription *subscription = mem_new0(sizeof *subscription);
    subscription->topic = change->topic;
    subscription->subscriber = change->subscriber;
    subscription_add(change->fanout, subscription);
    /* Who is counted may have been counted in front of a gap already. */
    if (gap_is_since(change->fanout, change->partition, change->gap_number)) {
        gap_cut(change->fanout, change->subscriber);
    }
}

static void unseat(struct interest_change *change)
{
    struct fanout *f = change->fanout;
    struct topic *topic = change->topic;
    struct subscription *subscription = subscription_find(f, change->subscriber, topic);
    CHECK(subscription != NULL);
    subscription_remove(f, subscription);
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
        attach(change);
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
    change->worker = f->index;
    change->kind = kind;
    change->is_join = is_join;
    change->since_ns = clock_mono_ns();
    change->gap_number = f->gap.number;
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

void changes_tell(struct fanout *f)
{
    struct list *link;
    while ((link = list_pop_front(&f->changed)) != NULL) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        chain_out(change);
        f->ops->changed(change->waiter, change->err);
        mem_free(change);
    }
}
