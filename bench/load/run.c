/* run: the event loop that publishes and receives. One thread, one epoll; everything in it is cheap,
 * because it shares the machine with the server that it measures. Phases: warm up, settle, measure,
 * drain. Always: in closed loop what is measured begins and ends with nothing under way, so that CPU
 * time and deliveries belong to each other exactly; a publisher waits for its replies, and all wait
 * while more than the window is under way. In open loop nothing waits and nothing settles: what is late
 * stays late, and its latency counts from the moment it was due. */
#include "run.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fatal.h"
#include "fleet.h"
#include "link.h"

#define EVENTS_MAX 128
#define INBOX_BYTES ((size_t)256 << 10)
#define WINDOW_BYTES_MAX ((uint64_t)256 << 20)
#define STALL_NS UINT64_C(5000000000) /* drain: nothing new for so long means lost */
#define WAIT_NS 10000000U             /* longest wait for an event */
#define SAMPLE_MASK_BUSY 15U

enum phase { PHASE_WARMUP, PHASE_SETTLE, PHASE_MEASURE, PHASE_DRAIN, PHASE_DONE };

/* The counters at one moment; a measurement is the difference of two. */
struct mark {
    uint64_t time_ns, published, delivered, server_cpu_ns, own_cpu_ns;
};

struct run {
    const struct opts *opts;
    struct tally *tally;
    struct fleet fleet;
    int epoll_fd;
    enum phase phase;
    bool is_cut_short; /* a connection or its framing was lost: what is missing follows from that */
    uint64_t begin_ns; /* of the warm-up, and of the open loop's schedule */
    uint64_t measure_end_ns;
    struct mark begin, end;

    uint32_t *receivers; /* per channel: deliveries of one message */
    uint64_t published;
    uint64_t expected; /* deliveries of all that is published */
    uint64_t window;   /* deliveries that may be under way */

    uint32_t *ready; /* ring of publishers that may send */
    uint32_t ready_first, ready_count;
    struct hist send_lag;

    uint64_t progress_ns;    /* last time that something was seen to have come */
    uint64_t progress_count; /* deliveries and answers by then */
    char *inbox;
};

static void take_mark(struct run *run, struct mark *mark, uint64_t now_ns)
{
    mark->time_ns = now_ns;
    mark->published = run->published;
    mark->delivered = run->tally->delivered;
    mark->server_cpu_ns = probe_cpu_ns(&run->opts->pids);
    mark->own_cpu_ns = probe_own_cpu_ns();
}

/* --- publishing -------------------------------------------------------------------------------- */

static void watch(struct run *run, struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(run->epoll_fd, operation, conn->fd, &event) != 0) {
        fatal("epoll_ctl: %s", strerror(errno));
    }
}

static void cut_short(struct run *run)
{
    run->is_cut_short = true;
    run->phase = PHASE_DONE;
}

static void conn_lost(struct run *run, const char *who, uint32_t index)
{
    tally_violation(run->tally, "%s %u: the server closed the connection", who, index);
    cut_short(run);
}

static void flush(struct run *run, struct publisher *pub)
{
    if (!publisher_flush(pub)) {
        conn_lost(run, "publisher", pub->index);
        return;
    }
    bool must_wait = pub->out_size > 0;
    if (must_wait != pub->waits_for_socket) {
        watch(run, &pub->conn, EPOLL_CTL_MOD, EPOLLIN | (must_wait ? (uint32_t)EPOLLOUT : 0U));
        pub->waits_for_socket = must_wait;
    }
}

static void add_message(struct run *run, struct publisher *pub, uint64_t time_ns)
{
    run->expected += run->receivers[plan_channel(run->opts, pub->index, pub->sent_count)];
    run->published++;
    publisher_add(pub, time_ns);
}

static void make_ready(struct run *run, uint32_t publisher)
{
    uint32_t publishers = run->fleet.publisher_count;
    run->ready[(run->ready_first + run->ready_count) % publishers] = publisher;
    run->ready_count++;
}

static bool is_open_loop(const struct run *run)
{
    return run->opts->rate_per_s != 0;
}

