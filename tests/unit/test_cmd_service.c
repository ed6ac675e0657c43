/* service, sessions, the pipeline and questions to all workers in one process: real workers, clients over socket pairs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/pipeline.h"
#include "cmd/service.h"
#include "cmd/user_file.h"
#include "pubsub/directory.h"
#include "session/answers.h"
#include "unit/wait_until.h"

enum { WORKERS = 3 };

static struct broker broker;

static void set_option(const char *name, const char *value)
{
    struct buf why = {0};
    const struct slice names[] = {slice_of_str(name)};
    const struct slice values[] = {slice_of_str(value)};
    cr_assert(config_set(broker.config, names, values, 1, &why));
}

static void start(void)
{
    char program[] = "fanfare";
    char *argv[] = {program, NULL};
    char *environment[] = {NULL};
    cr_assert_eq(config_load(&broker.config, 1, argv, environment), CONFIG_RUN);
    broker.worker_count = WORKERS;
    broker.pipeline = &pipeline_ops;
    broker.directory = directory_new(WORKERS);
    cr_assert_eq(user_file_begin(&broker), ERR_OK);
    service_begin(&broker);
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_new(&broker, i);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_start(broker.service[i]);
    }
}

static uint32_t client_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        count += service_client_count(broker.service[i]);
    }
    return count;
}

static void await_no_clients(void)
{
    WAIT_UNTIL(client_count() == 0);
    cr_assert_eq(atomic_load(&broker.client_count), 0);
}

static void stop(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_abort(broker.service[i]);
    }
    await_no_clients();
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_stop(broker.service[i]);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_free(broker.service[i]);
    }
    service_end(&broker);
    user_file_end(&broker);
    directory_free(broker.directory);
    config_free(broker.config);
}

TestSuite(cmd_service, .init = start, .fini = stop);

/* The client's end of a new connection; the broker's workers take turns. */
static int connect_client(void)
{
    int fd[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    cr_assert_eq(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    service_on_accept(&broker, fd[0]);
    return fd[1];
}

static void send_text(int fd, const char *text)
{
    size_t len = strlen(text);
    cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Bytes until `len` are there or the broker has closed. */
static size_t receive(int fd, char *out, size_t len)
{
    size_t got = 0;
    while (got < len) {
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&waited, 1, WAIT_MS), 1, "nothing came, %zu of %zu bytes are there", got,
                     len);
        ssize_t n = recv(fd, out + got, len - got, 0);
        if (n <= 0) { break; }
        got += (size_t)n;
    }
    return got;
}

static void expect(int fd, const char *text)
{
    char got[4096];
    size_t len = strlen(text);
    cr_assert_lt(len, sizeof got);
    size_t count = receive(fd, got, len);
    cr_assert(slice_equal(slice_of(got, count), slice_of(text, len)), "expected '%s', got '%.*s'",
              text, (int)count, got);
}

static void expect_end(int fd)
{
    char byte;
    cr_assert_eq(receive(fd, &byte, 1), 0);
}

/* A bulk string or verbatim string of any length: its text, freed by the caller. */
static char *receive_bulk(int fd)
{
    char head[32];
    size_t len = 0;
    do {
        cr_assert_eq(receive(fd, head + len, 1), 1);
        len++;
    } while (head[len - 1] != '\n' && len < sizeof head);
    cr_assert_eq(head[0], '$');
    size_t bytes = strtoul(head + 1, NULL, 10);
    char *text = mem_new(bytes + 2);
    cr_assert_eq(receive(fd, text, bytes + 2), bytes + 2);
    text[bytes] = '\0';
    return text;
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

Test(cmd_service, new_clients_go_to_the_workers_in_turn)
{
    int fd[WORKERS * 4];
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        fd[i] = connect_client();
    }
    for (size_t i = 0; i < WORKERS; i++) {
        cr_assert_eq(service_client_count(broker.service[i]), 4);
    }
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        close(fd[i]);
    }
    await_no_clients();
}

Test(cmd_service, a_client_beyond_the_limit_is_told_so_and_closed)
{
    set_option("maxclients", "1");
    int first = connect_client();
    int second = connect_client();
    expect(second, "-ERR max number of clients reached\r\n");
    expect_end(second);
    send_text(first, "PING\r\n");
    expect(first, "+PONG\r\n");
    close(first);
    close(second);
}

