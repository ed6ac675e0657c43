/* Pattern subscriptions that many owners count, each from a point of its own on, against a model: this node owns one
 * partition, two other nodes with two lanes each own the others, and one thread plays all of them in random
 * interleavings. The model: a message reaches exactly those whom its owner counted when it ordered it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/glob.h"
#include "base/mem.h"
#include "pubsub/fanout.h"
#include "pubsub/msg.h"
#include "pubsub/change.h"
#include "pubsub/interest.h"
#include "pubsub/lane.h"
#include "pubsub/partition.h"
#include "pubsub/remote.h"
#include "pubsub/shipment.h"

enum {
    WORKERS = 2,
    OWNERS = 3, /* 0: this node; each owns the partition of its number */
    LANES = 2,
    CLIENTS = 6,
    CHANNELS = 6, /* channel i is owner i % OWNERS's, on lane i / OWNERS */
    PATTERNS = 3,
    LANE_ITEMS_MAX = 4096,
};

static const char *const pattern_name[PATTERNS] = {"c*", "*", "c?*"};

struct client;

/* A change under way, as worker 0 of a node sees it. */
struct op {
    struct client *client;
    struct interest_change *change; /* NULL: there is none */
    unsigned pattern;
    bool has_begun;
    bool is_asked[OWNERS]; /* the owner has still to hear of it */
    unsigned acknowledgements_left;
};

struct lane_thing {
    struct op *op; /* acknowledged here; NULL: a message */
    unsigned number;
    unsigned channel;
    unsigned message;
    unsigned counted[CLIENTS]; /* the number of the subscription that is counted; 0: none */
};

struct lane {
    struct lane_thing thing[LANE_ITEMS_MAX];
    unsigned begin;
    unsigned end;
};

struct client {
    struct subscriber subscriber;
    struct buf received;
    struct buf expected;
    unsigned number; /* of its subscription to `pattern`, from asking on; 0: none */
    unsigned pattern;
    bool is_in_channel;
    bool is_waiting;
    struct op op;
};

struct world {
    struct directory *directory;
    struct mailbox mailbox[WORKERS];
    struct mailbox *mailboxes[WORKERS];
    struct fanout *fanout[WORKERS];
    struct client client[CLIENTS]; /* client i is worker i % WORKERS's */
    char channel[CHANNELS][16];
    unsigned counted[OWNERS][CLIENTS]; /* likewise, now */
    struct lane lane[OWNERS][LANES];
    uint64_t expected_receivers;
    bool is_answered;
    unsigned seed;
    unsigned last_number;
    unsigned last_message;
};

static struct world *world;

static unsigned pick(unsigned below)
{
    return (unsigned)rand_r(&world->seed) % below;
}

static struct fanout *fanout_of(const struct client *client)
{
    return world->fanout[(unsigned)(client - world->client) % WORKERS];
}

/* ---- seams ---- */

static void on_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct client *client = CONTAINER_OF(subscriber, struct client, subscriber);
    for (unsigned i = 0; i < batch->iov_count; i++) {
        buf_append(&client->received, slice_of(batch->iov[i].iov_base, batch->iov[i].iov_len));
    }
}

static void on_published(void *publisher, uint64_t receivers, uint32_t count)
{
    cr_assert_eq(publisher, world);
    cr_assert_eq(count, 1);
    cr_assert_eq(receivers, world->expected_receivers, "%lu, not %lu; seed %u",
                 (unsigned long)receivers, (unsigned long)world->expected_receivers, world->seed);
    world->is_answered = true;
}

static void on_changed(void *waiter, enum err err)
{
    struct client *client = waiter;
    cr_assert(client->is_waiting);
    client->is_waiting = false;
    if (err != ERR_OK) { client->number = 0; }
}

static const struct fanout_ops ops = {
    .deliver = on_deliver, .published = on_published, .changed = on_changed};

