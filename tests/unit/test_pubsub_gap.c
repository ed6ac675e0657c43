/* A gap: messages of a partition have been lost on their way here. Who may miss one is shown nothing of what is behind
 * the gap, and is closed; all others see nothing of it. This node owns all partitions. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "pubsub/change.h"
#include "pubsub/fanout.h"
#include "pubsub/partition.h"
#include "pubsub/remote.h"

enum { PARTITIONS = 4, CLIENTS = 4, MANY = 20000 };

struct client {
    struct subscriber subscriber;
    unsigned received;
    bool is_closed;
};

struct world {
    struct directory *directory;
    struct mailbox mailbox;
    struct mailbox *mailboxes[1];
    struct fanout *fanout;
    char channel[PARTITIONS][16]; /* one in each */
    struct client client[CLIENTS];
};

static struct world *world;

static void on_deliver(struct subscriber *subscriber, struct batch *batch)
{
    CONTAINER_OF(subscriber, struct client, subscriber)->received += batch->messages;
}

static void on_published(void *publisher, uint64_t receivers, uint32_t count)
{
    (void)publisher;
    (void)receivers;
    (void)count;
}

static void on_dropped(struct subscriber *subscriber)
{
    (void)subscriber;
}

static void on_interrupted(struct subscriber *subscriber)
{
    struct client *client = CONTAINER_OF(subscriber, struct client, subscriber);
    cr_assert(!client->is_closed);
    client->is_closed = true;
}

static const struct fanout_ops ops = {.deliver = on_deliver,
                                      .published = on_published,
                                      .dropped = on_dropped,
                                      .interrupted = on_interrupted};

static void on_change(void *arg, struct interest_change *change)
{
    (void)arg; /* nobody counts it, and nobody waits for that */
    if (change->is_drop) {
        interest_change_free(change);
    } else {
        interest_change_end(change, ERR_OK);
    }
}

static uint64_t the_lease(void *arg)
{
    (void)arg;
    return 1;
}

static bool no(void *arg, uint32_t partition, enum topic_kind kind, struct slice channel)
{
    (void)arg;
    (void)partition;
    (void)kind;
    (void)channel;
    return false;
}

static const struct fanout_remote_ops remote_ops = {
    .change = on_change, .lease = the_lease, .must_wait = no};

static void no_wake(void *arg)
{
    (void)arg;
}

static void own_all(void *arg)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        directory_partition(arg, p)->phase = PARTITION_OWNED;
    }
}

static void name_channels(void)
{
    unsigned left = PARTITIONS;
    for (unsigned n = 0; left > 0; n++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", n);
        uint32_t p = directory_partition_of(world->directory, slice_of_str(name));
        if (world->channel[p][0] != '\0') { continue; }
        snprintf(world->channel[p], sizeof name, "%s", name);
        left--;
    }
}

static void world_new(void)
{
    world = mem_new0(sizeof *world);
    world->directory = directory_new(1);
    directory_set_partitions(world->directory, PARTITIONS, SIZE_MAX);
    directory_exclusive(world->directory, own_all, world->directory);
    name_channels();
    mailbox_init(&world->mailbox, no_wake, NULL);
    world->mailboxes[0] = &world->mailbox;
    world->fanout = fanout_new(world->directory, world->mailboxes, 1, 0, &ops);
    fanout_set_remote(world->fanout, &remote_ops, NULL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        subscriber_init(&world->client[i].subscriber, 2);
    }
}

static void turn(void)
{
    fanout_commit(world->fanout);
    fanout_settle(world->fanout);
    fanout_flush(world->fanout);
}

static unsigned turns_to_the_end(void)
{
    unsigned count = 0;
    while (!fanout_is_idle(world->fanout)) {
        turn();
        cr_assert_lt(++count, 10000);
    }
    return count;
}

static void world_free(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        (void)!fanout_drop(world->fanout, &world->client[i].subscriber);
    }
    (void)turns_to_the_end();
    fanout_free(world->fanout);
    directory_free(world->directory);
    mem_free(world);
}

static void join(struct client *client, const char *name)
{
    cr_assert_eq(fanout_subscribe(world->fanout, &client->subscriber, TOPIC_CHANNEL,
                                  slice_of_str(name), NULL),
                 FANOUT_DONE);
}

