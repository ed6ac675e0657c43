/* test_admin_admin: real HTTP over loopback: what each route answers, and that nobody who is slow,
 * rude or many keeps the others from their answer. */
#include "admin/admin.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum { WORKERS = 3, ANSWER_MS_MAX = 10000 };

struct fixture {
    struct admin *admin;
    struct admin_status status;
    atomic_uint_fast64_t turned_ns[WORKERS];
    atomic_uint print_count;
};

static uint64_t fake_heartbeat_ns(void *arg, unsigned worker)
{
    return atomic_load(&((struct fixture *)arg)->turned_ns[worker]);
}

static void fake_metrics(void *arg, struct buf *out)
{
    atomic_fetch_add(&((struct fixture *)arg)->print_count, 1);
    admin_print_gauge(out, "redis_config_maxclients", "the limit of clients", 10000);
}

static struct admin_opts fixture_opts(struct fixture *f)
{
    static const char *const any_port[] = {"127.0.0.1:0"};
    return (struct admin_opts){
        .listen = any_port,
        .listen_count = 1,
        .redis_version = "7.0.15",
        .status = &f->status,
        .heartbeat_ns = fake_heartbeat_ns,
        .worker_count = WORKERS,
        .extra_metrics = fake_metrics,
        .arg = f,
    };
}

static void fixture_start(struct fixture *f, const struct admin_opts *opts)
{
    const char *why = NULL;
    for (int i = 0; i < WORKERS; i++) {
        atomic_store(&f->turned_ns[i], clock_mono_ns());
    }
    cr_assert_eq(admin_start(&f->admin, opts, &why), ERR_OK, "%s", why);
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = mem_new0(sizeof *f);
    struct admin_opts opts = fixture_opts(f);
    fixture_start(f, &opts);
    return f;
}

static void fixture_free(struct fixture *f)
{
    admin_stop(f->admin);
    mem_free(f);
}

/* ---- a plain HTTP client ---- */

static int dial(const char *address)
{
    unsigned port = (unsigned)atoi(strrchr(address, ':') + 1);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    bool is_v6 = address[0] == '[';
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    int failed = is_v6 ? connect(fd, (const struct sockaddr *)&v6, sizeof v6)
                       : connect(fd, (const struct sockaddr *)&v4, sizeof v4);
    cr_assert_eq(failed, 0, "connect %s: %s", address, strerror(errno));
    return fd;
}

static void send_text(int fd, const char *text)
{
    size_t len = strlen(text);
    cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* One more piece into `in`; false at the end of the connection. */
static bool receive_some(int fd, struct buf *in)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&poll_fd, 1, ANSWER_MS_MAX), 1, "no answer in time");
    ssize_t len = recv(fd, buf_reserve(in, 4096), 4096, 0);
    in->len += len > 0 ? (size_t)len : 0;
    return len > 0;
}

/* Waits for the server to close. */
static void expect_closed(int fd)
{
    struct buf ignored = {0};
    while (receive_some(fd, &ignored)) {}
    buf_fini(&ignored);
}

/* All until the server closes, NUL-terminated. Gives: the text. */
static char *receive_all(int fd)
{
    struct buf in = {0};
    while (receive_some(fd, &in)) {}
    buf_append(&in, SLICE("\0"));
    return in.data;
}

/* Gives: the whole answer to one request on a connection of its own. */
static char *ask(const struct fixture *f, const char *method, const char *path)
{
    char request[256];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             method, path);
    int fd = dial(admin_address(f->admin, 0));
    send_text(fd, request);
    char *answer = receive_all(fd);
    close(fd);
    return answer;
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(end, "no end of headers in: %s", answer);
    return end + 4;
}

static int code_of(const char *answer)
{
    cr_assert_eq(strncmp(answer, "HTTP/1.", 7), 0, "not HTTP: %s", answer);
    return atoi(answer + 9);
}

static void expect_answer(const struct fixture *f, const char *path, int code, const char *body)
{
    char *answer = ask(f, "GET", path);
    cr_expect_eq(code_of(answer), code, "%s: %s", path, answer);
    cr_expect_str_eq(body_of(answer), body);
    mem_free(answer);
}

