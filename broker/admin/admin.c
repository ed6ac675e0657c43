/* admin: the thread, its HTTP server, and the table of what it serves. */
#include "admin/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "admin/admin_int.h"
#include "admin/admin_viewers_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tcp_listen.h"
#include "base/thread.h"

enum {
    HEADER_BYTES_MAX = 8 * 1024, /* request line and headers, each */
    BODY_BYTES_MAX = 1024,       /* nothing here reads a body */
    CONNECTIONS_MAX = 64,
    LISTEN_BACKLOG = 64,
    REQUEST_MS_MAX = 30 * 1000,
    TICK_S = 1,
    ACCEPTS_PER_TURN =
        32, /* then what they have sent is read: a flood pushes nobody out before he was heard */
};
enum {
    HTTP_UNAUTHORIZED = 401,
    HTTP_FORBIDDEN = 403,
    HTTP_TOO_MANY = 429
}; /* libevent names few */

struct door {
    struct evconnlistener *listener;
    char address[TCP_LISTEN_ADDRESS_BYTES];
};

struct admin {
    struct admin_opts opts;
    struct thread thread;
    struct event_base *base;
    struct evhttp *http;
    struct event *stop; /* on stop_fd, which admin_stop writes */
    struct event *tick;
    struct event *next_turn; /* due at once: accept again */
    unsigned accepts;        /* of this turn */
    int stop_fd;
    unsigned door_count;
    struct door *doors;
    struct viewers viewers;
    struct metrics_page page;
    uint64_t request_count;
};

/* ---- what is served ---- */

static void serve_metrics(struct admin *admin, struct answer *answer)
{
    const struct http_counts counts = {
        .requests_total = admin->request_count,
        .shed_total = admin->viewers.shed_count,
        .connections = admin->viewers.count,
    };
    metrics_page_refresh(&admin->page, &admin->opts, &counts);
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    buf_append(&answer->text, buf_slice(&admin->page.text));
}

static void serve_index(struct admin *admin, struct answer *answer);

static const struct route {
    const char *path;
    const char *help;
    /* One of them. */
    void (*health)(const struct admin_opts *opts, struct answer *answer);
    void (*serve)(struct admin *admin, struct answer *answer);
} routes[] = {
    {"/", "this list", .serve = serve_index},
    {"/livez", "200 while every worker's loop turns: restart the process if not",
     .health = health_live},
    {"/readyz", "200 while clients should be sent here, else 503 and why not",
     .health = health_ready},
    {"/startupz", "200 once the start is over", .health = health_started},
    {"/metrics", "counters and gauges in the Prometheus text format", .serve = serve_metrics},
};

static void serve_index(struct admin *admin, struct answer *answer)
{
    (void)admin;
    buf_append_str(&answer->text, "fanfare " FANFARE_VERSION "\n\n");
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        buf_appendf(&answer->text, "%-10s %s\n", routes[i].path, routes[i].help);
    }
}

static const struct route *find_route(const struct evhttp_request *req)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    for (size_t i = 0; path != NULL && i < COUNT_OF(routes); i++) {
        if (strcmp(path, routes[i].path) == 0) { return &routes[i]; }
    }
    return NULL;
}

/* ---- requests ---- */

static void add_header(struct evhttp_request *req, const char *name, const char *value)
{
    CHECK(evhttp_add_header(evhttp_request_get_output_headers(req), name, value) == 0);
}

static void send_answer(struct evhttp_request *req, const struct answer *answer)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", answer->text.len);
    add_header(req, "Content-Type", answer->type);
    add_header(req, "Content-Length", length);
    add_header(req, "Cache-Control", "no-store");
    struct evbuffer *body = evbuffer_new();
    CHECK(body != NULL);
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD) {
        CHECK(evbuffer_add(body, answer->text.data, answer->text.len) == 0);
    }
    evhttp_send_reply(req, answer->code, NULL, body);
    evbuffer_free(body);
}