static void leave(struct client *client, const char *name)
{
    cr_assert_eq(fanout_unsubscribe(world->fanout, &client->subscriber, TOPIC_CHANNEL,
                                    slice_of_str(name), NULL),
                 FANOUT_DONE);
}

static void publish(unsigned partition)
{
    fanout_publish(world->fanout, TOPIC_CHANNEL, slice_of_str(world->channel[partition]),
                   slice_of_str("x"), world);
    fanout_commit(world->fanout);
}

static void lose(unsigned partition)
{
    bool is_missing[PARTITIONS] = {false};
    is_missing[partition] = true;
    fanout_interrupt(world->fanout, is_missing);
}

Test(gap, who_may_miss_a_message_is_shown_nothing_behind_it_and_is_closed)
{
    world_new();
    struct client *client = world->client;
    join(&client[0], world->channel[0]);
    join(&client[1], world->channel[1]);
    join(&client[2], world->channel[0]);
    join(&client[2], world->channel[1]);
    publish(0);
    publish(1);
    turn();
    lose(0);
    publish(0); /* all in one turn, as when another lane brings it at once */
    publish(1);
    (void)turns_to_the_end();
    cr_assert(client[0].is_closed && client[0].received == 1);
    cr_assert(client[2].is_closed && client[2].received == 2);
    cr_assert(!client[1].is_closed && client[1].received == 2);
    world_free();
}

Test(gap, who_subscribes_behind_it_is_none_of_them)
{
    world_new();
    struct client *client = world->client;
    join(&client[0], world->channel[0]);
    lose(0);
    join(&client[1], world->channel[0]);
    publish(0);
    turn();
    join(&client[2], world->channel[0]);
    publish(0);
    (void)turns_to_the_end();
    cr_assert(client[0].is_closed && client[0].received == 0);
    cr_assert(!client[1].is_closed && client[1].received == 2);
    cr_assert(!client[2].is_closed && client[2].received == 1);
    world_free();
}

Test(gap, an_earlier_one_is_not_held_against_who_has_come_since)
{
    world_new();
    struct client *client = world->client;
    lose(0);
    (void)turns_to_the_end();
    join(&client[0], world->channel[0]);
    join(&client[1], world->channel[1]);
    lose(1);
    publish(0);
    (void)turns_to_the_end();
    cr_assert(!client[0].is_closed && client[0].received == 1);
    cr_assert(client[1].is_closed);
    world_free();
}

Test(gap, who_unsubscribes_behind_it_is_closed_all_the_same)
{
    world_new();
    struct client *client = world->client;
    join(&client[0], world->channel[0]);
    join(&client[0], world->channel[1]);
    lose(0);
    leave(&client[0], world->channel[0]);
    (void)turns_to_the_end();
    cr_assert(client[0].is_closed);
    world_free();
}

Test(gap, who_is_gone_before_its_turn_is_not_closed)
{
    world_new();
    struct client *client = world->client;
    join(&client[0], world->channel[0]);
    join(&client[1], world->channel[0]);
    lose(0);
    publish(0); /* they are found */
    (void)!fanout_drop(world->fanout, &client[0].subscriber);
    (void)turns_to_the_end();
    cr_assert(!client[0].is_closed);
    cr_assert(client[1].is_closed);
    world_free();
}

Test(gap, whoever_there_is_is_found_a_part_in_each_turn)
{
    world_new();
    struct client *many = mem_new0(MANY * sizeof *many);
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        subscriber_init(&many[i].subscriber, 2);
        join(&many[i], name);
    }
    turn();
    const bool all[PARTITIONS] = {true, true, true, true};
    fanout_interrupt(world->fanout, all);
    turn();
    unsigned closed = 0;
    for (unsigned i = 0; i < MANY; i++) {
        closed += many[i].is_closed;
    }
    cr_assert_lt(closed, MANY / 10);
    cr_assert_gt(turns_to_the_end(), 10);
    for (unsigned i = 0; i < MANY; i++) {
        cr_assert(many[i].is_closed);
        (void)!fanout_drop(world->fanout, &many[i].subscriber);
    }
    world_free();
    mem_free(many);
}