/* ---- routes ---- */

Test(admin, startup_and_readiness_tell_the_reason)
{
    struct fixture *f = fixture_new();
    expect_answer(f, "/startupz", 503, "starting\n");
    expect_answer(f, "/readyz", 503, "starting\n");
    atomic_store(&f->status.is_started, true);
    expect_answer(f, "/startupz", 200, "ok\n");
    expect_answer(f, "/readyz", 200, "ok\n");
    atomic_store(&f->status.unready_because, "shutting down");
    expect_answer(f, "/readyz?verbose=1", 503, "shutting down\n");
    expect_answer(f, "/startupz", 200, "ok\n");
    fixture_free(f);
}

Test(admin, a_worker_that_does_not_turn_fails_liveness_by_name)
{
    struct fixture *f = fixture_new();
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    expect_answer(f, "/livez", 200, "ok\n");
    atomic_store(&f->turned_ns[1], clock_mono_ns() - 25 * NS_PER_S);
    char *answer = ask(f, "GET", "/livez");
    cr_expect_eq(code_of(answer), 503);
    cr_expect_not_null(strstr(body_of(answer), "worker 1 has not turned for 2"), "%s", answer);
    mem_free(answer);
    atomic_store(&f->turned_ns[1], clock_mono_ns() + NS_PER_S); /* stamped after the probe looked */
    expect_answer(f, "/livez", 200, "ok\n");
    fixture_free(f);
}

Test(admin, head_is_get_without_the_body)
{
    static const char *const paths[] = {"/", "/livez", "/readyz", "/startupz"};
    struct fixture *f = fixture_new();
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char length[64];
        char *got = ask(f, "GET", paths[i]), *head = ask(f, "HEAD", paths[i]);
        snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", strlen(body_of(got)));
        cr_expect_eq(code_of(got), code_of(head));
        cr_expect_str_eq(body_of(head), "");
        cr_expect_gt(strlen(body_of(got)), 0);
        cr_expect_not_null(strstr(got, length), "%s", got);
        cr_expect_not_null(strstr(head, length), "%s", head);
        mem_free(got);
        mem_free(head);
    }
    fixture_free(f);
}

Test(admin, the_root_lists_the_routes)
{
    struct fixture *f = fixture_new();
    char *answer = ask(f, "GET", "/");
    cr_expect_eq(code_of(answer), 200);
    cr_expect_not_null(strstr(answer, "Content-Type: text/plain"));
    cr_expect(strstr(answer, "/metrics") && strstr(answer, "/livez") && strstr(answer, "/readyz"));
    mem_free(answer);
    fixture_free(f);
}