Test(cmd_service, answers_keep_the_order_of_commands_of_different_kinds)
{
    int fd = connect_client();
    send_text(fd, "PUBLISH a 1\r\nPUBLISH b 2\r\nPING x\r\nPUBLISH a 3\r\nNOSUCH\r\nPUBLISH\r\n"
                  "PUBLISH a 4\r\nSUBSCRIBE a\r\n");
    expect(fd, ":0\r\n:0\r\n$1\r\nx\r\n:0\r\n"
               "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"
               "-ERR wrong number of arguments for 'publish' command\r\n"
               ":0\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    close(fd);
}

Test(cmd_service, a_question_to_all_workers_answers_for_all_and_holds_up_what_follows)
{
    int others[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        others[i] = connect_client();
        send_text(others[i], "PING\r\n");
        expect(others[i], "+PONG\r\n");
    }
    int fd = connect_client();
    send_text(fd, "PUBLISH a 1\r\nCLIENT LIST\r\nPING behind\r\nPUBLISH a 2\r\n");
    expect(fd, ":0\r\n");
    char *list = receive_bulk(fd);
    cr_assert_eq(count_lines(list), WORKERS + 1, "%s", list);
    mem_free(list);
    expect(fd, "$6\r\nbehind\r\n:0\r\n");
    close(fd);
    for (size_t i = 0; i < WORKERS; i++) {
        close(others[i]);
    }
}

Test(cmd_service, exec_goes_on_after_each_command_that_waits)
{
    set_option("slowlog-log-slower-than", "-1"); /* however slow the machine is */
    int fd = connect_client();
    send_text(
        fd,
        "MULTI\r\nPUBLISH a 1\r\nCLIENT KILL ID 4711\r\nPUBLISH a 2\r\nSLOWLOG LEN\r\nECHO x\r\n"
        "PUBLISH a 3\r\nEXEC\r\nPING\r\n");
    expect(fd, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
               "*6\r\n:0\r\n:0\r\n:0\r\n:0\r\n$1\r\nx\r\n:0\r\n+PONG\r\n");
    close(fd);
}

Test(cmd_service, a_client_that_leaves_while_its_question_travels_leaves_nothing_behind)
{
    for (unsigned i = 0; i < 300; i++) {
        int fd = connect_client();
        send_text(fd, i % 2 ? "CLIENT LIST\r\nCLIENT LIST\r\n"
                            : "MULTI\r\nCLIENT LIST\r\nPING\r\nEXEC\r\n");
        close(fd);
    }
    await_no_clients();
}

Test(cmd_service, questions_of_many_clients_travel_at_once)
{
    int fd[12];
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        fd[i] = connect_client();
    }
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        send_text(fd[i], "CLIENT LIST\r\nCLIENT UNPAUSE\r\nCLIENT KILL TYPE master\r\n");
    }
    for (size_t i = 0; i < COUNT_OF(fd); i++) {
        mem_free(receive_bulk(fd[i]));
        expect(fd[i], "+OK\r\n:0\r\n");
        close(fd[i]);
    }
}

Test(cmd_service, a_client_can_kill_itself_once_it_has_its_answer)
{
    int fd = connect_client();
    send_text(fd, "CLIENT KILL TYPE normal SKIPME no\r\nPING\r\n");
    expect(fd, ":1\r\n");
    expect_end(fd);
    close(fd);
}

Test(cmd_service, a_pause_holds_commands_back_and_its_end_lets_them_go)
{
    int fd = connect_client();
    int other = connect_client();
    send_text(fd, "CLIENT PAUSE 60000 WRITE\r\nPING\r\nPUBLISH a held\r\n");
    expect(fd, "+OK\r\n+PONG\r\n");
    send_text(other, "CLIENT UNPAUSE\r\n");
    expect(other, "+OK\r\n");
    expect(fd, ":0\r\n");
    send_text(fd, "CLIENT PAUSE 1\r\nPING after\r\n");
    expect(fd, "+OK\r\n$5\r\nafter\r\n");
    close(fd);
    close(other);
}

