/* The fan-out engine against a model: several workers played by one thread, in random interleavings.
 * The model is Redis's: at the moment a run is ordered, each subscription of the channel, and each matching pattern,
 * receives each message, in that order; the publisher's answer is their number. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/glob.h"
#include "base/mem.h"
#include "pubsub/fanout.h"

enum { WORKERS = 3, CLIENTS = 9, CHANNELS = 4, PATTERNS = 3, QUEUED_MAX = 4096 };

static const char *const channel_name[CHANNELS] = {"a1", "a2", "b1", "a-long-channel-name"};
static const char *const pattern_name[PATTERNS] = {"a*", "b?", "*1"};

struct client {
    struct subscriber subscriber;
    struct span queued[QUEUED_MAX]; /* what its "socket" did not take */
    unsigned queued_count;
    struct buf received; /* what it took, in order; queued spans are appended when it "reads" */
    struct buf expected;
    bool is_subscribed[TOPIC_KINDS][CHANNELS];
};

struct world {
    struct directory *directory;
    struct mailbox mailbox[WORKERS];
    struct mailbox *mailboxes[WORKERS];
    struct fanout *fanout[WORKERS];
    struct client client[CLIENTS]; /* client i is worker i % WORKERS's */
    uint64_t expected_receivers[64];
    unsigned published_count;
    unsigned answered_count;
    unsigned short_send_percent;
    unsigned seed;
    unsigned message_number;
    struct subscriber *dropped; /* the last one that the fan-out has let go */
};

static struct world *world;

static unsigned pick(unsigned below)
{
    return (unsigned)rand_r(&world->seed) % below;
}

static void client_read(struct client *client)
{
    for (unsigned i = 0; i < client->queued_count; i++) {
        buf_append(&client->received, slice_of(client->queued[i].data, client->queued[i].len));
        block_unref(client->queued[i].block);
    }
    client->queued_count = 0;
}

/* A socket that sometimes takes only a part; then the rest is kept by reference, as a connection does. */
static void on_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct client *client = CONTAINER_OF(subscriber, struct client, subscriber);
    size_t total = 0;
    for (unsigned i = 0; i < batch->iov_count; i++) {
        total += batch->iov[i].iov_len;
    }
    cr_assert_eq(total, batch->bytes);
    cr_assert_leq(batch->iov_count, 64);
    size_t takes = batch->bytes;
    if (client->queued_count > 0) {
        takes = 0;
    } else if (pick(100) < world->short_send_percent) {
        takes = pick((unsigned)batch->bytes + 1);
    }
    size_t left = takes;
    for (unsigned i = 0; i < batch->iov_count && left > 0; i++) {
        size_t len = batch->iov[i].iov_len < left ? batch->iov[i].iov_len : left;
        buf_append(&client->received, slice_of(batch->iov[i].iov_base, len));
        left -= len;
    }
    if (takes == batch->bytes) { return; }
    unsigned count;
    const struct span *span = batch_keep(batch, &count);
    for (unsigned i = 0; i < count; i++) {
        if (takes >= span[i].len) {
            takes -= span[i].len;
            continue;
        }
        cr_assert_lt(client->queued_count, QUEUED_MAX);
        client->queued[client->queued_count++] =
            (struct span){block_ref(span[i].block), span[i].data + takes, span[i].len - takes};
        takes = 0;
    }
}

static void on_published(void *publisher, uint64_t receivers, uint32_t count)
{
    cr_assert_eq(publisher, world);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_lt(world->answered_count, world->published_count);
        cr_assert_eq(receivers, world->expected_receivers[world->answered_count++], "seed %u",
                     world->seed);
    }
}

static void on_dropped(struct subscriber *subscriber)
{
    cr_assert_eq(subscriber_total(subscriber), 0);
    world->dropped = subscriber;
}

static const struct fanout_ops ops = {
    .deliver = on_deliver, .published = on_published, .dropped = on_dropped};

static void no_wake(void *arg)
{
    (void)arg;
}

