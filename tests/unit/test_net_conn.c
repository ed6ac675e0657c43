/* conn over a socket pair, with the worker's loop on a thread of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn.h"
#include "unit/wait_until.h"

/* Echoes whole lines; "quit" closes after the echo, "wait" pauses until the test resumes it. */
struct echo {
    struct conn conn;
    struct task task;
    struct worker *worker;
    const struct conn_ops *ops;
    int fd;
    unsigned calls;
    atomic_bool is_paused;
    atomic_bool is_closed;
    atomic_bool has_end_ahead;
};

static size_t on_data(struct conn *conn, struct slice input)
{
    struct echo *echo = CONTAINER_OF(conn, struct echo, conn);
    echo->calls++;
    size_t used = 0;
    const char *end;
    while (conn_is_open(conn) && !conn->is_paused && used < input.len &&
           (end = memchr(input.data + used, '\n', input.len - used)) != NULL) {
        struct slice line = slice_of(input.data + used, (size_t)(end + 1 - input.data) - used);
        used += line.len;
        buf_append(conn_reply_begin(conn), line);
        conn_reply_end(conn);
        if (slice_equal(line, SLICE("quit\n"))) {
            conn_close_after_flush(conn);
        } else if (slice_equal(line, SLICE("wait\n"))) {
            conn_pause(conn);
            atomic_store(&echo->is_paused, true);
        }
    }
    return used;
}

static void on_close(struct conn *conn)
{
    atomic_store(&CONTAINER_OF(conn, struct echo, conn)->is_closed, true);
}

static void on_end(struct conn *conn)
{
    buf_append(conn_reply_begin(conn), SLICE("bye\n"));
    conn_reply_end(conn);
    conn_close_after_flush(conn);
}

static void on_end_ahead(struct conn *conn)
{
    atomic_store(&CONTAINER_OF(conn, struct echo, conn)->has_end_ahead, true);
}

static const struct conn_ops echo_ops = {.on_data = on_data, .on_close = on_close};
static const struct conn_ops patient_ops = {
    .on_data = on_data, .on_close = on_close, .on_end = on_end, .on_end_ahead = on_end_ahead};

static void on_turn_end(void *arg)
{
    worker_flush_replies(*(struct worker **)arg);
}

static void on_open_task(struct task *task)
{
    struct echo *echo = CONTAINER_OF(task, struct echo, task);
    conn_open(&echo->conn, echo->worker, echo->fd, echo->ops, NULL);
}

static void on_resume_task(struct task *task)
{
    conn_resume(&CONTAINER_OF(task, struct echo, task)->conn);
}

static void on_close_task(struct task *task)
{
    conn_close(&CONTAINER_OF(task, struct echo, task)->conn);
}

struct fixture {
    struct worker *worker;
    struct echo echo;
    int peer;
};

static void post(struct fixture *f, void (*run)(struct task *task))
{
    f->echo.task.run = run;
    mailbox_post(worker_mailbox(f->worker), &f->echo.task);
}

static void set_up_with(struct fixture *f, const struct conn_ops *ops)
{
    int fd[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    *f = (struct fixture){.peer = fd[1]};
    const struct worker_opts opts = {.on_turn_end = on_turn_end, .arg = &f->worker};
    f->worker = worker_new(&opts);
    f->echo.worker = f->worker;
    f->echo.fd = fd[0];
    f->echo.ops = ops;
    worker_start(f->worker);
    post(f, on_open_task);
}

static void set_up(struct fixture *f)
{
    set_up_with(f, &echo_ops);
}

static void wait_for(const atomic_bool *flag)
{
    WAIT_UNTIL(atomic_load(flag));
}

static void tear_down(struct fixture *f)
{
    if (!atomic_load(&f->echo.is_closed)) {
        post(f, on_close_task);
        wait_for(&f->echo.is_closed);
    }
    worker_stop(f->worker);
    worker_join(f->worker);
    worker_free(f->worker);
    close(f->peer);
}

static void send_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0) {
            cr_assert_eq(errno, EAGAIN);
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, WAIT_MS);
            continue;
        }
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
}

/* Read `len` bytes, or fewer if the peer closes. */
static size_t receive(int fd, char *into, size_t len)
{
    size_t have = 0;
    while (have < len) {
        cr_assert_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, WAIT_MS), 1);
        ssize_t n = recv(fd, into + have, len - have, 0);
        if (n <= 0) { break; }
        have += (size_t)n;
    }
    return have;
}

