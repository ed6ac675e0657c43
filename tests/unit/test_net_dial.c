/* resolve and dial, on a worker's loop, against bare listeners. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/dial.h"
#include "net/resolve.h"
#include "unit/wait_until.h"

struct fixture {
    struct worker *worker;
    struct resolver *resolver;
    struct dial dial;
    struct dial_opts dial_opts;
    const char *host;
    struct resolved resolved;
    struct resolve *resolve;
    int fd;
    int error;
    atomic_uint done_count;
    atomic_uint call_count;
    struct task task;
    void (*run)(struct fixture *f);
};

static void on_task(struct task *task)
{
    struct fixture *f = CONTAINER_OF(task, struct fixture, task);
    f->run(f);
    atomic_fetch_add(&f->call_count, 1);
}

static void run_on_worker(struct fixture *f, void (*run)(struct fixture *f))
{
    unsigned before = atomic_load(&f->call_count);
    f->run = run;
    f->task.run = on_task;
    mailbox_post(worker_mailbox(f->worker), &f->task);
    WAIT_UNTIL(atomic_load(&f->call_count) > before);
}

static struct fixture *set_up(void)
{
    struct fixture *f = mem_new0(sizeof *f);
    f->worker = worker_new(&(struct worker_opts){0});
    f->resolver = resolver_new();
    f->dial_opts.timeout_ms = WAIT_MS / 2;
    worker_start(f->worker);
    return f;
}

static void tear_down(struct fixture *f)
{
    worker_stop(f->worker);
    worker_join(f->worker);
    resolver_free(f->resolver);
    worker_free(f->worker);
    mem_free(f);
}

/* A bound socket of this machine; *address is where. */
static int bind_here(struct address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(resolve_literal("127.0.0.1", 0, address));
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address->storage, address->bytes), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address->storage, &address->bytes), 0);
    return fd;
}

static void on_done(struct dial *dial, int fd, int error)
{
    struct fixture *f = CONTAINER_OF(dial, struct fixture, dial);
    CHECK(dial->event == NULL);
    f->fd = fd;
    f->error = error;
    atomic_fetch_add(&f->done_count, 1);
}

static void start(struct fixture *f)
{
    dial_start(&f->dial, f->worker, &f->dial_opts, on_done);
}

static int option_of(int fd, int level, int option)
{
    int value = 0;
    socklen_t bytes = sizeof value;
    cr_assert_eq(getsockopt(fd, level, option, &value, &bytes), 0);
    return value;
}