static void world_new(unsigned seed, unsigned short_send_percent)
{
    world = mem_new0(sizeof *world);
    world->seed = seed;
    world->short_send_percent = short_send_percent;
    world->directory = directory_new(WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_init(&world->mailbox[i], no_wake, NULL);
        world->mailboxes[i] = &world->mailbox[i];
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        world->fanout[i] = fanout_new(world->directory, world->mailboxes, WORKERS, i, &ops);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        subscriber_init(&world->client[i].subscriber, i % 2 == 0 ? 2 : 3);
    }
}

static struct fanout *fanout_of(unsigned client)
{
    return world->fanout[client % WORKERS];
}

static void turn_end(unsigned worker)
{
    fanout_commit(world->fanout[worker]);
    fanout_flush(world->fanout[worker]);
}

static void world_free(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        while (!fanout_clear(fanout_of(i), &world->client[i].subscriber)) {
            turn_end(i % WORKERS);
        }
        client_read(&world->client[i]);
        buf_fini(&world->client[i].received);
        buf_fini(&world->client[i].expected);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        fanout_free(world->fanout[i]);
    }
    directory_free(world->directory);
    mem_free(world);
}

/* What one subscription of the client gets for one message. */
static void expect_frame(struct client *client, enum topic_kind kind, const char *pattern,
                         const char *channel, struct slice payload)
{
    static const char *const word[TOPIC_KINDS] = {"message", "pmessage", "smessage"};
    char mark = client->subscriber.resp_version == 3 ? '>' : '*';
    buf_appendf(&client->expected, "%c%d\r\n$%zu\r\n%s\r\n", mark, kind == TOPIC_PATTERN ? 4 : 3,
                strlen(word[kind]), word[kind]);
    if (kind == TOPIC_PATTERN) {
        buf_appendf(&client->expected, "$%zu\r\n%s\r\n", strlen(pattern), pattern);
    }
    buf_appendf(&client->expected, "$%zu\r\n%s\r\n$%zu\r\n", strlen(channel), channel, payload.len);
    buf_append(&client->expected, payload);
    buf_append(&client->expected, SLICE("\r\n"));
}

/* Patterns of one client come in the order in which the index finds them, which is not promised; clients of this test
 * hold at most one pattern that matches a channel. */
static uint64_t expect_everywhere(enum topic_kind kind, unsigned channel, struct slice payload)
{
    uint64_t receivers = 0;
    struct slice name = slice_of_str(channel_name[channel]);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->client[i];
        if (client->is_subscribed[kind][channel]) {
            expect_frame(client, kind, NULL, channel_name[channel], payload);
            receivers++;
        }
        for (unsigned p = 0; kind == TOPIC_CHANNEL && p < PATTERNS; p++) {
            if (client->is_subscribed[TOPIC_PATTERN][p] &&
                glob_match(slice_of_str(pattern_name[p]), name)) {
                expect_frame(client, TOPIC_PATTERN, pattern_name[p], channel_name[channel],
                             payload);
                receivers++;
            }
        }
    }
    return receivers;
}

/* Publish a burst on one worker and order it: only then does the model know who receives it. */
static void publish_burst(bool large)
{
    static char payload_bytes[100000];
    unsigned worker = pick(WORKERS);
    unsigned count = 1 + pick(12);
    world->published_count = world->answered_count = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned channel = pick(CHANNELS);
        enum topic_kind kind = pick(4) == 0 ? TOPIC_SHARD : TOPIC_CHANNEL;
        size_t len = (size_t)snprintf(payload_bytes, sizeof payload_bytes, "message %u",
                                      world->message_number++);
        if (large && pick(3) == 0) {
            memset(payload_bytes + len, 'x', sizeof payload_bytes - len);
            len += pick((unsigned)(sizeof payload_bytes - len));
        }
        struct slice payload = slice_of(payload_bytes, len);
        fanout_publish(world->fanout[worker], kind, slice_of_str(channel_name[channel]), payload,
                       world);
        world->expected_receivers[world->published_count++] =
            expect_everywhere(kind, channel, payload);
    }
    fanout_commit(world->fanout[worker]);
    cr_assert_eq(world->answered_count, world->published_count);
}

static unsigned patterns_held(const struct client *client)
{
    return client->subscriber.count[TOPIC_PATTERN];
}

