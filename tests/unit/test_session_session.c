/* Sessions with a pipeline of three words, over socket pairs: what they ask of it, and in which order. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acl/acl.h"
#include "base/clock.h"
#include "pubsub/directory.h"
#include "resp/resp_write.h"
#include "session/bar.h"
#include "session/life.h"
#include "session/output.h"
#include "session/sessions.h"
#include "session/wait.h"
#include "unit/wait_until.h"

enum { COMMAND_ASK = 7 };

/* One worker and its sessions. Words: ECHO text; ASK, answered when the test says so; LATER, which is not run
 * before the pause is over. */
static struct world {
    struct config *config;
    struct directory *directory;
    struct worker *worker;
    struct mailbox *mailbox[1];
    struct cluster *cluster;
    struct sessions sessions;
    atomic_uint_fast64_t next_id;
    atomic_uint_fast64_t monitor_total;
    bool is_paused; /* the worker's */
    atomic_uint asked_count;
    atomic_uint forgotten_count;
    atomic_uint left_count;
} world;

static void answer(struct session *session, struct slice text)
{
    struct reply reply = {.out = &world.sessions.reply, .version = 2};
    reply_bulk(&reply, text);
    session_answer(session, reply.out, false);
}

static void forget(void *question)
{
    cr_assert_eq(question, &world);
    atomic_fetch_add(&world.forgotten_count, 1);
}

static const struct wait_ops ask_ops = {.forget = forget};

static bool request(struct session *session, const struct slice *argv, uint32_t argc)
{
    if (slice_equal(argv[0], SLICE("LATER")) && world.is_paused) {
        session_bar(session, BAR_PAUSE);
        return false;
    }
    if (slice_equal(argv[0], SLICE("ASK"))) {
        wait_begin(session, &ask_ops, &world, COMMAND_ASK);
        atomic_fetch_add(&world.asked_count, 1);
        return true;
    }
    answer(session, argv[argc - 1]);
    return true;
}

static void input_done(struct sessions *sessions)
{
    cr_assert_eq(sessions, &world.sessions);
}

static void go_on(struct session *session, const struct wait *wait)
{
    cr_assert_eq(wait->question, &world);
    cr_assert_eq(wait->command, COMMAND_ASK);
    cr_assert_eq(session->bar, BAR_NONE);
    answer(session, SLICE("asked"));
}

static void left(struct sessions *sessions)
{
    (void)sessions;
    atomic_fetch_add(&world.left_count, 1);
}

static const struct session_ops ops = {
    .request = request, .input_done = input_done, .go_on = go_on, .left = left};

static void on_turn_end(void *arg)
{
    (void)arg;
    fanout_commit(world.sessions.fanout);
    sessions_before_flush(&world.sessions);
    worker_flush_replies(world.worker);
    sessions_after_flush(&world.sessions);
}

static bool is_idle(void *arg)
{
    (void)arg;
    return sessions_are_idle(&world.sessions);
}

/* Run on the worker, while the test waits. */
struct visit {
    struct task task;
    void (*run)(struct visit *visit);
    int fd;
    atomic_bool is_done;
};

static void run_visit(struct task *task)
{
    struct visit *visit = CONTAINER_OF(task, struct visit, task);
    visit->run(visit);
    atomic_store(&visit->is_done, true);
}

static void on_worker(void (*run)(struct visit *visit), int fd)
{
    struct visit visit = {.task.run = run_visit, .run = run, .fd = fd};
    mailbox_post(worker_mailbox(world.worker), &visit.task);
    WAIT_UNTIL(atomic_load(&visit.is_done));
}

static void open_session(struct visit *visit)
{
    session_open(&world.sessions, visit->fd, NULL);
}

static void end_waits(struct visit *visit)
{
    (void)visit;
    LIST_EACH (link, &world.sessions.barred[BAR_COMMAND]) {
        wait_over(CONTAINER_OF(link, struct session_extra, wait.link)->session);
    }
}

static void begin_pause(struct visit *visit)
{
    (void)visit;
    world.is_paused = true;
}

static void end_pause(struct visit *visit)
{
    (void)visit;
    world.is_paused = false;
    sessions_unbar(&world.sessions, BAR_PAUSE);
}

static void close_all(struct visit *visit)
{
    (void)visit;
    sessions_close(&world.sessions);
}

static void leave_all(struct visit *visit)
{
    (void)visit;
    sessions_leave(&world.sessions);
}

static void await(atomic_uint *count, unsigned at_least)
{
    WAIT_UNTIL(atomic_load(count) >= at_least);
}

static const struct acl_catalogue catalogue; /* no commands */

