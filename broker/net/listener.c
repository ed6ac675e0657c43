/* listener: bind, accept in batches on worker 0. */
#include "net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/tcp_listen.h"
#include "net/worker_int.h"

enum {
    LISTENER_ACCEPTS_PER_TURN = 256,
    LISTENER_REST_MS = 100, /* after a failed accept */
};

struct listener {
    struct listener_opts opts;
    struct worker *worker;
    struct event *event;
    struct worker_timer rest_timer;
    int fd;
    uint16_t port;
    char unix_path[sizeof((struct sockaddr_un){0}.sun_path)]; /* "" for TCP */
    char address[TCP_LISTEN_ADDRESS_BYTES];
};

static enum err bind_unix(struct listener *listener, const struct sockaddr_un *addr,
                          const char **why)
{
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd >= 0 && bind(listener->fd, (const struct sockaddr *)addr, sizeof *addr) == 0) {
        return ERR_OK;
    }
    *why = strerror(errno);
    return ERR_SYSTEM;
}

/* Nobody can connect before it listens, and by then its mode is the one asked for. */
static enum err open_unix(struct listener *listener, const char *path, const char **why)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof addr.sun_path) {
        *why = "the path of a unix socket has 1 to 107 bytes";
        return ERR_INVALID;
    }
    strcpy(addr.sun_path, path);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        (void)unlink(path); /* left by a process that was killed; if it cannot go, bind says so */
    }
    enum err err = bind_unix(listener, &addr, why);
    if (err != ERR_OK) { return err; }
    strcpy(listener->unix_path, path);
    if (chmod(path, listener->opts.unix_mode) != 0 ||
        listen(listener->fd, listener->opts.backlog) != 0) {
        *why = strerror(errno);
        return ERR_SYSTEM;
    }
    snprintf(listener->address, sizeof listener->address, "unix:%s", path);
    return ERR_OK;
}

static enum err open_tcp(struct listener *listener, const char *address, const char **why)
{
    struct tcp_listen listening;
    enum err err = tcp_listen(address, listener->opts.backlog, &listening, why);
    if (err != ERR_OK) { return err; }
    listener->fd = listening.fd;
    listener->port = listening.port;
    memcpy(listener->address, listening.address, sizeof listener->address);
    return ERR_OK;
}

enum err listener_open(struct listener **out, const struct listener_opts *opts, const char **why)
{
    struct listener *listener = mem_new0(sizeof *listener);
    listener->opts = *opts;
    listener->fd = -1;
    bool is_unix = strncmp(opts->address, "unix:", 5) == 0;
    enum err err = is_unix ? open_unix(listener, opts->address + 5, why)
                           : open_tcp(listener, opts->address, why);
    if (err != ERR_OK) {
        listener_free(listener);
        return err;
    }
    *out = listener;
    return ERR_OK;
}

static void on_rested(struct worker_timer *timer)
{
    struct listener *listener = CONTAINER_OF(timer, struct listener, rest_timer);
    CHECK(event_add(listener->event, NULL) == 0);
}

/* The client that could not be accepted still waits: look again later, not in every loop turn. */
static void rest(struct listener *listener)
{
    CHECK(event_del(listener->event) == 0);
    worker_timer_start(listener->worker, &listener->rest_timer, LISTENER_REST_MS, on_rested);
}

/* Each fails on a peer that is gone already. */
static void set_options(int fd, int unsent_bytes_max)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (unsent_bytes_max > 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes_max,
                         sizeof unsent_bytes_max);
    }
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct listener *listener = arg;
    for (int i = 0; i < LISTENER_ACCEPTS_PER_TURN; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                LOG_LIMITED(LOG_LEVEL_ERROR, "accept failed", LOG_STR("why", strerror(errno)),
                            LOG_STR("listen", listener->address));
                rest(listener);
            }
            return;
        }
        if (listener->unix_path[0] == '\0') {
            set_options(client, listener->opts.unsent_bytes_max);
        }
        listener->opts.on_accept(listener->opts.arg, client);
    }
}

void listener_start(struct listener *listener, struct worker *worker)
{
    CHECK(listener->event == NULL);
    listener->worker = worker;
    listener->event =
        event_new(worker->base, listener->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    CHECK(listener->event != NULL);
    CHECK(event_add(listener->event, NULL) == 0);
}

void listener_stop(struct listener *listener)
{
    worker_timer_cancel(&listener->rest_timer);
    if (listener->event != NULL) {
        event_free(listener->event);
        listener->event = NULL;
    }
    if (listener->fd >= 0) {
        CHECK(close(listener->fd) == 0);
        listener->fd = -1;
    }
    if (listener->unix_path[0] != '\0') {
        (void)unlink(listener->unix_path); /* it may be gone already */
        listener->unix_path[0] = '\0';
    }
}

void listener_free(struct listener *listener)
{
    if (listener != NULL) {
        listener_stop(listener);
        mem_free(listener);
    }
}

const char *listener_address(const struct listener *listener)
{
    return listener->address;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}