static void on_change(void *arg, struct interest_change *change)
{
    (void)arg;
    if (change->is_drop) {
        interest_change_free(change);
        return;
    }
    struct client *client = change->waiter;
    client->op = (struct op){.client = client, .change = change, .pattern = client->pattern};
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

/* ---- the world ---- */

static void own_the_first(void *arg)
{
    directory_partition(arg, 0)->phase = PARTITION_OWNED;
}

static void name_channels(void)
{
    unsigned named = 0;
    unsigned count[OWNERS] = {0};
    for (unsigned n = 0; named < CHANNELS; n++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", n);
        uint32_t owner = directory_partition_of(world->directory, slice_of_str(name));
        if (count[owner] == CHANNELS / OWNERS) { continue; }
        snprintf(world->channel[owner + OWNERS * count[owner]++], sizeof name, "%s", name);
        named++;
    }
}

static void world_new(unsigned seed)
{
    world = mem_new0(sizeof *world);
    world->seed = seed;
    world->directory = directory_new(WORKERS);
    directory_set_partitions(world->directory, OWNERS, SIZE_MAX);
    directory_exclusive(world->directory, own_the_first, world->directory);
    name_channels();
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_init(&world->mailbox[i], no_wake, NULL);
        world->mailboxes[i] = &world->mailbox[i];
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        world->fanout[i] = fanout_new(world->directory, world->mailboxes, WORKERS, i, &ops);
        fanout_set_remote(world->fanout[i], &remote_ops, NULL);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        subscriber_init(&world->client[i].subscriber, 2);
    }
}

static void turn(unsigned worker)
{
    mailbox_run(&world->mailbox[worker]);
    fanout_commit(world->fanout[worker]);
    fanout_settle(world->fanout[worker]);
    fanout_flush(world->fanout[worker]);
}

static void turn_all(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        turn(i);
    }
}

/* ---- messages ---- */

static void expect_if(struct client *client, unsigned number, unsigned channel, unsigned message)
{
    if (number == 0 || client->number != number) {
        return;
    } /* over: given up, or its client gone */
    const char *pattern = pattern_name[client->pattern];
    char payload[16];
    int len = snprintf(payload, sizeof payload, "%u", message);
    buf_appendf(&client->expected,
                "*4\r\n$8\r\npmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n",
                strlen(pattern), pattern, strlen(world->channel[channel]), world->channel[channel],
                len, payload);
}

static void expect_in_channel(struct client *client, unsigned channel, unsigned message)
{
    char payload[16];
    int len = snprintf(payload, sizeof payload, "%u", message);
    buf_appendf(&client->expected, "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n",
                strlen(world->channel[channel]), world->channel[channel], len, payload);
}

/* This node orders one. Only channel 0 has subscribers of its own. */
static void publish_here(void)
{
    unsigned channel = pick(2) * OWNERS;
    unsigned message = ++world->last_message;
    char payload[16];
    snprintf(payload, sizeof payload, "%u", message);
    world->expected_receivers = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->client[i];
        if (channel == 0 && client->is_in_channel) {
            expect_in_channel(client, channel, message);
            world->expected_receivers++;
        }
        expect_if(client, world->counted[0][i], channel, message);
        world->expected_receivers += world->counted[0][i] != 0;
    }
    world->is_answered = false;
    struct fanout *fanout = world->fanout[pick(WORKERS)];
    fanout_publish(fanout, TOPIC_CHANNEL, slice_of_str(world->channel[channel]),
                   slice_of_str(payload), world);
    fanout_commit(fanout);
    cr_assert(world->is_answered);
}

static struct lane_thing *lane_add(unsigned owner, unsigned lane_number)
{
    struct lane *lane = &world->lane[owner][lane_number];
    cr_assert_lt(lane->end, LANE_ITEMS_MAX);
    struct lane_thing *thing = &lane->thing[lane->end++];
    *thing = (struct lane_thing){0};
    return thing;
}

/* Another owner orders one: whom it counts at this moment is to see it, whenever it comes. */
static void publish_there(void)
{
    unsigned owner = 1 + pick(OWNERS - 1);
    unsigned lane = pick(LANES);
    struct lane_thing *thing = lane_add(owner, lane);
    thing->channel = owner + OWNERS * lane;
    thing->message = ++world->last_message;
    memcpy(thing->counted, world->counted[owner], sizeof thing->counted);
}

static void arrive(const struct lane_thing *thing, struct orderer orderer)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        expect_if(&world->client[i], thing->counted[i], thing->channel, thing->message);
    }
    struct fanout *fanout = world->fanout[pick(WORKERS)];
    struct slice channel = slice_of_str(world->channel[thing->channel]);
    char frame[128];
    char payload[16];
    snprintf(payload, sizeof payload, "%u", thing->message);
    char *end =
        msg_write_payload(msg_write_prefix(frame, TOPIC_CHANNEL, channel), slice_of_str(payload));
    const struct received_run received_run = {
        .span = fanout_keep(fanout, slice_of(frame, (size_t)(end - frame))),
        .prefix_bytes = msg_prefix_bytes(TOPIC_CHANNEL, channel),
        .count = 1,
        .kind = TOPIC_CHANNEL,
        .orderer = orderer,
    };
    fanout_deliver(fanout, &received_run);
    block_unref(received_run.span.block);
}