static void change_subscription(void)
{
    unsigned i = pick(CLIENTS);
    struct client *client = &world->client[i];
    enum topic_kind kind = pick(TOPIC_KINDS);
    unsigned at = pick(kind == TOPIC_PATTERN ? PATTERNS : CHANNELS);
    struct slice name = slice_of_str(kind == TOPIC_PATTERN ? pattern_name[at] : channel_name[at]);
    bool *is_subscribed = &client->is_subscribed[kind][at];
    if (pick(2) == 0) {
        if (kind == TOPIC_PATTERN && patterns_held(client) > 0 && !*is_subscribed) { return; }
        cr_assert_eq(fanout_subscribe(fanout_of(i), &client->subscriber, kind, name, NULL),
                     *is_subscribed ? FANOUT_NOTHING : FANOUT_DONE);
        *is_subscribed = true;
    } else {
        size_t expected = client->expected.len;
        bool was = *is_subscribed;
        cr_assert_eq(fanout_unsubscribe(fanout_of(i), &client->subscriber, kind, name, NULL),
                     was ? FANOUT_DONE : FANOUT_NOTHING);
        *is_subscribed = false;
        cr_assert(!was || client->queued_count > 0 || client->received.len <= expected);
    }
}

static void drop_client(void)
{
    unsigned i = pick(CLIENTS);
    struct client *client = &world->client[i];
    turn_end(
        i %
        WORKERS); /* what was ordered before it went is delivered, so that the model need not guess */
    cr_assert(fanout_clear(fanout_of(i), &client->subscriber));
    memset(client->is_subscribed, 0, sizeof client->is_subscribed);
    cr_assert_eq(subscriber_total(&client->subscriber), 0);
}

static void change_version(void)
{
    unsigned i = pick(CLIENTS);
    struct client *client = &world->client[i];
    turn_end(i % WORKERS);
    subscriber_set_version(fanout_of(i), &client->subscriber,
                           client->subscriber.resp_version == 2 ? 3 : 2);
}

static void check_streams(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        turn_end(i);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->client[i];
        client_read(client);
        cr_assert_eq(client->received.len, client->expected.len,
                     "client %u: %zu of %zu bytes, seed %u", i, client->received.len,
                     client->expected.len, world->seed);
        cr_assert(slice_equal(buf_slice(&client->received), buf_slice(&client->expected)),
                  "client %u: streams differ, seed %u", i, world->seed);
        client->received.len = client->expected.len = 0;
    }
}

static void run_world(unsigned seed, unsigned short_send_percent, bool large)
{
    world_new(seed, short_send_percent);
    for (unsigned step = 0; step < 400; step++) {
        switch (pick(16)) {
        case 0 ... 5: publish_burst(large); break;
        case 6 ... 10: change_subscription(); break;
        case 11 ... 12: turn_end(pick(WORKERS)); break;
        case 13: client_read(&world->client[pick(CLIENTS)]); break;
        case 14: change_version(); break;
        default:
            if (pick(4) == 0) { drop_client(); }
            check_streams();
            break;
        }
    }
    check_streams();
    world_free();
}

Test(fanout, every_client_receives_exactly_what_was_counted_in_one_order)
{
    for (unsigned seed = 1; seed <= 150; seed++) {
        run_world(seed, 0, false);
    }
}

Test(fanout, slow_sockets_get_the_same_bytes_later)
{
    for (unsigned seed = 1000; seed <= 1100; seed++) {
        run_world(seed, 40, false);
    }
}

Test(fanout, large_messages_keep_their_place_between_small_ones)
{
    for (unsigned seed = 2000; seed <= 2030; seed++) {
        run_world(seed, 40, true);
    }
}

Test(fanout, a_large_message_is_one_block_for_all_slow_subscribers)
{
    world_new(1, 100);
    for (unsigned i = 0; i < CLIENTS; i++) {
        world->client[i].subscriber.resp_version = 2;
        fanout_subscribe(fanout_of(i), &world->client[i].subscriber, TOPIC_CHANNEL, SLICE("a1"),
                         NULL);
    }
    char payload[65536] = {0};
    world->published_count = 1;
    world->expected_receivers[0] = CLIENTS;
    fanout_publish(world->fanout[0], TOPIC_CHANNEL, SLICE("a1"), slice_of(payload, sizeof payload),
                   world);
    for (unsigned i = 0; i < WORKERS; i++) {
        turn_end(i);
    }
    const struct block *block = NULL;
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct client *client = &world->client[i];
        cr_assert_gt(client->queued_count, 0);
        const struct block *last = client->queued[client->queued_count - 1].block;
        cr_assert(block == NULL || block == last);
        block = last;
    }
    world_free();
}

