/* sim_clients: who subscribes and publishes, and what they write down. A client has one change under way at most. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/handover/sim_handover.h"

enum { CLIENTS_PER_WORKER = 5, WINDOWS_PER_CLIENT = 6, UNANSWERED_MAX = 4096 };

/* A worker's publisher: answers come in the order of its publishes, or as tickets in that order. */
struct publisher {
    uint32_t unanswered[UNANSWERED_MAX]; /* a ring of messages' numbers */
    uint32_t first;
    uint32_t count;
};

struct ticket {
    uint32_t first; /* consecutive ones of the worker's publisher */
    uint32_t count;
    uint32_t message[];
};

static struct publisher publishers[SIM_NODES_MAX * SIM_WORKERS_MAX];

static uint32_t publisher_of(const struct worker *worker)
{
    return worker->node->index * SIM_WORKERS_MAX + worker->index;
}

/* ---- publishing ---- */

static uint32_t unanswered_pop(struct publisher *publisher)
{
    CHECK(publisher->count > 0);
    uint32_t message = publisher->unanswered[publisher->first];
    publisher->first = (publisher->first + 1) % UNANSWERED_MAX;
    publisher->count--;
    return message;
}

static void answer(uint32_t number, enum err err, uint64_t receivers)
{
    struct sim_message *message = &sim->message[number];
    CHECK(message->outcome == OUTCOME_NONE);
    message->end = ++sim->event;
    message->count = receivers;
    message->outcome = err == ERR_OK        ? OUTCOME_COUNT
                       : err == ERR_INDOUBT ? OUTCOME_INDOUBT
                                            : OUTCOME_DOWN;
    sim->stats.in_doubt += err == ERR_INDOUBT;
    sim->stats.refused += err == ERR_CLUSTER_DOWN;
}

static void on_published(void *arg, uint64_t receivers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        answer(unanswered_pop(arg), ERR_OK, receivers);
    }
}

static void *on_deferred(void *arg, uint32_t count, bool is_held)
{
    (void)is_held;
    struct ticket *ticket = mem_new0(sizeof *ticket + count * sizeof ticket->message[0]);
    ticket->count = count;
    for (uint32_t i = 0; i < count; i++) {
        ticket->message[i] = unanswered_pop(arg);
    }
    return ticket;
}

static void on_settled(void *arg, enum err err, uint64_t receivers)
{
    struct ticket *ticket = arg;
    for (uint32_t i = 0; i < ticket->count; i++) {
        answer(ticket->message[i], err, receivers);
    }
    mem_free(ticket);
}

uint32_t sim_publish(struct worker *worker, uint32_t topic)
{
    struct publisher *publisher = &publishers[publisher_of(worker)];
    CHECK(sim->message_count < SIM_MESSAGES_MAX && publisher->count < UNANSWERED_MAX);
    uint32_t number = sim->message_count++;
    sim->message[number] = (struct sim_message){.topic = topic,
                                                .publisher = publisher_of(worker),
                                                .node = worker->node->index,
                                                .start = ++sim->event,
                                                .end = SIM_NEVER,
                                                .first_seen = SIM_NEVER};
    publisher->unanswered[(publisher->first + publisher->count++) % UNANSWERED_MAX] = number;
    char payload[16];
    snprintf(payload, sizeof payload, "%u", number);
    fanout_publish(worker->fanout, sim_topic_kind(topic), slice_of_str(sim->topic_name[topic]),
                   slice_of_str(payload), publisher);
    sim->stats.publishes++;
    return number;
}

/* ---- receiving ---- */

/* The next bulk string of a RESP2 frame, and past it. */
static struct slice take_bulk(const char **at)
{
    CHECK(**at == '$');
    char *end;
    size_t len = strtoull(*at + 1, &end, 10);
    struct slice bulk = slice_of(end + 2, len);
    *at = end + 2 + len + 2;
    return bulk;
}

static uint32_t topic_of(enum topic_kind kind, struct slice name)
{
    for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
        if (sim_topic_kind(topic) == kind &&
            slice_equal(slice_of_str(sim->topic_name[topic]), name)) {
            return topic;
        }
    }
    UNREACHABLE();
}