static bool is_at_end(const struct run *run)
{
    return run->opts->message_max != 0 && run->published >= run->opts->message_max;
}

/* Closed loop: every publisher that has its replies sends its next batch. */
static void publish_batches(struct run *run, uint64_t now_ns)
{
    while (run->ready_count > 0 && !is_at_end(run)) {
        if (run->expected > run->tally->delivered + run->window) { return; }
        struct publisher *pub = &run->fleet.publishers[run->ready[run->ready_first]];
        run->ready_first = (run->ready_first + 1) % run->fleet.publisher_count;
        run->ready_count--;
        for (uint32_t i = 0; i < run->opts->batch_count; i++) {
            add_message(run, pub, now_ns);
        }
        publisher_await(pub);
        pub->batch_ns = probe_now_ns();
        flush(run, pub);
    }
}

static uint64_t due_ns(const struct run *run, uint64_t nth)
{
    return run->begin_ns + (uint64_t)((double)nth * 1e9 / run->opts->rate_per_s);
}

/* Open loop: everything that is due by now, the publishers in turn. */
static void publish_due(struct run *run, uint64_t now_ns)
{
    while (due_ns(run, run->published) <= now_ns && !is_at_end(run)) {
        uint64_t time_ns = due_ns(run, run->published);
        struct publisher *pub = &run->fleet.publishers[run->published % run->fleet.publisher_count];
        if (!publisher_has_room(pub, 1)) { return; }
        hist_add(&run->send_lag, now_ns - time_ns);
        add_message(run, pub, time_ns);
        if (!pub->waits_for_socket) { flush(run, pub); }
    }
}

/* --- receiving --------------------------------------------------------------------------------- */

static void answer_pings(int fd, uint32_t *ping_count)
{
    for (; *ping_count > 0; (*ping_count)--) {
        if (link_send(fd, "PONG\r\n", 6, MSG_NOSIGNAL) != 6) { return; } /* the server asks again */
    }
}

/* Returns how much was read; 0 for nothing yet, and tells in is_lost if there will be no more. */
static size_t receive(struct run *run, int fd, int flags, bool *is_lost)
{
    ssize_t received = link_recv(fd, run->inbox, INBOX_BYTES, flags);
    *is_lost = received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR);
    return received > 0 ? (size_t)received : 0;
}

static void on_subscriber(struct run *run, struct subscriber *sub)
{
    bool is_lost = false;
    int flags = sub->is_judged ? 0 : MSG_TRUNC; /* MSG_TRUNC: drop the bytes, do not copy them */
    size_t size = receive(run, sub->conn.fd, flags, &is_lost);
    if (is_lost) {
        conn_lost(run, "subscriber", sub->stream.conn_index);
        return;
    }
    if (!sub->is_judged) {
        stream_count(&sub->stream, size);
        return;
    }
    run->tally->now_ns = probe_now_ns();
    stream_feed(&sub->stream, run->inbox, size);
    answer_pings(sub->conn.fd, &sub->stream.ping_count);
    if (sub->stream.is_broken) { cut_short(run); }
}

static void on_publisher(struct run *run, struct publisher *pub, uint32_t events)
{
    if (events & EPOLLOUT) { flush(run, pub); }
    if (!(events & ~(uint32_t)EPOLLOUT)) { return; }
    bool is_lost = false;
    bool was_answered = publisher_is_answered(pub);
    size_t size = receive(run, pub->conn.fd, 0, &is_lost);
    if (is_lost) {
        conn_lost(run, "publisher", pub->index);
        return;
    }
    replies_feed(&pub->replies, run->inbox, size);
    if (pub->out_size == 0) { answer_pings(pub->conn.fd, &pub->replies.ping_count); }
    if (!is_open_loop(run) && !was_answered && publisher_is_answered(pub)) {
        if (pub->batch_ns >= run->tally->window_begin_ns) {
            hist_add(&run->tally->reply_latency, probe_now_ns() - pub->batch_ns);
        }
        make_ready(run, pub->index);
    }
}