/* ---- changes ---- */

static void op_end(struct op *op, enum err err)
{
    op->change->err = err;
    bool is_refused = err != ERR_OK;
    struct client *client = op->client;
    if (is_refused || !op->change->is_join) { client->number = 0; } /* no more is shown */
    struct pattern_step step = {.change = op->change};
    directory_end_patterns(world->directory, &step, 1);
    bool is_void = step.is_void;
    for (unsigned owner = 0; (is_void || is_refused) && owner < OWNERS; owner++) {
        world->counted[owner][client - world->client] = 0;
    }
    op->change = NULL;
}

static void op_begin(struct op *op)
{
    unsigned i = (unsigned)(op->client - world->client);
    bool is_join = op->change->is_join;
    struct pattern_step step = {.change = op->change};
    directory_begin_patterns(world->directory, &step, 1);
    if (step.is_void) {
        interest_change_give_back(op->change);
        op->change = NULL;
        return;
    }
    op->has_begun = true;
    world->counted[0][i] = is_join ? op->client->number : 0;
    for (unsigned owner = 1; owner < OWNERS; owner++) {
        op->is_asked[owner] = true;
        op->acknowledgements_left += LANES;
    }
}

static void owner_hears(struct op *op, unsigned owner)
{
    op->is_asked[owner] = false;
    world->counted[owner][op->client - world->client] =
        op->change->is_join ? op->client->number : 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        struct lane_thing *thing = lane_add(owner, lane);
        thing->op = op;
        thing->number = op->client->number;
    }
}

static void op_step(struct op *op)
{
    if (op->change == NULL) { return; }
    unsigned owner = 1 + pick(OWNERS - 1);
    if (!op->has_begun) {
        op_begin(op);
    } else if (pick(20) == 0) {
        op_end(op, op->change->is_join ? ERR_CLUSTER_DOWN : ERR_OK); /* nobody waits any longer */
        for (unsigned i = 0; i < OWNERS; i++) {
            world->counted[i][op->client - world->client] = 0;
        }
    } else if (op->is_asked[owner]) {
        owner_hears(op, owner);
    }
}

static void lane_step(unsigned owner, unsigned lane_number)
{
    struct lane *lane = &world->lane[owner][lane_number];
    if (lane->begin == lane->end) { return; }
    struct lane_thing *thing = &lane->thing[lane->begin++];
    const struct orderer orderer = {(uint8_t)owner, (uint8_t)lane_number};
    if (thing->op == NULL) {
        arrive(thing, orderer);
        return;
    }
    struct op *op = thing->op;
    if (op->change == NULL || op->acknowledgements_left == 0 ||
        op->client->number != thing->number) {
        return; /* ended meanwhile */
    }
    interest_change_counted(op->change, orderer, true);
    if (--op->acknowledgements_left == 0) { op_end(op, ERR_OK); }
}

static void change_pattern(struct client *client)
{
    if (client->is_waiting || client->op.change != NULL) { return; }
    bool is_join = client->number == 0;
    if (is_join) {
        client->pattern = pick(PATTERNS);
        client->number = ++world->last_number;
    }
    struct slice text = slice_of_str(pattern_name[client->pattern]);
    client->is_waiting = true;
    enum fanout_change change = is_join ? fanout_subscribe(fanout_of(client), &client->subscriber,
                                                           TOPIC_PATTERN, text, client)
                                        : fanout_unsubscribe(fanout_of(client), &client->subscriber,
                                                             TOPIC_PATTERN, text, client);
    cr_assert_eq(change, FANOUT_PENDING);
}

static void change_channel(struct client *client)
{
    struct slice name = slice_of_str(world->channel[0]);
    struct fanout *fanout = fanout_of(client);
    enum fanout_change change =
        client->is_in_channel
            ? fanout_unsubscribe(fanout, &client->subscriber, TOPIC_CHANNEL, name, NULL)
            : fanout_subscribe(fanout, &client->subscriber, TOPIC_CHANNEL, name, NULL);
    cr_assert_eq(change, FANOUT_DONE);
    client->is_in_channel = !client->is_in_channel;
}