static void note(struct sim_client *client, uint32_t topic, uint32_t number)
{
    if (client->is_over) { return; }
    struct sim_window *window = client->windows;
    while (window != NULL &&
           (window->topic != topic || window->end_confirmed != SIM_NEVER || window->is_refused)) {
        window = window->next;
    }
    if (window == NULL) {
        sim_fail("stray: node %u: message %u came to a client that is not subscribed to %s",
                 client->worker->node->index, number, sim->topic_name[topic]);
        return;
    }
    if (window->received_count == window->received_cap) {
        window->received_cap = window->received_cap > 0 ? window->received_cap * 2 : 16;
        window->received =
            mem_resize(window->received, window->received_cap * sizeof *window->received);
    }
    window->received[window->received_count++] = number;
    struct sim_message *message = &sim->message[number];
    if (message->first_seen == SIM_NEVER) { message->first_seen = ++sim->event; }
    sim->stats.deliveries++;
}

static void take_frame(struct sim_client *client, const char **at)
{
    CHECK(**at == '*');
    *at = strchr(*at, '\n') + 1;
    struct slice word = take_bulk(at);
    enum topic_kind kind = slice_equal(word, slice_of_str("message"))    ? TOPIC_CHANNEL
                           : slice_equal(word, slice_of_str("smessage")) ? TOPIC_SHARD
                                                                         : TOPIC_PATTERN;
    uint32_t topic = topic_of(kind, take_bulk(at));
    if (kind == TOPIC_PATTERN) { (void)take_bulk(at); }
    struct slice payload = take_bulk(at);
    note(client, topic, (uint32_t)strtoul(payload.data, NULL, 10));
}

static void on_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct sim_client *client = CONTAINER_OF(subscriber, struct sim_client, subscriber);
    struct buf bytes = {0};
    for (unsigned i = 0; i < batch->iov_count; i++) {
        buf_append(&bytes, slice_of(batch->iov[i].iov_base, batch->iov[i].iov_len));
    }
    buf_append(&bytes, slice_of("", 1));
    for (const char *at = bytes.data; at < bytes.data + bytes.len - 1;) {
        take_frame(client, &at);
    }
    buf_fini(&bytes);
}

/* ---- subscribing ---- */

static void on_dropped(struct subscriber *subscriber)
{
    (void)subscriber;
}

static void on_changed(void *waiter, enum err err)
{
    struct sim_client *client = waiter;
    struct sim_window *window = client->pending;
    client->pending = NULL;
    bool is_join = window->confirmed == SIM_NEVER;
    if (err == ERR_OK && is_join) {
        window->confirmed = ++sim->event;
    } else if (err == ERR_OK) {
        window->end_confirmed = ++sim->event;
    } else if (is_join) {
        window->is_refused = true;
        window->end_asked = window->end_confirmed = ++sim->event;
    } else {
        window->end_asked =
            SIM_NEVER; /* it is still subscribed; what came meanwhile is not judged exactly */
    }
}

struct sim_client *sim_client_new(struct worker *worker)
{
    CHECK(sim->client_count < SIM_SUBSCRIBERS_MAX);
    struct sim_client *client = mem_new0(sizeof *client);
    client->worker = worker;
    subscriber_init(&client->subscriber, 2);
    sim->client[sim->client_count++] = client;
    return client;
}

bool sim_client_subscribe(struct sim_client *client, uint32_t topic)
{
    struct sim_window *window = mem_new0(sizeof *window);
    *window = (struct sim_window){client->windows,
                                  client,
                                  topic,
                                  .asked = ++sim->event,
                                  .confirmed = SIM_NEVER,
                                  .end_asked = SIM_NEVER,
                                  .end_confirmed = SIM_NEVER};
    client->windows = window;
    client->pending = window;
    enum fanout_change change =
        fanout_subscribe(client->worker->fanout, &client->subscriber, sim_topic_kind(topic),
                         slice_of_str(sim->topic_name[topic]), client);
    CHECK(change != FANOUT_NOTHING);
    if (change == FANOUT_DONE) { on_changed(client, ERR_OK); }
    return change == FANOUT_DONE;
}