Test(admin, what_is_not_served_is_404_and_what_is_not_read_405)
{
    static const char *const refused[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    struct fixture *f = fixture_new();
    char *answer = ask(f, "GET", "/livez/x");
    cr_expect_eq(code_of(answer), 404);
    mem_free(answer);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        answer = ask(f, refused[i], "/livez");
        cr_expect_eq(code_of(answer), 405, "%s", refused[i]);
        cr_expect_not_null(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
        mem_free(answer);
    }
    fixture_free(f);
}

/* ---- metrics ---- */

enum { FAMILIES_MAX = 400, NAME_MAX_LEN = 100 };

struct family {
    char name[NAME_MAX_LEN];
    bool has_help;
    bool is_histogram;
    unsigned sample_count;
};

struct families {
    struct family family[FAMILIES_MAX];
    size_t count;
};

static struct family *family_find(struct families *fs, const char *name)
{
    for (size_t i = 0; i < fs->count; i++) {
        if (strcmp(fs->family[i].name, name) == 0) { return &fs->family[i]; }
    }
    return NULL;
}

/* A sample belongs to the family of the last TYPE line: its name, or a histogram's endings. */
static void check_sample(struct families *fs, const char *line)
{
    char name[NAME_MAX_LEN], *number_end;
    size_t len = strcspn(line, "{ ");
    cr_assert_lt(len, sizeof name);
    snprintf(name, sizeof name, "%.*s", (int)len, line);
    cr_assert_gt(fs->count, 0);
    struct family *last = &fs->family[fs->count - 1];
    size_t stem = strlen(last->name);
    cr_assert_eq(strncmp(name, last->name, stem), 0, "%s outside its family", line);
    cr_assert(name[stem] == '\0' || (last->is_histogram && name[stem] == '_'), "%s", line);
    const char *value = strrchr(line, ' ');
    cr_assert_not_null(value);
    (void)strtod(value + 1, &number_end);
    cr_assert(number_end > value + 1 && *number_end == '\0', "no number: %s", line);
    last->sample_count++;
}

static void check_line(struct families *fs, const char *line)
{
    char name[NAME_MAX_LEN], type[16];
    if (sscanf(line, "# HELP %99s", name) == 1) {
        cr_assert_null(family_find(fs, name), "%s twice", name);
        cr_assert_lt(fs->count, FAMILIES_MAX);
        struct family *family = &fs->family[fs->count++];
        *family = (struct family){.has_help = true};
        snprintf(family->name, sizeof family->name, "%s", name);
    } else if (sscanf(line, "# TYPE %99s %15s", name, type) == 2) {
        cr_assert_str_eq(fs->family[fs->count - 1].name, name);
        cr_assert(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                  strcmp(type, "histogram") == 0);
        fs->family[fs->count - 1].is_histogram = strcmp(type, "histogram") == 0;
    } else {
        check_sample(fs, line);
    }
}

Test(admin, the_metrics_are_prometheus_text_with_the_names_that_dashboards_know)
{
    static const char *const expected[] = {
        "redis_up",
        "redis_uptime_in_seconds",
        "redis_start_time_seconds",
        "redis_memory_used_bytes",
        "redis_instance_info",
        "redis_connected_clients",
        "redis_config_maxclients",
        "fanfare_build_info",
        "fanfare_http_requests_total",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    };
    struct fixture *f = fixture_new();
    char *answer = ask(f, "GET", "/metrics");
    cr_assert_eq(code_of(answer), 200);
    cr_expect_not_null(
        strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    struct families *fs = mem_new0(sizeof *fs);
    char *rest = (char *)(uintptr_t)body_of(answer), *line;
    cr_expect_eq(rest[strlen(rest) - 1], '\n');
    while ((line = strsep(&rest, "\n")) != NULL && rest != NULL) {
        check_line(fs, line);
    }
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        const struct family *family = family_find(fs, expected[i]);
        cr_expect(family != NULL && family->sample_count > 0, "%s is missing", expected[i]);
    }
    mem_free(fs);
    mem_free(answer);
    fixture_free(f);
}

static double metric_value(const char *page, const char *name)
{
    char start[NAME_MAX_LEN];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(page, start);
    cr_assert_not_null(at, "%s is missing", name);
    return strtod(at + strlen(start), NULL);
}

Test(admin, the_process_metrics_are_those_of_this_process)
{
    struct fixture *f = fixture_new();
    char *page = ask(f, "GET", "/metrics");
    double now_s = (double)clock_wall_us() / 1e6;
    double started_s = metric_value(page, "process_start_time_seconds");
    cr_expect(started_s > now_s - 600 && started_s < now_s + 1, "%f at %f", started_s, now_s);
    cr_expect_gt(metric_value(page, "process_resident_memory_bytes"), 500000);
    cr_expect_gt(metric_value(page, "process_max_fds"), metric_value(page, "process_open_fds"));
    cr_expect_gt(metric_value(page, "process_open_fds"), 4);
    cr_expect_gt(metric_value(page, "process_cpu_seconds_total"), 0);
    mem_free(page);
    fixture_free(f);
}

Test(admin, a_burst_of_scrapes_is_answered_from_one_text)
{
    enum { SCRAPES = 50 };
    struct fixture *f = fixture_new();
    int fd = dial(admin_address(f->admin, 0));
    for (int i = 0; i < SCRAPES; i++) {
        send_text(fd, i < SCRAPES - 1 ? "GET /metrics HTTP/1.1\r\n\r\n"
                                      : "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
    }
    char *answers = receive_all(fd);
    size_t answer_count = 0;
    for (const char *at = answers; (at = strstr(at, "HTTP/1.1 200 OK")) != NULL; at++) {
        answer_count++;
    }
    cr_expect_eq(answer_count, SCRAPES);
    cr_expect_lt(atomic_load(&f->print_count), SCRAPES / 2);
    mem_free(answers);
    close(fd);
    fixture_free(f);
}

/* ---- the rude ---- */

Test(admin, nonsense_gets_an_error_and_no_more)
{
    static const char *const nonsense[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / SPDY/9\r\n\r\n",
        "BREW /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nno colon here\r\n\r\n",
        "GET http://[::1/livez HTTP/1.1\r\n\r\n",
        "GET * HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "*1\r\n$4\r\nPING\r\n",
    };
    struct fixture *f = fixture_new();
    for (size_t i = 0; i < COUNT_OF(nonsense); i++) {
        int fd = dial(admin_address(f->admin, 0));
        send_text(fd, nonsense[i]);
        cr_expect_eq(shutdown(fd, SHUT_WR), 0);
        char *answer = receive_all(fd);
        cr_expect(answer[0] == '\0' || code_of(answer) >= 400, "%s: %s", nonsense[i], answer);
        mem_free(answer);
        close(fd);
    }
    expect_answer(f, "/livez", 200, "ok\n");
    fixture_free(f);
}

Test(admin, endless_headers_and_big_bodies_are_cut_off)
{
    struct fixture *f = fixture_new();
    int fd = dial(admin_address(f->admin, 0));
    send_text(fd, "GET /livez HTTP/1.1\r\n");
    char line[1024];
    memset(line, 'a', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    uint64_t until_ns = clock_mono_ns() + ANSWER_MS_MAX * NS_PER_MS;
    size_t sent = 0;
    while (send(fd, line, sizeof line, MSG_NOSIGNAL) > 0 && clock_mono_ns() < until_ns) {
        sent += sizeof line;
        cr_assert_lt(sent, 64 * 1024 * 1024, "the server reads on");
    }
    cr_expect_lt(clock_mono_ns(), until_ns);
    close(fd);

    fd = dial(admin_address(f->admin, 0));
    send_text(fd, "POST /livez HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n");
    char *answer = receive_all(fd);
    cr_expect_eq(code_of(answer), 413, "%s", answer);
    mem_free(answer);
    close(fd);
    fixture_free(f);
}

Test(admin, one_connection_too_many_costs_the_slowest_its_place)
{
    enum { LIMIT = 4 };
    struct fixture *f = mem_new0(sizeof *f);
    struct admin_opts opts = fixture_opts(f);
    opts.connections_max = LIMIT;
    fixture_start(f, &opts);
    int fd[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        fd[i] = dial(admin_address(f->admin, 0));
        send_text(fd[i], "GET /livez HT"); /* and then nothing */
    }
    expect_answer(f, "/livez", 200, "ok\n");
    expect_closed(fd[0]);
    for (int i = 0; i < 10 * LIMIT; i++) {
        expect_answer(f, "/livez", 200, "ok\n");
    }
    char *page = ask(f, "GET", "/metrics");
    cr_expect_geq(metric_value(page, "fanfare_http_connections_shed_total"), 1);
    cr_expect_leq(metric_value(page, "fanfare_http_connections"), LIMIT);
    mem_free(page);
    for (int i = 0; i < LIMIT; i++) {
        close(fd[i]);
    }
    fixture_free(f);
}

Test(admin, those_who_never_finish_a_request_are_closed)
{
    struct fixture *f = mem_new0(sizeof *f);
    struct admin_opts opts = fixture_opts(f);
    opts.request_ms_max = 300;
    fixture_start(f, &opts);
    int idle = dial(admin_address(f->admin, 0)), dripping = dial(admin_address(f->admin, 0));
    send_text(dripping, "GET /livez HTTP/1.1\r\nX: ");
    uint64_t until_ns = clock_mono_ns() + ANSWER_MS_MAX * NS_PER_MS;
    struct pollfd gone = {.fd = dripping, .events = POLLIN};
    while (poll(&gone, 1, 20) == 0 && clock_mono_ns() < until_ns) {
        (void)send(dripping, "x", 1, MSG_NOSIGNAL); /* never idle, never done */
    }
    cr_expect_lt(clock_mono_ns(), until_ns);
    expect_closed(idle);
    close(idle);
    close(dripping);
    fixture_free(f);
}

Test(admin, one_who_does_not_read_is_closed_and_holds_up_nobody)
{
    struct fixture *f = mem_new0(sizeof *f);
    struct admin_opts opts = fixture_opts(f);
    opts.request_ms_max = 500;
    fixture_start(f, &opts);
    int fd = dial(admin_address(f->admin, 0));
    uint64_t until_ns = clock_mono_ns() + ANSWER_MS_MAX * NS_PER_MS;
    static const char request[] = "GET /metrics HTTP/1.1\r\n\r\n";
    bool is_open = true;
    while (is_open && clock_mono_ns() < until_ns) {
        ssize_t sent = send(fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        is_open = sent > 0 || errno == EAGAIN;
        if (sent < 0 && is_open) { expect_answer(f, "/livez", 200, "ok\n"); }
    }
    cr_expect_not(is_open);
    close(fd);
    fixture_free(f);
}

/* ---- start and stop ---- */

Test(admin, it_listens_where_it_is_told_and_says_where)
{
    static const char *const both[] = {"127.0.0.1:0", "[::1]:0", "*:0", "localhost:0"};
    struct fixture *f = mem_new0(sizeof *f);
    struct admin_opts opts = fixture_opts(f);
    opts.listen = both;
    opts.listen_count = COUNT_OF(both);
    fixture_start(f, &opts);
    cr_expect_eq(strncmp(admin_address(f->admin, 1), "[::1]:", 6), 0);
    cr_expect_eq(strncmp(admin_address(f->admin, 2), "0.0.0.0:", 8), 0);
    for (unsigned i = 0; i < COUNT_OF(both); i++) {
        int fd = dial(admin_address(f->admin, i));
        send_text(fd, "GET /livez HTTP/1.0\r\n\r\n");
        char *answer = receive_all(fd);
        cr_expect_eq(code_of(answer), 200);
        mem_free(answer);
        close(fd);
    }
    fixture_free(f);
}

Test(admin, an_address_that_cannot_be_used_is_refused_with_the_reason)
{
    static const char *const bad[] = {"",          "9121",        ":9121",
                                      "127.0.0.1", "127.0.0.1:",  "::1:1",
                                      "[::1:9121", "127.0.0.1:x", "256.0.0.1:1"};
    struct fixture *f = fixture_new();
    struct admin_opts opts = fixture_opts(f);
    struct admin *second = NULL;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *why = NULL;
        opts.listen = &bad[i];
        cr_expect_eq(admin_start(&second, &opts, &why), ERR_INVALID, "%s", bad[i]);
        cr_expect(why != NULL && second == NULL);
    }
    const char *why = NULL, *taken = admin_address(f->admin, 0);
    opts.listen = &taken;
    cr_expect_eq(admin_start(&second, &opts, &why), ERR_SYSTEM);
    cr_expect_str_eq(why, strerror(EADDRINUSE));
    fixture_free(f);
}

Test(admin, stopping_closes_every_connection)
{
    struct fixture *f = fixture_new();
    int idle = dial(admin_address(f->admin, 0)), halfway = dial(admin_address(f->admin, 0));
    send_text(halfway, "GET /livez HTTP/1.1\r\n");
    expect_answer(f, "/livez", 200, "ok\n");
    fixture_free(f);
    expect_closed(idle);
    expect_closed(halfway);
    close(idle);
    close(halfway);
    admin_stop(NULL);
}