Test(dial, a_listener_is_connected_to_with_the_options_set)
{
    struct fixture *f = set_up();
    int listener = bind_here(&f->dial_opts.address);
    cr_assert_eq(listen(listener, 1), 0);
    f->dial_opts.user_timeout_ms = 700;
    run_on_worker(f, start);
    WAIT_UNTIL(atomic_load(&f->done_count) == 1);
    cr_assert_eq(f->error, 0);
    cr_assert_neq(fcntl(f->fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(option_of(f->fd, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_assert_neq(option_of(f->fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    cr_assert_eq(option_of(f->fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 700);
    close(f->fd);
    close(listener);
    tear_down(f);
}

Test(dial, a_refusal_is_told_from_the_loop)
{
    struct fixture *f = set_up();
    int nobody = bind_here(&f->dial_opts.address);
    run_on_worker(f, start);
    WAIT_UNTIL(atomic_load(&f->done_count) == 1);
    cr_assert_eq(f->fd, -1);
    cr_assert_eq(f->error, ECONNREFUSED);
    close(nobody);
    cr_assert(resolve_literal("127.0.0.1", 1, &f->dial_opts.address));
    f->dial_opts.address.storage.ss_family = AF_APPLETALK; /* fails before it begins */
    run_on_worker(f, start);
    WAIT_UNTIL(atomic_load(&f->done_count) == 2);
    cr_assert_eq(f->fd, -1);
    cr_assert_neq(f->error, 0);
    tear_down(f);
}

/* A listener whose queue is full answers no more. */
static int full_listener(struct address *address, int *filler)
{
    int listener = bind_here(address);
    cr_assert_eq(listen(listener, 0), 0);
    *filler = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(*filler, (const struct sockaddr *)&address->storage, address->bytes), 0);
    return listener;
}

static void cancel(struct fixture *f)
{
    dial_cancel(&f->dial);
    dial_cancel(&f->dial); /* idle: allowed */
}

Test(dial, no_answer_ends_by_its_time_out_and_can_be_cancelled)
{
    struct fixture *f = set_up();
    int filler;
    int listener = full_listener(&f->dial_opts.address, &filler);
    f->dial_opts.timeout_ms = 30;
    run_on_worker(f, start);
    WAIT_UNTIL(atomic_load(&f->done_count) == 1);
    cr_assert_eq(f->fd, -1);
    cr_assert_eq(f->error, ETIMEDOUT);
    run_on_worker(f, start);
    run_on_worker(f, cancel);
    f->dial_opts.timeout_ms = 200;
    run_on_worker(f, start);
    WAIT_UNTIL(atomic_load(&f->done_count) ==
               2); /* the cancelled one would have been told before */
    cr_assert_null(f->dial.event);
    close(filler);
    close(listener);
    tear_down(f);
}

Test(resolve, addresses_in_digits_need_no_asking)
{
    struct address address;
    cr_assert(resolve_literal("127.0.0.1", 6379, &address));
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address.storage;
    cr_assert_eq(address.bytes, sizeof *v4);
    cr_assert_eq(v4->sin_family, AF_INET);
    cr_assert_eq(ntohs(v4->sin_port), 6379);
    cr_assert_eq(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
    cr_assert(resolve_literal("::1", 1, &address));
    cr_assert_eq(address.storage.ss_family, AF_INET6);
    cr_assert_not(resolve_literal("localhost", 1, &address));
    cr_assert_not(resolve_literal("[::1]", 1, &address));
    cr_assert_not(resolve_literal("", 1, &address));
}

static void on_resolved(void *arg, const struct resolved *resolved)
{
    struct fixture *f = arg;
    CHECK(worker_is_current(f->worker));
    f->resolved = *resolved;
    atomic_fetch_add(&f->done_count, 1);
}

static void ask(struct fixture *f)
{
    const struct resolve_opts opts = {.host = f->host,
                                      .port = 99,
                                      .mailbox = worker_mailbox(f->worker),
                                      .on_done = on_resolved,
                                      .arg = f};
    f->resolve = resolve_start(f->resolver, &opts);
}

static void ask_and_think_again(struct fixture *f)
{
    for (int i = 0; i < 50; i++) {
        ask(f);
        resolve_cancel(f->resolve);
    }
}

Test(resolve, a_name_is_looked_up_on_another_thread)
{
    struct fixture *f = set_up();
    f->host = "localhost";
    run_on_worker(f, ask);
    WAIT_UNTIL(atomic_load(&f->done_count) == 1);
    cr_assert_geq(f->resolved.count, 1);
    cr_assert_leq(f->resolved.count, RESOLVE_ADDRESSES_MAX);
    cr_assert_gt(f->resolved.address[0].bytes, 0);
    f->host = "a-label-of-more-than-sixty-three-characters-is-in-no-zone-of-the-whole-wide-world";
    run_on_worker(f, ask);
    WAIT_UNTIL(atomic_load(&f->done_count) == 2);
    cr_assert_eq(f->resolved.count, 0);
    cr_assert_not_null(f->resolved.why);
    tear_down(f);
}

Test(resolve, a_cancelled_request_is_not_answered)
{
    struct fixture *f = set_up();
    f->host = "localhost";
    run_on_worker(f, ask_and_think_again);
    run_on_worker(f, ask);
    WAIT_UNTIL(atomic_load(&f->done_count) == 1); /* behind all the others */
    cr_assert_eq(atomic_load(&f->done_count), 1);
    tear_down(f);
}