static void handle_events(struct run *run, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_MAX];
    const struct timespec wait = {.tv_nsec = (long)wait_ns};
    int count = epoll_pwait2(run->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    if (count < 0 && errno != EINTR) { fatal("epoll_pwait2: %s", strerror(errno)); }
    for (int i = 0; i < count && run->phase != PHASE_DONE; i++) {
        struct conn *conn = events[i].data.ptr;
        switch (conn->role) {
        case CONN_SUBSCRIBER: on_subscriber(run, (struct subscriber *)conn); break;
        case CONN_PUBLISHER: on_publisher(run, (struct publisher *)conn, events[i].events); break;
        }
    }
}

/* --- phases ------------------------------------------------------------------------------------ */

/* Everything published has been delivered and, where the protocol answers, answered. */
static bool is_drained(const struct run *run)
{
    bool is_answered = run->tally->answered == run->published ||
                       (run->opts->proto == PROTO_NATS && is_open_loop(run));
    return is_answered && run->tally->delivered >= run->expected;
}

/* Nothing has come for so long that nothing more will. */
static bool is_stalled(struct run *run, uint64_t now_ns)
{
    uint64_t count = run->tally->delivered + run->tally->answered;
    if (count != run->progress_count || run->progress_ns == 0) {
        run->progress_count = count;
        run->progress_ns = now_ns;
    }
    return now_ns - run->progress_ns > STALL_NS;
}

static bool is_publishing(const struct run *run)
{
    return run->phase == PHASE_WARMUP || run->phase == PHASE_MEASURE;
}

static void begin_measuring(struct run *run, uint64_t now_ns)
{
    run->phase = PHASE_MEASURE;
    run->measure_end_ns = now_ns + run->opts->measure_ms * UINT64_C(1000000);
    run->tally->window_begin_ns = now_ns;
    run->tally->window_end_ns = is_open_loop(run) ? run->measure_end_ns : UINT64_MAX;
    take_mark(run, &run->begin, now_ns);
}

static void step_phase(struct run *run, uint64_t now_ns)
{
    uint64_t warm_ns = run->begin_ns + run->opts->warmup_ms * UINT64_C(1000000);
    bool is_measured = run->opts->message_max != 0 ? is_at_end(run) || is_stalled(run, now_ns)
                                                   : now_ns >= run->measure_end_ns;
    switch (run->phase) {
    case PHASE_WARMUP:
        if (run->opts->message_max != 0 || (is_open_loop(run) && now_ns >= warm_ns)) {
            begin_measuring(run, now_ns);
        } else if (now_ns >= warm_ns) {
            run->phase = PHASE_SETTLE;
        }
        return;
    case PHASE_SETTLE:
        if (is_drained(run) || is_stalled(run, now_ns)) { begin_measuring(run, now_ns); }
        return;
    case PHASE_MEASURE:
        if (!is_measured) { return; }
        if (is_open_loop(run)) { take_mark(run, &run->end, now_ns); }
        run->phase = PHASE_DRAIN;
        return;
    case PHASE_DRAIN:
        if (is_drained(run) || is_stalled(run, now_ns)) { run->phase = PHASE_DONE; }
        return;
    case PHASE_DONE: return;
    }
}

static uint64_t wait_for(const struct run *run, uint64_t now_ns)
{
    if (!is_open_loop(run) || !is_publishing(run)) { return WAIT_NS; }
    uint64_t due = due_ns(run, run->published);
    if (due <= now_ns) { return 0; }
    return due - now_ns < WAIT_NS ? due - now_ns : WAIT_NS;
}

static void loop(struct run *run)
{
    run->begin_ns = probe_now_ns();
    while (run->phase != PHASE_DONE) {
        uint64_t now_ns = probe_now_ns();
        step_phase(run, now_ns);
        if (is_publishing(run) && is_open_loop(run)) { publish_due(run, now_ns); }
        if (is_publishing(run) && !is_open_loop(run)) { publish_batches(run, now_ns); }
        if (run->phase != PHASE_DONE) { handle_events(run, wait_for(run, probe_now_ns())); }
    }
    if (run->end.time_ns == 0) { take_mark(run, &run->end, probe_now_ns()); }
    if (run->begin.time_ns == 0) { run->begin = run->end; } /* cut short before measuring */
}