Test(conn, a_line_cut_anywhere_arrives_whole)
{
    struct fixture f;
    set_up(&f);
    for (size_t cut = 1; cut < 12; cut++) {
        char back[12];
        send_all(f.peer, slice_of("hello world\n", cut));
        send_all(f.peer, slice_of(&"hello world\n"[cut], 12 - cut));
        cr_assert_eq(receive(f.peer, back, 12), 12);
        cr_assert_eq(memcmp(back, "hello world\n", 12), 0);
    }
    tear_down(&f);
}

Test(conn, megabytes_pass_while_the_peer_reads_late)
{
    struct fixture f;
    set_up(&f);
    enum { LINE = 1 << 20, LINES = 3 };
    char *line = mem_new(LINE);
    char *back = mem_new(LINE);
    memset(line, 'x', LINE - 1);
    line[LINE - 1] = '\n';
    for (int i = 0; i < LINES; i++) {
        send_all(f.peer, slice_of(line, LINE));
    }
    for (int i = 0; i < LINES; i++) {
        cr_assert_eq(receive(f.peer, back, LINE), LINE);
        cr_assert_eq(memcmp(line, back, LINE), 0);
    }
    mem_free(line);
    mem_free(back);
    tear_down(&f);
}

Test(conn, input_behind_a_pause_is_presented_at_resume)
{
    struct fixture f;
    set_up(&f);
    char back[16];
    send_all(f.peer, SLICE("wait\nafter\n"));
    cr_assert_eq(receive(f.peer, back, 5), 5);
    wait_for(&f.echo.is_paused);
    cr_assert_eq(poll(&(struct pollfd){.fd = f.peer, .events = POLLIN}, 1, 20), 0,
                 "nothing before the resume");
    post(&f, on_resume_task);
    cr_assert_eq(receive(f.peer, back, 6), 6);
    cr_assert_eq(memcmp(back, "after\n", 6), 0);
    tear_down(&f);
}

Test(conn, close_after_flush_delivers_what_is_queued_and_ignores_the_rest)
{
    struct fixture f;
    set_up(&f);
    char back[32];
    send_all(f.peer, SLICE("first\nquit\nnever\n"));
    cr_assert_eq(receive(f.peer, back, sizeof back), 11);
    cr_assert_eq(memcmp(back, "first\nquit\n", 11), 0);
    wait_for(&f.echo.is_closed);
    tear_down(&f);
}

Test(conn, a_peer_that_leaves_closes_once)
{
    struct fixture f;
    set_up(&f);
    send_all(f.peer, SLICE("unfinished"));
    shutdown(f.peer, SHUT_RDWR);
    wait_for(&f.echo.is_closed);
    tear_down(&f);
}

Test(conn, the_end_is_told_behind_all_input_and_what_is_then_written_still_leaves)
{
    struct fixture f;
    set_up_with(&f, &patient_ops);
    char back[32];
    send_all(f.peer, SLICE("last\nunfinished"));
    cr_assert_eq(shutdown(f.peer, SHUT_WR), 0);
    cr_assert_eq(receive(f.peer, back, sizeof back), 9);
    cr_assert_eq(memcmp(back, "last\nbye\n", 9), 0);
    wait_for(&f.echo.is_closed);
    tear_down(&f);
}

Test(conn, the_end_is_seen_past_unread_input_of_a_paused_one_which_is_presented_all_the_same)
{
    struct fixture f;
    set_up_with(&f, &patient_ops);
    char back[32];
    send_all(f.peer, SLICE("wait\n"));
    cr_assert_eq(receive(f.peer, back, 5), 5);
    wait_for(&f.echo.is_paused);
    send_all(f.peer, SLICE("unread\n"));
    cr_assert_eq(shutdown(f.peer, SHUT_WR), 0);
    wait_for(&f.echo.has_end_ahead);
    post(&f, on_resume_task);
    cr_assert_eq(receive(f.peer, back, sizeof back), 11);
    cr_assert_eq(memcmp(back, "unread\nbye\n", 11), 0);
    wait_for(&f.echo.is_closed);
    tear_down(&f);
}

Test(conn, a_paused_one_may_be_closed_while_something_waits_to_be_read)
{
    struct fixture f;
    set_up_with(&f, &patient_ops);
    char back[32];
    send_all(f.peer, SLICE("wait\n"));
    cr_assert_eq(receive(f.peer, back, 5), 5);
    send_all(f.peer, SLICE("unread\n"));
    shutdown(f.peer, SHUT_RDWR);
    wait_for(&f.echo.has_end_ahead);
    tear_down(&f);
}
