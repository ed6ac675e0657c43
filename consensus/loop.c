/* loop: one thread that receives, steps, writes, flushes, sends and applies.
 * Owns: the uv loop and its own handles. Not: what the engine and the link do with it. Thread:
 * raft.
 * Always: whatever came in during a poll is handled before the next one, in one engine turn and one
 * write per peer; the loop sleeps only when the mailbox is empty and nothing is due. */
#include "consensus/loop.h"

#include "base/clock.h"
#include "base/metrics.h"

enum {
    SLOW_TURN_NS = 5000000,
    SAMPLE_NS = 1000000, /* between looks at the thread's processor time, which cost a call each */
};

static uint64_t boot_ms(void)
{
    return clock_boot_ns() / NS_PER_MS;
}

static void on_wake(void *arg)
{
    (void)arg; /* the poll ended: that is all it is for */
}

static void wake(void *arg)
{
    bell_ring(&((struct loop *)arg)->wake);
}

static void on_timer(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    engine_tick(loop->engine);
}

static void set_timer(struct loop *loop)
{
    uint64_t due = engine_next_ms(loop->engine);
    if (due == loop->timer_due_ms && uv_is_active((uv_handle_t *)&loop->timer)) { return; }
    uint64_t now = boot_ms();
    loop->timer_due_ms = due;
    uv_timer_start(&loop->timer, on_timer, due > now ? due - now : 0, 0);
}

static void note_slow(struct loop *loop, uint64_t worked_ns)
{
    if (worked_ns > SLOW_TURN_NS) {
        metric_add(METRIC_raft_slow_turns_total, 1);
        atomic_fetch_add_explicit(&loop->slow_turn_count, 1, memory_order_relaxed);
    }
    if (worked_ns / 1000 > atomic_load_explicit(&loop->longest_turn_us, memory_order_relaxed)) {
        atomic_store_explicit(&loop->longest_turn_us, worked_ns / 1000, memory_order_relaxed);
    }
}

/* How long the turn that ends took, and how much of it the thread worked. Where the machine is
 * short of processors the two differ much, and only the second is our doing; it may hold a
 * millisecond of turns before. */
static void note_turn(struct loop *loop)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t took_ns = now_ns - loop->polled_ns + loop->polled_ms * NS_PER_MS;
    metric_observe(METRIC_HISTOGRAM_raft_turn_seconds, took_ns);
    if (took_ns > SLOW_TURN_NS) {
        metric_add(METRIC_raft_late_turns_total, 1);
        atomic_fetch_add_explicit(&loop->late_turn_count, 1, memory_order_relaxed);
    }
    if (now_ns < loop->sampled_ns + SAMPLE_NS) { return; }
    uint64_t cpu_ns = clock_thread_ns();
    note_slow(loop, cpu_ns - loop->sampled_cpu_ns);
    loop->sampled_ns = now_ns;
    loop->sampled_cpu_ns = cpu_ns;
}

static void close_handles(struct loop *loop)
{
    bell_close(&loop->wake);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->before_poll, NULL);
    uv_close((uv_handle_t *)&loop->after_poll, NULL);
    disk_uv_close(&loop->disk);
    loop->is_closed = true;
}

/* The way down: the link closes, the log's last flush ends, what state machines hold comes back, the
 * engine goes, the handles close,
 * uv_run returns. */
static void maybe_end(struct loop *loop)
{
    if (loop->is_stopping && loop->link == NULL && loop->disk.inflight_count == 0 &&
        engine_is_drained(loop->engine)) {
        engine_free(loop->engine);
        loop->engine = NULL;
        close_handles(loop);
    }
}

/* The end of a turn, before the poll. */
static void on_before_poll(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    mailbox_run(&loop->mailbox);
    engine_turn(loop->engine);
    if (loop->link != NULL && !loop->is_stopping) { link_flush(loop->link); }
    set_timer(loop);
    note_turn(loop);
    mailbox_sleeping(&loop->mailbox, true);
    if (!mailbox_is_empty(&loop->mailbox)) { bell_ring(&loop->wake); }
    maybe_end(loop);
}

static void on_after_poll(uv_check_t *check)
{
    struct loop *loop = check->data;
    mailbox_sleeping(&loop->mailbox, false);
    /* libuv knows to the millisecond when the poll returned, and would poll twice to know more. */
    loop->polled_ns = clock_mono_ns();
    uint64_t began_ms = uv_now(&loop->uv);
    uint64_t now_ms = loop->polled_ns / NS_PER_MS;
    loop->polled_ms = now_ms > began_ms ? now_ms - began_ms : 0;
}

static void loop_main(void *arg)
{
    struct loop *loop = arg;
    metrics_thread_init();
    loop->polled_ns = clock_mono_ns();
    loop->sampled_ns = loop->polled_ns;
    loop->sampled_cpu_ns = clock_thread_ns();
    CHECK(uv_run(&loop->uv, UV_RUN_DEFAULT) == 0);
}

enum err loop_init(struct loop *loop, const char *dir)
{
    *loop = (struct loop){0};
    CHECK(uv_loop_init(&loop->uv) == 0);
    bell_init(&loop->wake, &loop->uv, on_wake, loop);
    CHECK(uv_timer_init(&loop->uv, &loop->timer) == 0);
    CHECK(uv_prepare_init(&loop->uv, &loop->before_poll) == 0);
    CHECK(uv_check_init(&loop->uv, &loop->after_poll) == 0);
    loop->timer.data = loop;
    loop->before_poll.data = loop;
    loop->after_poll.data = loop;
    CHECK(uv_prepare_start(&loop->before_poll, on_before_poll) == 0);
    CHECK(uv_check_start(&loop->after_poll, on_after_poll) == 0);
    mailbox_init(&loop->mailbox, wake, loop);
    return disk_uv_init(&loop->disk, &loop->uv, dir);
}

void loop_start(struct loop *loop)
{
    thread_start(&loop->thread, "raft", loop_main, loop);
}

/* ---- stopping ---- */

struct stopping {
    struct task task;
    struct loop *loop;
};

static void on_link_closed(void *arg)
{
    struct loop *loop = arg;
    loop->link = NULL;
}

static void on_stop(struct task *task)
{
    struct loop *loop = CONTAINER_OF(task, struct stopping, task)->loop;
    loop->is_stopping = true;
    engine_close_groups(loop->engine);
    link_close(loop->link, on_link_closed, loop);
}

void loop_stop(struct loop *loop)
{
    struct stopping stopping = {.task = {.run = on_stop}, .loop = loop};
    mailbox_post(&loop->mailbox, &stopping.task);
    thread_join(&loop->thread);
}

void loop_fini(struct loop *loop)
{
    if (!loop->is_closed) { /* it was never started */
        close_handles(loop);
        CHECK(uv_run(&loop->uv, UV_RUN_DEFAULT) == 0);
    }
    CHECK(uv_loop_close(&loop->uv) == 0);
    disk_uv_fini(&loop->disk);
    bell_fini(&loop->wake);
}