/* --- setting up -------------------------------------------------------------------------------- */

/* The deliveries that may be under way: the window of publishes, bounded in bytes, one at least. */
static void choose_window(struct run *run)
{
    const struct opts *opts = run->opts;
    uint64_t channels = opts->channel_count;
    uint64_t sum = 0;
    for (uint32_t channel = 0; channel < channels; channel++) {
        run->receivers[channel] = plan_receivers(opts, channel, false);
        sum += run->receivers[channel];
    }
    uint64_t publishes = opts->window_count;
    if (publishes == 0) { publishes = 2 * (uint64_t)opts->publisher_count * opts->batch_count; }
    uint64_t most = WINDOW_BYTES_MAX / run->fleet.specs[SUB_CHANNEL].frame.total_bytes;
    uint64_t one = (sum + channels - 1) / channels;
    run->window = publishes * sum / channels;
    if (run->window > most) { run->window = most; }
    if (run->window < one) { run->window = one; }
}

static void set_up(struct run *run)
{
    struct fleet *fleet = &run->fleet;
    fleet_open(fleet, run->opts, run->tally);
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll_fd < 0) { fatal("epoll_create1: %s", strerror(errno)); }
    for (uint32_t i = 0; i < fleet->subscriber_count; i++) {
        struct subscriber *sub = &fleet->subscribers[i];
        if (!sub->is_slow) { watch(run, &sub->conn, EPOLL_CTL_ADD, EPOLLIN); }
    }
    run->ready = alloc_or_die(fleet->publisher_count, sizeof *run->ready);
    for (uint32_t i = 0; i < fleet->publisher_count; i++) {
        watch(run, &fleet->publishers[i].conn, EPOLL_CTL_ADD, EPOLLIN);
        make_ready(run, i);
    }
    run->receivers = alloc_or_die(run->opts->channel_count, sizeof *run->receivers);
    run->inbox = alloc_or_die(INBOX_BYTES, 1);
    choose_window(run);
    bool is_busy = !is_open_loop(run) && run->opts->batch_count > 1;
    run->tally->sample_mask = is_busy ? SAMPLE_MASK_BUSY : 0;
    run->tally->window_begin_ns = UINT64_MAX;
    if (prctl(PR_SET_TIMERSLACK, 1UL) != 0) { fatal("prctl: %s", strerror(errno)); }
}

static void fill_report(const struct run *run, struct report *report)
{
    const struct opts *opts = run->opts;
    report->seconds = (double)(run->end.time_ns - run->begin.time_ns) / 1e9;
    report->published = run->end.published - run->begin.published;
    report->delivered = run->end.delivered - run->begin.delivered;
    report->server_cpu_ns = run->end.server_cpu_ns - run->begin.server_cpu_ns;
    report->own_cpu_ns = run->end.own_cpu_ns - run->begin.own_cpu_ns;
    report->total_checked = run->tally->delivered;
    report->total_published = run->published;
    report->lag_p99_ns = hist_quantile_ns(&run->send_lag, 0.99);
    double due = opts->message_max ? 0 : report->seconds * opts->rate_per_s;
    report->is_sustained = (double)report->published >= 0.99 * due;
    report->slow_closed = fleet_slow_closed(&run->fleet);
    probe_memory(&opts->pids, &report->after);
}

void run_load(const struct opts *opts, struct tally *tally, struct report *report)
{
    struct run *run = alloc_or_die(1, sizeof *run);
    run->opts = opts;
    run->tally = tally;
    probe_memory(&opts->pids, &report->before);
    set_up(run);
    const struct timespec pause = {opts->pause_ms / 1000, opts->pause_ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
    loop(run);
    fill_report(run, report);
    if (!run->is_cut_short) { fleet_finish(&run->fleet, tally); }
    fleet_close(&run->fleet);
    close(run->epoll_fd);
    free(run->ready);
    free(run->receivers);
    free(run->inbox);
    free(run);
}