/* Whatever its change has come to. */
static void drop(struct client *client)
{
    turn_all(); /* what had come before is shown, so that the model need not guess */
    cr_assert(fanout_clear(fanout_of(client), &client->subscriber));
    cr_assert_eq(subscriber_total(&client->subscriber), 0);
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        world->counted[owner][client - world->client] = 0;
    }
    client->number = 0;
    client->is_in_channel = client->is_waiting = false;
    if (client->op.change != NULL) { /* it goes on without its client */
        if (!client->op.has_begun) {
            op_begin(&client->op);
        } else {
            op_end(&client->op, ERR_OK);
        }
    }
}

/* ---- */

static void check_streams(void)
{
    turn_all();
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->client[i];
        cr_assert(slice_equal(buf_slice(&client->received), buf_slice(&client->expected)),
                  "client %u, seed %u:\n%.*s\nnot\n%.*s", i, world->seed, (int)client->received.len,
                  client->received.data, (int)client->expected.len, client->expected.data);
        client->received.len = client->expected.len = 0;
    }
}

static void world_free(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        drop(&world->client[i]);
    }
    turn_all();
    cr_assert_eq(directory_count(world->directory, TOPIC_PATTERN), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        buf_fini(&world->client[i].received);
        buf_fini(&world->client[i].expected);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        fanout_free(world->fanout[i]);
    }
    directory_free(world->directory);
    mem_free(world);
}

static void run_world(unsigned seed)
{
    world_new(seed);
    for (unsigned step = 0; step < 1000; step++) {
        struct client *client = &world->client[pick(CLIENTS)];
        switch (pick(20)) {
        case 0 ... 1: change_pattern(client); break;
        case 2: change_channel(client); break;
        case 3 ... 6: op_step(&client->op); break;
        case 7 ... 12: lane_step(1 + pick(OWNERS - 1), pick(LANES)); break;
        case 13 ... 14: publish_here(); break;
        case 15 ... 17: publish_there(); break;
        case 18: turn(pick(WORKERS)); break;
        default:
            if (pick(8) == 0) { drop(client); }
            check_streams();
            break;
        }
    }
    check_streams();
    world_free();
}

Test(transit, a_pattern_shows_exactly_what_was_ordered_by_owners_that_counted_it)
{
    for (unsigned seed = 1; seed <= 300; seed++) {
        run_world(seed);
    }
}

static void count_pattern(void *arg, enum topic_kind kind, struct slice name, uint64_t count)
{
    (void)kind;
    (void)name;
    *(uint64_t *)arg += count;
}

static void take_snapshot(void *arg)
{
    directory_each_local_pattern(world->directory, count_pattern, arg);
}

static uint64_t snapshot_count(void)
{
    uint64_t count = 0;
    directory_exclusive(world->directory, take_snapshot, &count);
    return count;
}

Test(transit, a_snapshot_for_others_has_no_joins_under_way_and_still_has_the_leaves)
{
    world_new(1);
    struct client *client = &world->client[0];
    change_pattern(client);
    op_begin(&client->op);
    turn_all();
    cr_assert_eq(snapshot_count(), 0);
    op_end(&client->op, ERR_OK);
    turn_all();
    cr_assert_eq(snapshot_count(), 1);
    change_pattern(client);
    op_begin(&client->op);
    turn_all();
    cr_assert_eq(snapshot_count(), 1);
    op_end(&client->op, ERR_OK);
    turn_all();
    cr_assert_eq(snapshot_count(), 0);
    world_free();
}

/* Names of one partition that are subscribed to here. */
struct local_names {
    uint32_t partition;
    uint64_t count;
};

static void add_local_names(void *arg)
{
    struct local_names *names = arg;
    directory_each_local(world->directory, names->partition, count_pattern, &names->count);
}

static uint64_t local_count(uint32_t partition)
{
    struct local_names names = {.partition = partition};
    directory_exclusive(world->directory, add_local_names, &names);
    return names.count;
}

Test(transit, what_is_subscribed_to_here_is_told_by_partition)
{
    world_new(1);
    for (unsigned i = 0; i < 3; i++) {
        change_channel(&world->client[i]);
    }
    cr_assert_eq(local_count(0), 3);
    cr_assert_eq(local_count(1), 0);
    publish_there(); /* another partition's channel, and a match that is remembered */
    turn_all();
    drop(&world->client[0]);
    change_channel(&world->client[1]);
    cr_assert_eq(local_count(0), 1);
    change_channel(&world->client[2]);
    cr_assert_eq(local_count(0), 0);
    change_channel(&world->client[2]);
    cr_assert_eq(local_count(0), 1);
    world_free();
}