static void start(void)
{
    char program[] = "fanfare";
    char *argv[] = {program, NULL};
    char *environment[] = {NULL};
    cr_assert_eq(config_load(&world.config, 1, argv, environment), CONFIG_RUN);
    world.directory = directory_new(1);
    const struct worker_opts opts = {.on_turn_end = on_turn_end, .is_idle = is_idle};
    world.worker = worker_new(&opts);
    world.mailbox[0] = worker_mailbox(world.worker);
    world.sessions = (struct sessions){
        .ops = &ops,
        .worker = world.worker,
        .config = world.config,
        .acl = acl_new(&catalogue, false),
        .cluster = &world.cluster,
        .next_id = &world.next_id,
        .monitor_total = &world.monitor_total,
        .worker_count = 1,
        .fanout = fanout_new(world.directory, world.mailbox, 1, 0, &session_fanout_ops),
    };
    sessions_init(&world.sessions);
    worker_start(world.worker);
}

static unsigned opened;

static void stop(void)
{
    on_worker(close_all, -1);
    await(&world.left_count, opened);
    worker_stop(world.worker);
    worker_join(world.worker);
    sessions_fini(&world.sessions);
    acl_free(world.sessions.acl);
    fanout_free(world.sessions.fanout);
    worker_free(world.worker);
    directory_free(world.directory);
    config_free(world.config);
}

TestSuite(session, .init = start, .fini = stop);

static int connect_client(void)
{
    int fd[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    cr_assert_eq(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    on_worker(open_session, fd[0]);
    opened++;
    return fd[1];
}

static void send_text(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Exactly that comes next; "": the end. */
static void expect(int fd, const char *text)
{
    char got[256];
    size_t len = strlen(text), have = 0;
    do {
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&waited, 1, WAIT_MS), 1, "nothing came, '%s' was to", text);
        ssize_t n = recv(fd, got + have, len > 0 ? len - have : 1, 0);
        if (n <= 0) { break; }
        have += (size_t)n;
    } while (have < len);
    cr_assert(slice_equal(slice_of(got, have), slice_of(text, len)), "'%s', not '%.*s'", text,
              (int)have, got);
}

static bool is_silent(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20) == 0;
}

Test(session, requests_behind_one_that_waits_are_run_after_its_answer)
{
    int fd = connect_client();
    send_text(fd, "ECHO a\r\nASK\r\nECHO b\r\nASK\r\nECHO c\r\n");
    expect(fd, "$1\r\na\r\n");
    for (unsigned i = 1; i <= 2; i++) {
        await(&world.asked_count, i);
        cr_assert(is_silent(fd));
        on_worker(end_waits, -1);
        expect(fd, i == 1 ? "$5\r\nasked\r\n$1\r\nb\r\n" : "$5\r\nasked\r\n$1\r\nc\r\n");
    }
    close(fd);
}

Test(session, the_end_of_the_stream_waits_for_what_was_begun)
{
    int fd = connect_client();
    send_text(fd, "ASK\r\nECHO b\r\nunfinished");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    await(&world.asked_count, 1);
    cr_assert(is_silent(fd));
    on_worker(end_waits, -1);
    expect(fd, "$5\r\nasked\r\n$1\r\nb\r\n");
    expect(fd, "");
    close(fd);
}

Test(session, what_a_closed_one_waited_for_is_forgotten_once)
{
    int fd = connect_client();
    send_text(fd, "ASK\r\n");
    await(&world.asked_count, 1);
    on_worker(close_all, -1);
    await(&world.left_count, 1);
    cr_assert_eq(atomic_load(&world.forgotten_count), 1);
    close(fd);
}

Test(session, a_request_that_is_not_run_now_is_presented_again)
{
    on_worker(begin_pause, -1);
    int fd = connect_client();
    send_text(fd, "ECHO a\r\nLATER b\r\nECHO c\r\n");
    expect(fd, "$1\r\na\r\n");
    cr_assert(is_silent(fd));
    on_worker(end_pause, -1);
    expect(fd, "$1\r\nb\r\n$1\r\nc\r\n");
    close(fd);
}

Test(session, one_that_ends_during_a_pause_takes_along_what_the_pause_held)
{
    on_worker(begin_pause, -1);
    int fd = connect_client();
    send_text(fd, "ECHO a\r\nLATER b\r\nECHO c\r\n");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    expect(fd, "$1\r\na\r\n");
    expect(fd, "");
    await(&world.left_count, 1);
    on_worker(end_pause, -1);
    close(fd);
}

Test(session, one_that_has_to_leave_answers_what_it_has_begun_and_nothing_else)
{
    int fd = connect_client();
    send_text(fd, "ASK\r\nECHO b\r\n");
    await(&world.asked_count, 1);
    on_worker(leave_all, -1);
    cr_assert(is_silent(fd));
    on_worker(end_waits, -1);
    expect(fd, "$5\r\nasked\r\n");
    expect(fd, "");
    close(fd);
}