void sim_client_unsubscribe(struct sim_client *client, struct sim_window *window)
{
    window->end_asked = ++sim->event;
    client->pending = window;
    enum fanout_change change = fanout_unsubscribe(
        client->worker->fanout, &client->subscriber, sim_topic_kind(window->topic),
        slice_of_str(sim->topic_name[window->topic]), client);
    CHECK(change != FANOUT_NOTHING);
    if (change == FANOUT_DONE) { on_changed(client, ERR_OK); }
}

void sim_client_leave(struct sim_client *client)
{
    (void)!fanout_drop(client->worker->fanout, &client->subscriber); /* it stays until the end */
    client->pending = NULL;
    client->is_over = true;
}

static void on_interrupted(struct subscriber *subscriber)
{
    struct sim_client *client = CONTAINER_OF(subscriber, struct sim_client, subscriber);
    client->is_closed = true;
    sim->stats.closed++;
    sim_client_leave(client);
}

const struct fanout_ops sim_client_ops = {.deliver = on_deliver,
                                          .published = on_published,
                                          .deferred = on_deferred,
                                          .settled = on_settled,
                                          .changed = on_changed,
                                          .dropped = on_dropped,
                                          .interrupted = on_interrupted};

/* ---- what they do ---- */

static struct sim_window *open_window(struct sim_client *client, uint32_t topic)
{
    for (struct sim_window *w = client->windows; w != NULL; w = w->next) {
        if (w->topic == topic && w->end_confirmed == SIM_NEVER) { return w; }
    }
    return NULL;
}

static void client_act(struct sim_client *client)
{
    if (client->pending != NULL) {
        if (sim_chance(2)) { sim_client_leave(client); }
        return;
    }
    if (sim_chance(4)) {
        sim_client_leave(client);
        return;
    }
    uint32_t topic = (uint32_t)sim_random(SIM_TOPICS);
    struct sim_window *window = open_window(client, topic);
    if (window != NULL) {
        sim_client_unsubscribe(client, window);
    } else if (subscriber_total(&client->subscriber) < WINDOWS_PER_CLIENT) {
        (void)sim_client_subscribe(client, topic);
    }
}

void sim_clients_act(struct worker *worker)
{
    if (sim_chance(4) && publishers[publisher_of(worker)].count < UNANSWERED_MAX / 2) {
        for (uint64_t count = 1 + sim_random(3); count > 0; count--) {
            (void)sim_publish(worker, (uint32_t)sim_random(2 * SIM_CHANNELS));
        }
    }
    if (!sim_chance(3)) { return; }
    uint32_t alive = 0;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->client[i];
        if (client->worker != worker || client->is_over) { continue; }
        alive++;
        if (sim_chance(20)) { client_act(client); }
    }
    if (alive < CLIENTS_PER_WORKER && sim->client_count < SIM_SUBSCRIBERS_MAX - 100) {
        (void)sim_client_new(worker);
    }
}

void sim_clients_init(void)
{
    memset(publishers, 0, sizeof publishers);
    for (uint32_t i = 0; i < SIM_CHANNELS; i++) {
        snprintf(sim->topic_name[i], sizeof sim->topic_name[i], "c%u", i);
        snprintf(sim->topic_name[SIM_CHANNELS + i], sizeof sim->topic_name[0], "s%u", i);
    }
    static const char *const pattern[SIM_PATTERNS] = {"*", "c1*", "c?"};
    for (uint32_t i = 0; i < SIM_PATTERNS; i++) {
        snprintf(sim->topic_name[2 * SIM_CHANNELS + i], sizeof sim->topic_name[0], "%s",
                 pattern[i]);
    }
}

void sim_clients_fini(void)
{
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->client[i];
        while (client->windows != NULL) {
            struct sim_window *window = client->windows;
            client->windows = window->next;
            mem_free(window->received);
            mem_free(window);
        }
        mem_free(client);
    }
}