Test(fanout, a_forgotten_publisher_gets_no_answer_but_its_message_arrives)
{
    world_new(1, 0);
    fanout_subscribe(world->fanout[1], &world->client[1].subscriber, TOPIC_CHANNEL, SLICE("a1"),
                     NULL);
    fanout_publish(world->fanout[0], TOPIC_CHANNEL, SLICE("a1"), SLICE("bye"), world);
    fanout_forget(world->fanout[0], world);
    turn_end(0);
    turn_end(1);
    cr_assert_eq(world->answered_count, 0);
    cr_assert_gt(world->client[1].received.len, 0);
    world_free();
}

Test(fanout, counts_and_names_are_those_of_the_whole_node)
{
    world_new(1, 0);
    for (unsigned i = 0; i < 4; i++) {
        fanout_subscribe(fanout_of(i), &world->client[i].subscriber, TOPIC_CHANNEL, SLICE("a1"),
                         NULL);
        fanout_subscribe(fanout_of(i), &world->client[i].subscriber, TOPIC_PATTERN, SLICE("a*"),
                         NULL);
        fanout_subscribe(fanout_of(i), &world->client[i].subscriber, TOPIC_SHARD, SLICE("a1"),
                         NULL);
    }
    cr_assert_eq(directory_subscribers(world->directory, TOPIC_CHANNEL, SLICE("a1")), 4);
    cr_assert_eq(directory_subscribers(world->directory, TOPIC_SHARD, SLICE("a1")), 4);
    cr_assert_eq(directory_subscribers(world->directory, TOPIC_CHANNEL, SLICE("a2")), 0);
    cr_assert_eq(directory_count(world->directory, TOPIC_CHANNEL), 1);
    cr_assert_eq(directory_count(world->directory, TOPIC_PATTERN), 1);
    world_free();
}

static void on_gone(void *arg, struct slice name)
{
    struct buf *names = arg;
    buf_append(names, name);
    buf_append(names, SLICE(" "));
    cr_assert_eq(fanout_unsubscribe(world->fanout[0], &world->client[0].subscriber, TOPIC_CHANNEL,
                                    name, NULL),
                 FANOUT_DONE);
}

Test(fanout, unsubscribing_from_all_of_a_kind_leaves_the_others)
{
    world_new(1, 0);
    struct subscriber *subscriber = &world->client[0].subscriber;
    for (unsigned i = 0; i < CHANNELS; i++) {
        fanout_subscribe(world->fanout[0], subscriber, TOPIC_CHANNEL, slice_of_str(channel_name[i]),
                         NULL);
        fanout_subscribe(world->fanout[0], subscriber, TOPIC_SHARD, slice_of_str(channel_name[i]),
                         NULL);
    }
    struct buf names = {0};
    fanout_each_subscription(subscriber, TOPIC_CHANNEL, on_gone, &names);
    cr_assert(slice_equal(buf_slice(&names), SLICE("a1 a2 b1 a-long-channel-name ")));
    cr_assert_eq(subscriber->count[TOPIC_CHANNEL], 0);
    cr_assert_eq(subscriber->count[TOPIC_SHARD], CHANNELS);
    cr_assert_eq(directory_count(world->directory, TOPIC_CHANNEL), 0);
    buf_fini(&names);
    world_free();
}

static void subscribe_to_many(struct subscriber *subscriber, enum topic_kind kind, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        int len = snprintf(name, sizeof name, "many-%u-*", i);
        cr_assert_eq(
            fanout_subscribe(world->fanout[0], subscriber, kind, slice_of(name, (size_t)len), NULL),
            FANOUT_DONE);
    }
}