static void on_answered(struct evhttp_request *req, void *arg)
{
    struct admin *admin = arg;
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    viewers_answered(&admin->viewers, evhttp_connection_get_bufferevent(conn));
}

/* True: the visitor is refused. */
static bool is_refused(struct admin *admin, struct evhttp_request *req, struct answer *answer)
{
    static const struct {
        int code;
        const char *text;
    } refusal[ADMIN_VERDICTS] = {
        [ADMIN_UNKNOWN] = {HTTP_UNAUTHORIZED, "a user and a password are needed (http-auth)\n"},
        [ADMIN_FORBIDDEN] = {HTTP_FORBIDDEN, "this user may not run INFO\n"},
        [ADMIN_PROTECTED] = {HTTP_FORBIDDEN,
                             "protected mode: no password is set, so this is for the broker's own "
                             "machine only; set requirepass, http-auth yes or protected-mode no\n"},
        [ADMIN_TOO_OFTEN] = {HTTP_TOO_MANY, "wrong passwords came from here; try again later\n"},
    };
    if (admin->opts.judge == NULL) { return false; }
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    const struct admin_visitor visitor = {
        .fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn)),
        .authorization = evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization"),
    };
    enum admin_verdict verdict = admin->opts.judge(admin->opts.arg, &visitor);
    if (verdict == ADMIN_SERVED) { return false; }
    answer->code = refusal[verdict].code;
    buf_append_str(&answer->text, refusal[verdict].text);
    if (verdict == ADMIN_UNKNOWN) {
        add_header(req, "WWW-Authenticate", "Basic realm=\"fanfare\", charset=\"UTF-8\"");
    }
    if (verdict == ADMIN_TOO_OFTEN) { add_header(req, "Retry-After", "1"); }
    return true;
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct admin *admin = arg;
    enum evhttp_cmd_type method = evhttp_request_get_command(req);
    const struct route *route = find_route(req);
    struct answer answer = {.code = HTTP_OK, .type = "text/plain; charset=utf-8"};
    admin->request_count++;
    if (route == NULL) {
        answer.code = HTTP_NOTFOUND;
        buf_append_str(&answer.text, "not found; / lists what is here\n");
    } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        answer.code = HTTP_BADMETHOD;
        add_header(req, "Allow", "GET, HEAD");
        buf_append_str(&answer.text, "only GET and HEAD\n");
    } else if (route->health != NULL) {
        route->health(&admin->opts, &answer);
    } else if (!is_refused(admin, req, &answer)) {
        route->serve(admin, &answer);
    }
    evhttp_request_set_on_complete_cb(req, on_answered, admin);
    send_answer(req, &answer);
    buf_fini(&answer.text);
}

/* ---- connections ---- */

/* Accept no more until what has come is read. */
static void rest(struct admin *admin)
{
    static const struct timeval at_once = {0};
    for (unsigned i = 0; i < admin->door_count; i++) {
        evconnlistener_disable(admin->doors[i].listener);
    }
    CHECK(event_add(admin->next_turn, &at_once) == 0);
}

static void accept_again(struct admin *admin)
{
    admin->accepts = 0;
    for (unsigned i = 0; i < admin->door_count; i++) {
        evconnlistener_enable(admin->doors[i].listener);
    }
}

static void on_next_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    accept_again(arg);
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct admin *admin = arg;
    struct bufferevent *bev = admin->opts.connection_new != NULL
                                  ? admin->opts.connection_new(admin->opts.arg, base)
                                  : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev != NULL);
    viewers_add(&admin->viewers, bev);
    if (++admin->accepts == ACCEPTS_PER_TURN) { rest(admin); }
    return bev;
}

