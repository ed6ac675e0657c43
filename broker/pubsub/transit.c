/* transit: subscriptions to patterns while their change is under way (remote.h: directory_begin_patterns), at their
 * worker. All that happens to one comes through the worker's inbox, so it has its place between the postings. */
#include "base/mem.h"
#include "pubsub/fanout_int.h"

static struct transit *transit_new(struct topic *topic, struct subscription *subscription,
                                   bool is_join)
{
    struct transit *transit = mem_new0(sizeof *transit);
    transit->topic = topic;
    transit->subscription = subscription;
    transit->is_join = is_join;
    transit->next = topic->transits;
    topic->transits = transit;
    return transit;
}

static void transit_free(struct transit *transit)
{
    struct transit **at = &transit->topic->transits;
    while (*at != transit) {
        at = &(*at)->next;
    }
    *at = transit->next;
    mem_free(transit);
}

void transit_begin(struct interest_change *change)
{
    struct fanout *f = change->fanout;
    CHECK(change->subscriber != NULL); /* its client would have cancelled it */
    struct subscription *subscription;
    if (change->is_join) {
        subscription = mem_new0(sizeof *subscription);
        subscription->topic = change->topic;
        subscription->subscriber = change->subscriber;
        subscription_enlist(f, subscription);
    } else {
        subscription = subscription_find(f, change->subscriber, change->topic);
        CHECK(subscription != NULL);
        subscription_detach(f, subscription);
    }
    change->transit = transit_new(change->topic, subscription, change->is_join);
}

void transit_forget(const struct subscription *subscription)
{
    for (struct transit *at = subscription->topic->transits; at != NULL; at = at->next) {
        if (at->subscription == subscription) { at->subscription = NULL; }
    }
}

void transit_end(struct interest_change *change)
{
    struct fanout *f = change->fanout;
    struct topic *topic = change->transit->topic;
    struct subscription *subscription = change->transit->subscription;
    transit_free(change->transit);
    change->transit = NULL;
    if (change->is_join && !change->is_void && change->err == ERR_OK) {
        CHECK(subscription != NULL);
        subscription_attach(f, subscription);
        return;
    }
    if (subscription != NULL) { subscription_remove(f, subscription); }
    topic_retire_if_empty(f, topic);
}

/* ---- an owner's acknowledgement, and the end of what it has acknowledged ---- */

struct acknowledgement {
    struct task task;
    struct interest_change *change;
    struct orderer orderer;
    bool is_counted;
};

static void on_acknowledgement(struct task *task)
{
    struct acknowledgement *ack = CONTAINER_OF(task, struct acknowledgement, task);
    uint64_t *lanes = &ack->change->transit->acknowledged[ack->orderer.node];
    uint64_t lane = 1ULL << ack->orderer.lane;
    *lanes = ack->is_counted ? *lanes | lane : *lanes & ~lane;
    mem_free(ack);
}

void interest_change_counted(struct interest_change *change, struct orderer orderer,
                             bool is_counted)
{
    CHECK(orderer.node < REMOTE_NODES_MAX && orderer.lane < 64);
    struct acknowledgement *ack = mem_new0(sizeof *ack);
    *ack = (struct acknowledgement){{.run = on_acknowledgement}, change, orderer, is_counted};
    fanout_push(change->fanout, &ack->task);
    fanout_wake(change->fanout);
}