Test(cmd_service, a_paused_client_can_be_closed)
{
    int fd = connect_client();
    send_text(fd, "CLIENT PAUSE 60000\r\nPING\r\n");
    expect(fd, "+OK\r\n");
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_abort(broker.service[i]);
    }
    expect_end(fd);
    await_no_clients();
    close(fd);
}

Test(cmd_service, a_drain_sends_what_is_queued_before_it_closes)
{
    int subscriber = connect_client();
    int publisher = connect_client();
    send_text(subscriber, "SUBSCRIBE a\r\n");
    expect(subscriber, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    send_text(publisher, "PUBLISH a last\r\n");
    expect(publisher, ":1\r\n");
    expect(subscriber, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nlast\r\n");
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_drain(broker.service[i]);
    }
    expect_end(subscriber);
    expect_end(publisher);
    await_no_clients();
    close(subscriber);
    close(publisher);
}

Test(cmd_service, a_silenced_client_gets_confirmations_and_messages_but_no_answers)
{
    int fd = connect_client();
    send_text(
        fd,
        "HELLO 3 SETNAME q\r\nCLIENT REPLY OFF\r\nPING\r\nPUBLISH b 1\r\nNOSUCH\r\nSUBSCRIBE b\r\n"
        "PUBLISH b 2\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nPUBLISH c 3\r\nPING end\r\n");
    char hello[512];
    size_t len = 0;
    while (len < sizeof hello - 1 &&
           (len < 9 || memcmp(hello + len - 9, "\r\n>3\r\n$9\r", 9) != 0)) {
        cr_assert_eq(receive(fd, hello + len, 1), 1);
        len++;
    }
    expect(fd, "\nsubscribe\r\n$1\r\nb\r\n:1\r\n");
    char rest[128];
    const char *all = "+OK\r\n$3\r\nend\r\n>3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\n2\r\n";
    cr_assert_eq(receive(fd, rest, strlen(all)), strlen(all));
    rest[strlen(all)] = '\0';
    cr_assert_not_null(strstr(rest, "+OK\r\n$3\r\nend\r\n"), "%s", rest);
    cr_assert_not_null(strstr(rest, ">3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$1\r\n2\r\n"), "%s", rest);
    close(fd);
}

/* ---- publishes whose fate another node decides ---- */

/* Run on the worker of the one client that is connected, while the test waits. */
struct visit {
    struct task task;
    void (*look)(struct session *session, struct visit *visit);
    struct service *service;
    uint32_t count;
    enum err err;
    void *ticket;
    bool is_held;
    atomic_bool is_done;
};

static void run_visit(struct task *task)
{
    struct visit *visit = CONTAINER_OF(task, struct visit, task);
    struct list *first = visit->service->sessions.all.next;
    visit->look(CONTAINER_OF(first, struct session, link), visit);
    atomic_store(&visit->is_done, true);
}

static void visit_client(struct visit *visit, void (*look)(struct session *, struct visit *))
{
    for (uint32_t i = 0; visit->service == NULL; i++) {
        CHECK(i < WORKERS);
        if (service_client_count(broker.service[i]) > 0) { visit->service = broker.service[i]; }
    }
    visit->task.run = run_visit;
    visit->look = look;
    atomic_store(&visit->is_done, false);
    mailbox_post(worker_mailbox(visit->service->worker), &visit->task);
    WAIT_UNTIL(atomic_load(&visit->is_done));
}

static void defer(struct session *session, struct visit *visit)
{
    session->flags |= SESSION_PUBLISHED;
    visit->ticket = session_deferred(session, visit->count, false);
    visit->is_held = session->bar == BAR_ANSWERS;
}

static void look_whether_held(struct session *session, struct visit *visit)
{
    visit->is_held = session->bar == BAR_ANSWERS;
}

/* The session may have gone away. */
static void settle(struct session *session, struct visit *visit)
{
    (void)session;
    session_settled(visit->ticket, visit->err, 7);
}

static bool is_held(struct visit *visit)
{
    visit_client(visit, look_whether_held);
    return visit->is_held;
}

/* A client with `count` publishes that another node has not decided yet. */
static int connect_with_open_publishes(struct visit *visit, uint32_t count)
{
    int fd = connect_client();
    send_text(fd, "PING\r\n");
    expect(fd, "+PONG\r\n");
    *visit = (struct visit){.count = count};
    visit_client(visit, defer);
    return fd;
}

Test(cmd_service, a_publish_that_is_decided_late_holds_up_the_answers_behind_it)
{
    static const char *const next[] = {"PING\r\n", "NOSUCH\r\n", "*1\r\nx\r\n"};
    static const char *const answer[] = {
        "+PONG\r\n", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
        "-ERR Protocol error: expected '$', got 'x'\r\n"};
    for (size_t i = 0; i < COUNT_OF(next); i++) {
        struct visit visit;
        int fd = connect_with_open_publishes(&visit, 2);
        send_text(fd, "PUBLISH a 1\r\nPUBLISH a 2\r\n");
        send_text(fd, next[i]);
        WAIT_UNTIL(is_held(&visit));
        visit_client(&visit, settle);
        expect(fd, ":7\r\n:7\r\n:0\r\n:0\r\n");
        expect(fd, answer[i]);
        close(fd);
        await_no_clients();
    }
}

Test(cmd_service, a_publish_that_comes_to_nothing_is_answered_in_its_place)
{
    static const struct {
        enum err err;
        const char *answer;
    } fate[] = {
        {ERR_INDOUBT, "-INDOUBT the owner of the channel died before it answered: the message may "
                      "have been delivered\r\n"},
        {ERR_CLUSTER_DOWN,
         "-CLUSTERDOWN not executed: the owner of the slot cannot be reached\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(fate); i++) {
        struct visit visit;
        int fd = connect_with_open_publishes(&visit, 1);
        send_text(fd, "PUBLISH a 1\r\nPING\r\n");
        WAIT_UNTIL(is_held(&visit));
        visit.err = fate[i].err;
        visit_client(&visit, settle);
        expect(fd, fate[i].answer);
        expect(fd, ":0\r\n+PONG\r\n");
        close(fd);
        await_no_clients();
    }
}

Test(cmd_service, a_client_with_too_many_open_publishes_is_not_read)
{
    struct visit visit;
    int fd = connect_with_open_publishes(&visit, ANSWERS_MAX);
    cr_assert(!visit.is_held);
    send_text(fd, "PUBLISH a 1\r\n");
    WAIT_UNTIL(is_held(&visit));
    visit_client(&visit, settle);
    char *answers = mem_new(4 * ANSWERS_MAX);
    cr_assert_eq(receive(fd, answers, 4 * ANSWERS_MAX), 4 * ANSWERS_MAX);
    mem_free(answers);
    send_text(fd, "PING\r\n");
    expect(fd, ":0\r\n+PONG\r\n");
    close(fd);
}

static void kill_client(struct session *session, struct visit *visit)
{
    (void)visit;
    conn_close(&session->conn);
}

Test(cmd_service, a_publish_may_outlive_its_client)
{
    struct visit visit;
    int fd = connect_with_open_publishes(&visit, 3);
    send_text(fd, "PUBLISH a 1\r\n");
    visit_client(&visit, kill_client);
    await_no_clients();
    visit_client(&visit, settle);
    close(fd);
}

Test(cmd_service, a_client_that_sends_no_more_has_its_open_publishes_answered)
{
    struct visit visit;
    int fd = connect_with_open_publishes(&visit, 2);
    send_text(fd, "PUBLISH a 1\r\n");
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    visit_client(&visit, look_whether_held); /* a turn later */
    visit_client(&visit, look_whether_held);
    visit_client(&visit, settle);
    expect(fd, ":7\r\n:7\r\n:0\r\n");
    expect_end(fd);
    await_no_clients();
    close(fd);
}

Test(cmd_service, a_drain_waits_for_open_publishes)
{
    struct visit visit;
    int fd = connect_with_open_publishes(&visit, 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        service_drain(broker.service[i]);
    }
    visit_client(&visit, look_whether_held); /* a turn later */
    visit_client(&visit, look_whether_held);
    visit_client(&visit, settle);
    expect(fd, ":7\r\n");
    expect_end(fd);
    await_no_clients();
    close(fd);
}