/* Out of descriptors, most likely: the socket would stay readable and the loop spin. The tick tries
 * again. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    LOG_LIMITED(LOG_LEVEL_ERROR, "http accept failed", LOG_STR("why", strerror(errno)));
    evconnlistener_disable(listener);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct admin *admin = arg;
    viewers_tick(&admin->viewers);
    accept_again(admin);
}

/* ---- start and stop ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct admin *admin = arg;
    event_base_loopbreak(admin->base);
}

static void run(void *arg)
{
    struct admin *admin = arg;
    CHECK(event_base_loop(admin->base, 0) >= 0);
}

static void make_server(struct admin *admin)
{
    admin->base = event_base_new();
    CHECK(admin->base != NULL);
    admin->http = evhttp_new(admin->base);
    CHECK(admin->http != NULL);
    evhttp_set_max_headers_size(admin->http, HEADER_BYTES_MAX);
    evhttp_set_max_body_size(admin->http, BODY_BYTES_MAX);
    evhttp_set_allowed_methods(admin->http, UINT16_MAX); /* on_request refuses, with 405 */
    evhttp_set_bevcb(admin->http, on_connection, admin);
    evhttp_set_gencb(admin->http, on_request, admin);

    const struct timeval tick_every = {.tv_sec = TICK_S};
    admin->tick = event_new(admin->base, -1, EV_PERSIST, on_tick, admin);
    CHECK(admin->tick != NULL && event_add(admin->tick, &tick_every) == 0);
    admin->next_turn = event_new(admin->base, -1, 0, on_next_turn, admin);
    CHECK(admin->next_turn != NULL);
    admin->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(admin->stop_fd >= 0);
    admin->stop = event_new(admin->base, admin->stop_fd, EV_READ, on_stop, admin);
    CHECK(admin->stop != NULL && event_add(admin->stop, NULL) == 0);
}

static enum err open_door(struct admin *admin, const char *address, const char **why)
{
    struct door *door = &admin->doors[admin->door_count];
    struct tcp_listen listening;
    enum err err = tcp_listen(address, LISTEN_BACKLOG, &listening, why);
    if (err != ERR_OK) { return err; }
    memcpy(door->address, listening.address, sizeof door->address);
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(admin->http, listening.fd);
    CHECK(bound != NULL);
    door->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(door->listener, on_accept_error);
    admin->door_count++;
    return ERR_OK;
}

static void free_admin(struct admin *admin)
{
    evhttp_free(admin->http); /* closes the doors and the connections */
    viewers_fini(&admin->viewers);
    event_free(admin->tick);
    event_free(admin->next_turn);
    event_free(admin->stop);
    close(admin->stop_fd);
    event_base_free(admin->base);
    metrics_page_fini(&admin->page);
    mem_free(admin->doors);
    mem_free(admin);
}

enum err admin_start(struct admin **out, const struct admin_opts *opts, const char **why)
{
    CHECK(opts->listen_count > 0);
    CHECK(opts->worker_count == 0 || opts->heartbeat_ns != NULL);
    struct admin *admin = mem_new0(sizeof *admin);
    admin->opts = *opts;
    admin->opts.listen = NULL; /* borrowed for this call only */
    admin->doors = mem_new0(opts->listen_count * sizeof *admin->doors);
    uint64_t request_ms_max = opts->request_ms_max > 0 ? opts->request_ms_max : REQUEST_MS_MAX;
    viewers_init(&admin->viewers,
                 opts->connections_max > 0 ? opts->connections_max : CONNECTIONS_MAX,
                 request_ms_max * NS_PER_MS);
    make_server(admin);
    for (unsigned i = 0; i < opts->listen_count; i++) {
        enum err err = open_door(admin, opts->listen[i], why);
        if (err != ERR_OK) {
            free_admin(admin);
            return err;
        }
    }
    thread_start(&admin->thread, "admin", run, admin);
    *out = admin;
    return ERR_OK;
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL) { return; }
    const uint64_t one = 1;
    CHECK(write(admin->stop_fd, &one, sizeof one) == sizeof one);
    thread_join(&admin->thread);
    free_admin(admin);
}

const char *admin_address(const struct admin *admin, unsigned index)
{
    CHECK(index < admin->door_count);
    return admin->doors[index].address;
}