Test(fanout, a_client_with_very_many_subscriptions_leaves_in_slices)
{
    enum { MANY = 5000, SLICE_MAX = 2048 };
    world_new(1, 0);
    struct subscriber *subscriber = &world->client[0].subscriber;
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) {
        subscribe_to_many(subscriber, (enum topic_kind)kind, MANY);
    }
    fanout_subscribe(world->fanout[1], &world->client[1].subscriber, TOPIC_CHANNEL,
                     SLICE("many-0-*"), NULL);
    turn_end(0);
    cr_assert(!fanout_drop(world->fanout[0], subscriber));
    unsigned turns = 0;
    for (uint32_t left = subscriber_total(subscriber); world->dropped == NULL; turns++) {
        cr_assert(!fanout_is_idle(world->fanout[0]), "its worker must not sleep");
        turn_end(0);
        cr_assert_geq(subscriber_total(subscriber) + SLICE_MAX, left, "turn %u", turns);
        left = subscriber_total(subscriber);
    }
    cr_assert_geq(turns, TOPIC_KINDS * MANY / SLICE_MAX - 1);
    cr_assert_eq(world->dropped, subscriber);
    cr_assert(fanout_is_idle(world->fanout[0]));
    cr_assert_eq(directory_count(world->directory, TOPIC_PATTERN), 0);
    cr_assert_eq(directory_count(world->directory, TOPIC_SHARD), 0);
    cr_assert_eq(directory_count(world->directory, TOPIC_CHANNEL), 1, "its neighbour's");
    world_free();
}

/* One worker's, of three clients: come and go at random, now rather more, now rather fewer. */
Test(fanout, a_subscription_is_found_while_the_set_of_them_grows_and_shrinks)
{
    enum { NAMES = 6000, STEPS = 60000, OWNERS = 3 };
    world_new(1, 0);
    static bool has[OWNERS][NAMES];
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = pick(OWNERS);
        unsigned n = pick(NAMES);
        char name[16];
        struct slice text = slice_of(name, (size_t)snprintf(name, sizeof name, "n%u", n));
        struct subscriber *subscriber = &world->client[i * WORKERS].subscriber;
        bool joins = pick(100) < (step / (STEPS / 6) % 2 == 0 ? 95 : 5);
        enum fanout_change change =
            joins ? fanout_subscribe(world->fanout[0], subscriber, TOPIC_CHANNEL, text, NULL)
                  : fanout_unsubscribe(world->fanout[0], subscriber, TOPIC_CHANNEL, text, NULL);
        cr_assert_eq(change, has[i][n] != joins ? FANOUT_DONE : FANOUT_NOTHING);
        has[i][n] = joins;
        if (step % 100 == 0) { turn_end(0); }
    }
    world_free();
}

Test(fanout, who_is_on_its_way_out_is_gone_when_the_fanout_is_freed)
{
    world_new(1, 0);
    struct subscriber *subscriber = &world->client[0].subscriber;
    subscribe_to_many(subscriber, TOPIC_CHANNEL, 5000);
    turn_end(0);
    cr_assert(!fanout_drop(world->fanout[0], subscriber));
    fanout_free(world->fanout[0]);
    world->fanout[0] = NULL;
    cr_assert_eq(world->dropped, subscriber);
    cr_assert_eq(directory_count(world->directory, TOPIC_CHANNEL), 0);
}

Test(fanout, publishers_wait_for_a_worker_that_has_too_much_to_deliver)
{
    world_new(1, 0);
    fanout_subscribe(world->fanout[1], &world->client[1].subscriber, TOPIC_CHANNEL, SLICE("a1"),
                     NULL);
    static char payload[1 << 20];
    unsigned published = 0;
    for (; !fanout_is_congested(world->fanout[0]); published++) {
        cr_assert_lt(published, 16, "the bound is 8 MB");
        world->published_count = 1;
        world->answered_count = 0;
        world->expected_receivers[0] = 1;
        fanout_publish(world->fanout[0], TOPIC_CHANNEL, SLICE("a1"),
                       slice_of(payload, sizeof payload), world);
        fanout_commit(world->fanout[0]);
    }
    cr_assert_gt(published, 4);
    cr_assert(fanout_is_congested(world->fanout[2]), "publishers of all other workers");
    cr_assert(!fanout_is_congested(world->fanout[1]),
              "but not its own: it delivers before it reads on");
    turn_end(1);
    cr_assert(!fanout_is_congested(world->fanout[0]));
    cr_assert_gt(world->client[1].received.len, published * sizeof payload);
    world_free();
}
