/* Workers as real threads, for ThreadSanitizer and for the truth: they subscribe, unsubscribe and publish at random.
 * Afterwards: the sum of all answers equals the number of messages received, and any two subscribers of a channel saw the
 * messages they share in the same order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "pubsub/fanout.h"

enum { WORKERS = 4, CLIENTS_EACH = 4, CHANNELS = 3, STEPS = 6000, LOG_MAX = 400000 };

struct client {
    struct subscriber subscriber;
    struct worker *worker;
    uint32_t *log[CHANNELS]; /* message numbers received */
    uint32_t log_count[CHANNELS];
};

struct worker {
    struct thread thread;
    struct fanout *fanout;
    uint32_t index;
    unsigned seed;
    uint64_t answered;
    uint64_t received;
    struct client client[CLIENTS_EACH];
};

static struct directory *directory;
static struct mailbox mailbox[WORKERS];
static struct mailbox *mailboxes[WORKERS];
static struct worker worker[WORKERS];
static pthread_barrier_t barrier;

/* Payloads are "<channel index> <number>". */
static void on_message(struct client *client, const char *at)
{
    unsigned channel, number;
    CHECK(sscanf(at, "%u %u", &channel, &number) == 2);
    CHECK(channel < CHANNELS && client->log_count[channel] < LOG_MAX);
    client->log[channel][client->log_count[channel]++] = number;
    client->worker->received++;
}

static void on_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct client *client = CONTAINER_OF(subscriber, struct client, subscriber);
    char *all = mem_new(batch->bytes + 1);
    size_t len = 0;
    for (unsigned i = 0; i < batch->iov_count; i++) {
        memcpy(all + len, batch->iov[i].iov_base, batch->iov[i].iov_len);
        len += batch->iov[i].iov_len;
    }
    all[len] = '\0';
    for (char *at = strstr(all, "#"); at != NULL; at = strstr(at + 1, "#")) {
        on_message(client, at + 1);
    }
    mem_free(all);
}

static void on_published(void *publisher, uint64_t receivers, uint32_t count)
{
    struct worker *w = publisher;
    w->answered += receivers * count;
}

static const struct fanout_ops ops = {.deliver = on_deliver, .published = on_published};

static void no_wake(void *arg)
{
    (void)arg;
}

static void step(struct worker *w)
{
    static atomic_uint next_number;
    char channel[8], payload[32];
    unsigned c = (unsigned)rand_r(&w->seed) % CHANNELS;
    snprintf(channel, sizeof channel, "ch%u", c);
    struct client *client = &w->client[(unsigned)rand_r(&w->seed) % CLIENTS_EACH];
    switch (rand_r(&w->seed) % 8) {
    case 0:
        fanout_subscribe(w->fanout, &client->subscriber, TOPIC_CHANNEL, slice_of_str(channel),
                         NULL);
        break;
    case 1:
        fanout_unsubscribe(w->fanout, &client->subscriber, TOPIC_CHANNEL, slice_of_str(channel),
                           NULL);
        break;
    case 2:
        if (rand_r(&w->seed) % 8 == 0) { /* a pattern change takes every stripe */
            fanout_subscribe(w->fanout, &client->subscriber, TOPIC_PATTERN, SLICE("zz*"), NULL);
            fanout_unsubscribe(w->fanout, &client->subscriber, TOPIC_PATTERN, SLICE("zz*"), NULL);
        }
        break;
    case 3:
        fanout_commit(w->fanout);
        fanout_flush(w->fanout);
        break;
    default:
        snprintf(payload, sizeof payload, "#%u %u", c, atomic_fetch_add(&next_number, 1));
        fanout_publish(w->fanout, TOPIC_CHANNEL, slice_of_str(channel), slice_of_str(payload), w);
        break;
    }
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < STEPS; i++) {
        step(w);
    }
    fanout_commit(w->fanout);
    pthread_barrier_wait(&barrier); /* everything is ordered: what waits is in the inboxes */
    fanout_commit(w->fanout);
    fanout_flush(w->fanout);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < CLIENTS_EACH; i++) {
        CHECK(fanout_clear(w->fanout, &w->client[i].subscriber));
    }
}

/* Does every pair of messages that both logs hold stand in the same order in both? */
static bool same_order(const uint32_t *a, uint32_t a_count, const uint32_t *b, uint32_t b_count,
                       uint32_t *place, uint32_t numbers)
{
    memset(place, 0, numbers * sizeof *place);
    for (uint32_t i = 0; i < a_count; i++) {
        if (place[a[i]] != 0) { return false; /* twice */ }
        place[a[i]] = i + 1;
    }
    uint32_t last = 0;
    for (uint32_t i = 0; i < b_count; i++) {
        uint32_t here = place[b[i]];
        if (here != 0 && here < last) { return false; }
        last = here != 0 ? here : last;
    }
    return true;
}

static int check_orders(void)
{
    uint32_t numbers = WORKERS * STEPS;
    uint32_t *place = mem_new(numbers * sizeof *place);
    int failures = 0;
    for (unsigned a = 0; a < WORKERS * CLIENTS_EACH; a++) {
        for (unsigned b = 0; b < WORKERS * CLIENTS_EACH; b++) {
            const struct client *ca = &worker[a / CLIENTS_EACH].client[a % CLIENTS_EACH];
            const struct client *cb = &worker[b / CLIENTS_EACH].client[b % CLIENTS_EACH];
            for (unsigned c = 0; c < CHANNELS; c++) {
                failures += !same_order(ca->log[c], ca->log_count[c], cb->log[c], cb->log_count[c],
                                        place, numbers);
            }
        }
    }
    mem_free(place);
    return failures;
}

static void set_up(unsigned seed)
{
    directory = directory_new(WORKERS);
    CHECK(pthread_barrier_init(&barrier, NULL, WORKERS) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_init(&mailbox[i], no_wake, NULL);
        mailboxes[i] = &mailbox[i];
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        worker[i].index = i;
        worker[i].seed = seed + i;
        worker[i].fanout = fanout_new(directory, mailboxes, WORKERS, i, &ops);
        for (unsigned k = 0; k < CLIENTS_EACH; k++) {
            struct client *client = &worker[i].client[k];
            client->worker = &worker[i];
            subscriber_init(&client->subscriber, 2);
            for (unsigned c = 0; c < CHANNELS; c++) {
                client->log[c] = mem_new(LOG_MAX * sizeof *client->log[c]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 42;
    set_up(seed);
    for (unsigned i = 0; i < WORKERS; i++) {
        thread_start(&worker[i].thread, "stress", worker_main, &worker[i]);
    }
    uint64_t answered = 0, received = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        thread_join(&worker[i].thread);
        answered += worker[i].answered;
        received += worker[i].received;
    }
    int failures = check_orders();
    printf("seed %u: answers say %llu, received %llu, order failures %d\n", seed,
           (unsigned long long)answered, (unsigned long long)received, failures);
    for (unsigned i = 0; i < WORKERS; i++) {
        fanout_free(worker[i].fanout);
        for (unsigned k = 0; k < CLIENTS_EACH; k++) {
            for (unsigned c = 0; c < CHANNELS; c++) {
                mem_free(worker[i].client[k].log[c]);
            }
        }
    }
    directory_free(directory);
    return answered == received && received > 0 && failures == 0 ? 0 : 1;
}
