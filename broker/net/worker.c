/* worker: the loop. A turn is: events, mailbox, resumed connections, on_turn_end, closes. */
#include "net/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "net/worker_int.h"

enum { LONG_TURN_NS = 20000000 };

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    worker_begins(arg);
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    CHECK(n == (ssize_t)sizeof count || (n < 0 && errno == EAGAIN));
}

static void wake(void *arg)
{
    struct worker *worker = arg;
    if (worker_is_current(worker)) { return; } /* from an event: this turn will look */
    metric_add(METRIC_mailbox_wakeups_total, 1);
    uint64_t one = 1;
    ssize_t n = write(worker->wake_fd, &one, sizeof one);
    CHECK(n == (ssize_t)sizeof one ||
          (n < 0 && errno == EAGAIN)); /* EAGAIN: full, so a wake-up is on its way */
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct worker *worker = arg;
    worker_begins(worker);
    conn_look_at_stalled(worker);
    conn_end_slow_handshakes(worker);
    if (worker->opts.on_tick != NULL) { worker->opts.on_tick(worker->opts.arg); }
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    CHECK(config != NULL);
    CHECK(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base != NULL);
    event_config_free(config);
    return base;
}

struct worker *worker_new(const struct worker_opts *opts)
{
    struct worker *worker = mem_new0(sizeof *worker);
    worker->opts = *opts;
    worker->base = base_new();
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(worker->wake_fd >= 0);
    worker->now_ns = clock_mono_ns();
    atomic_init(&worker->heartbeat_ns, worker->now_ns);
    mailbox_init(&worker->mailbox, wake, worker);
    worker->wake_event =
        event_new(worker->base, worker->wake_fd, EV_READ | EV_PERSIST, on_wake, worker);
    worker->tick_event = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
    CHECK(worker->wake_event != NULL && worker->tick_event != NULL);
    CHECK(event_add(worker->wake_event, NULL) == 0);
    const struct timeval every = {.tv_usec = WORKER_TICK_MS * 1000};
    CHECK(event_add(worker->tick_event, &every) == 0);
    return worker;
}

static bool may_sleep(struct worker *worker)
{
    return mailbox_is_empty(&worker->mailbox) && worker->resumed.count == 0 &&
           (worker->opts.is_idle == NULL || worker->opts.is_idle(worker->opts.arg));
}

/* Whoever has something to do with this worker has waited for so long. */
static void count_turn(uint64_t ns)
{
    metric_observe(METRIC_HISTOGRAM_loop_turn_seconds, ns);
    if (UNLIKELY(ns > LONG_TURN_NS)) { metric_add(METRIC_loop_long_turns_total, 1); }
}

static void turn(struct worker *worker)
{
    worker->is_at_work = false;
    if (worker->tls != NULL) { tls_worker_turn(worker->tls); }
    mailbox_sleeping(&worker->mailbox, true);
    int flags = EVLOOP_ONCE | (may_sleep(worker) ? 0 : EVLOOP_NONBLOCK);
    CHECK(event_base_loop(worker->base, flags) >= 0);
    mailbox_sleeping(&worker->mailbox, false);
    worker_begins(worker);
    mailbox_run(&worker->mailbox);
    conn_present_resumed(worker);
    if (worker->opts.on_turn_end != NULL) { worker->opts.on_turn_end(worker->opts.arg); }
    conn_end_closing(worker);
    count_turn(clock_mono_ns() - worker->now_ns);
}

static void worker_main(void *arg)
{
    struct worker *worker = arg;
    metrics_thread_init();
    while (!atomic_load_explicit(&worker->is_stopping, memory_order_acquire)) {
        turn(worker);
    }
}

void worker_start(struct worker *worker)
{
    char name[16];
    snprintf(name, sizeof name, "worker-%u", worker->opts.index);
    thread_start(&worker->thread, name, worker_main, worker);
}

void worker_stop(struct worker *worker)
{
    atomic_store_explicit(&worker->is_stopping, true, memory_order_release);
    wake(worker);
}

void worker_join(struct worker *worker)
{
    thread_join(&worker->thread);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL) { return; }
    event_free(worker->wake_event);
    event_free(worker->tick_event);
    event_base_free(worker->base);
    CHECK(close(worker->wake_fd) == 0);
    outbuf_pool_fini(&worker->outbufs);
    tls_worker_free(worker->tls);
    mem_free(worker->dirty.conn);
    mem_free(worker->resumed.conn);
    mem_free(worker->closing.conn);
    mem_free(worker->stalled.conn);
    mem_free(worker);
}

uint64_t worker_heartbeat_ns(const struct worker *worker)
{
    return atomic_load_explicit(&worker->heartbeat_ns, memory_order_relaxed);
}

uint32_t worker_index(const struct worker *worker)
{
    return worker->opts.index;
}

bool worker_is_current(const struct worker *worker)
{
    return thread_is_current(&worker->thread);
}

struct mailbox *worker_mailbox(struct worker *worker)
{
    return &worker->mailbox;
}

uint64_t worker_now_ns(const struct worker *worker)
{
    return worker->now_ns;
}

static void on_timer_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct worker_timer *timer = arg;
    worker_begins(timer->worker);
    worker_timer_cancel(timer);
    timer->on_due(timer);
}

void worker_timer_start(struct worker *worker, struct worker_timer *timer, uint64_t delay_ms,
                        void (*on_due)(struct worker_timer *timer))
{
    CHECK(timer->event == NULL);
    timer->on_due = on_due;
    timer->worker = worker;
    timer->event = event_new(worker->base, -1, 0, on_timer_due, timer);
    CHECK(timer->event != NULL);
    const struct timeval delay = {.tv_sec = (time_t)(delay_ms / 1000),
                                  .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};
    CHECK(event_add(timer->event, &delay) == 0);
}

void worker_timer_cancel(struct worker_timer *timer)
{
    if (timer->event != NULL) {
        event_free(timer->event);
        timer->event = NULL;
    }
}
