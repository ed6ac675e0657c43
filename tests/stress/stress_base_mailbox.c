/* stress_base_mailbox: several producers, one consumer that sleeps whenever it has nothing to do.
 * Held: every task arrives once and in its producer's order, no wake-up is lost, and a block shared
 * by several tasks is freed by the last of them. Built for ThreadSanitizer, run in every build. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/block.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    PRODUCERS_MAX = 4,
    TASKS_PER_PRODUCER = 100000,
    IN_FLIGHT_MAX = 64, /* tasks that a producer has, used again and again */
    TASKS_PER_BLOCK = 8,
    QUIET_EVERY = 500, /* tasks after which a producer lets the consumer fall asleep */
    SPIN_MAX = 1000,
    LINGER_MAX = 256,
    WAKE_TIMEOUT_MS = 10000,
    RUN_TIMEOUT_S = 240,
};

struct consumer {
    struct mailbox mailbox;
    int event_fd;
    uint64_t wake_count; /* atomic: counted on the producers' threads */
    uint64_t ran_count;
    uint64_t next_sequence[PRODUCERS_MAX];
};

struct producer {
    struct thread thread;
    struct consumer *consumer;
    uint32_t index;
    uint32_t in_flight_max;
    atomic_uint_fast64_t done_count; /* written by the consumer: these tasks may be used again */
};

struct parcel {
    struct task task;
    struct producer *from;
    uint64_t sequence;
    struct span span;
};

static void wake(void *arg)
{
    struct consumer *consumer = arg;
    const uint64_t one = 1;
    __atomic_fetch_add(&consumer->wake_count, 1, __ATOMIC_RELAXED);
    CHECK(write(consumer->event_fd, &one, sizeof one) == (ssize_t)sizeof one);
}

static void on_parcel(struct task *task)
{
    struct parcel *parcel = CONTAINER_OF(task, struct parcel, task);
    struct producer *from = parcel->from;
    struct consumer *consumer = from->consumer;
    uint64_t content;
    CHECK(parcel->sequence == consumer->next_sequence[from->index]);
    CHECK(parcel->span.len == sizeof content);
    memcpy(&content, parcel->span.data, sizeof content);
    CHECK(content == parcel->sequence);
    block_unref(parcel->span.block);
    consumer->next_sequence[from->index]++;
    consumer->ran_count++;
    atomic_store_explicit(&from->done_count, parcel->sequence + 1, memory_order_release);
}

static void wait_until_done(struct producer *producer, uint64_t count)
{
    for (uint32_t turns = 0;
         atomic_load_explicit(&producer->done_count, memory_order_acquire) < count; turns++) {
        if (turns > SPIN_MAX) { sched_yield(); }
    }
}

/* Sends each task by itself or, every other time, a few with one wake-up. */
static void produce(void *arg)
{
    struct producer *producer = arg;
    struct mailbox *mailbox = &producer->consumer->mailbox;
    struct parcel *ring = mem_new0(IN_FLIGHT_MAX * sizeof *ring);
    struct block *block = NULL;
    for (uint64_t i = 0; i < TASKS_PER_PRODUCER; i++) {
        uint32_t in_flight_max = i % QUIET_EVERY == 0 ? 1 : producer->in_flight_max;
        if (i >= in_flight_max) {
            mailbox_wake(mailbox);
            wait_until_done(producer, i - in_flight_max + 1);
        }
        block_room(&block, sizeof i, TASKS_PER_BLOCK * sizeof i);
        char *at = block->data + block->len;
        memcpy(at, &i, sizeof i);
        block->len += sizeof i;
        struct parcel *parcel = &ring[i % IN_FLIGHT_MAX];
        parcel->task.run = on_parcel;
        parcel->from = producer;
        parcel->sequence = i;
        parcel->span = (struct span){block_ref(block), at, sizeof i};
        if (i / 7 % 2 == 0) {
            mailbox_post(mailbox, &parcel->task);
        } else {
            mailbox_push(mailbox, &parcel->task);
        }
    }
    mailbox_wake(mailbox);
    wait_until_done(producer, TASKS_PER_PRODUCER);
    block_unref(block);
    mem_free(ring);
}

/* Sleep until woken. A sleeper that is not woken although it has something to do fails the test. */
static void sleep_until_woken(struct consumer *consumer)
{
    struct pollfd pollfd = {.fd = consumer->event_fd, .events = POLLIN};
    int ready = poll(&pollfd, 1, WAKE_TIMEOUT_MS);
    CHECK(ready >= 0 || errno == EINTR);
    if (ready == 0 && !mailbox_is_empty(&consumer->mailbox) &&
        atomic_load(&consumer->mailbox.is_sleeping)) {
        /* Pushed and not yet woken for is fine for a moment, not for that long. */
        fprintf(stderr, "a wake-up was lost after %llu tasks\n",
                (unsigned long long)consumer->ran_count);
        exit(1);
    }
    uint64_t count;
    ssize_t got = read(consumer->event_fd, &count, sizeof count);
    CHECK(got == (ssize_t)sizeof count || errno == EAGAIN);
}

/* A few more or fewer cycles each time, so that posts fall everywhere around the going to sleep. */
static void linger(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    for (volatile uint32_t left = (*state >> 16) % LINGER_MAX; left > 0; left--) {}
}

static uint64_t consume(struct consumer *consumer, uint64_t total)
{
    uint64_t sleep_count = 0;
    uint32_t state = 1;
    while (consumer->ran_count < total) {
        if (mailbox_run(&consumer->mailbox) > 0) { continue; }
        linger(&state);
        mailbox_sleeping(&consumer->mailbox, true);
        if (mailbox_is_empty(&consumer->mailbox)) {
            sleep_count++;
            sleep_until_woken(consumer);
        }
        mailbox_sleeping(&consumer->mailbox, false);
    }
    return sleep_count;
}

static void run(uint32_t producer_count, uint32_t in_flight_max)
{
    struct consumer consumer = {.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct producer producer[PRODUCERS_MAX];
    CHECK(consumer.event_fd >= 0);
    mailbox_init(&consumer.mailbox, wake, &consumer);
    for (uint32_t i = 0; i < producer_count; i++) {
        producer[i] =
            (struct producer){.consumer = &consumer, .index = i, .in_flight_max = in_flight_max};
        thread_start(&producer[i].thread, "producer", produce, &producer[i]);
    }
    uint64_t sleep_count = consume(&consumer, (uint64_t)producer_count * TASKS_PER_PRODUCER);
    for (uint32_t i = 0; i < producer_count; i++) {
        thread_join(&producer[i].thread);
        CHECK(consumer.next_sequence[i] == TASKS_PER_PRODUCER);
    }
    CHECK(mailbox_run(&consumer.mailbox) == 0);
    close(consumer.event_fd);
    printf("%u producers, %llu tasks, %llu sleeps, %llu wake-ups\n", producer_count,
           (unsigned long long)consumer.ran_count, (unsigned long long)sleep_count,
           (unsigned long long)consumer.wake_count);
    CHECK(sleep_count > 0 && consumer.wake_count > 0); /* else nothing has been tested */
}

int main(void)
{
    alarm(RUN_TIMEOUT_S); /* a hang is a failure */
    run(PRODUCERS_MAX, IN_FLIGHT_MAX);
    /* In lockstep: each task is posted just when the consumer is about to sleep. */
    run(1, 1);
    return 0;
}
