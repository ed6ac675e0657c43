/* listener: parse the address, bind, accept in batches on worker 0. */
#include "net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/worker_int.h"

enum {
    LISTENER_ACCEPTS_PER_TURN = 256,
    LISTENER_ADDRESS_BYTES = 160,
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
    char address[LISTENER_ADDRESS_BYTES];
};

static enum err bind_to(struct listener *listener, const struct sockaddr *addr, socklen_t len,
                        const char **why)
{
    listener->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0) {
        *why = strerror(errno);
        return ERR_SYSTEM;
    }
    const int on = 1;
    if (addr->sa_family != AF_UNIX) {
        CHECK(setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    }
    if (addr->sa_family == AF_INET6) {
        CHECK(setsockopt(listener->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
    }
    if (bind(listener->fd, addr, len) != 0) {
        *why = strerror(errno);
        return ERR_SYSTEM;
    }
    return ERR_OK;
}

static enum err begin_listening(struct listener *listener, const char **why)
{
    if (listen(listener->fd, listener->opts.backlog) == 0) { return ERR_OK; }
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
    enum err err = bind_to(listener, (const struct sockaddr *)&addr, sizeof addr, why);
    if (err != ERR_OK) { return err; }
    strcpy(listener->unix_path, path);
    if (chmod(path, listener->opts.unix_mode) != 0) {
        *why = strerror(errno);
        return ERR_SYSTEM;
    }
    snprintf(listener->address, sizeof listener->address, "unix:%s", path);
    return begin_listening(listener, why);
}

/* The bound address as text, with the port that the kernel chose. */
static void describe(struct listener *listener)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[64];
    CHECK(getsockname(listener->fd, (struct sockaddr *)&addr, &len) == 0);
    CHECK(getnameinfo((const struct sockaddr *)&addr, len, host, sizeof host, NULL, 0,
                      NI_NUMERICHOST) == 0);
    bool v6 = addr.ss_family == AF_INET6;
    listener->port = ntohs(v6 ? ((const struct sockaddr_in6 *)&addr)->sin6_port
                              : ((const struct sockaddr_in *)&addr)->sin_port);
    snprintf(listener->address, sizeof listener->address, v6 ? "[%s]:%u" : "%s:%u", host,
             listener->port);
}

static enum err open_tcp(struct listener *listener, const char *address, const char **why)
{
    char host_text[LISTENER_ADDRESS_BYTES];
    char port_text[8];
    struct slice host;
    uint16_t port;
    if (!address_split(slice_of_str(address), &host, &port) || host.len >= sizeof host_text) {
        *why = "an address is HOST:PORT, [IPV6]:PORT, *:PORT or unix:PATH";
        return ERR_INVALID;
    }
    snprintf(host_text, sizeof host_text, "%.*s", SLICE_ARG(host));
    snprintf(port_text, sizeof port_text, "%u", port);
    bool is_any = slice_equal(host, SLICE("*"));
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        .ai_family = is_any ? AF_INET : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(is_any ? NULL : host_text, port_text, &hints, &found);
    if (failed != 0) {
        *why = gai_strerror(failed);
        return ERR_INVALID;
    }
    enum err err = bind_to(listener, found->ai_addr, found->ai_addrlen, why);
    if (err == ERR_OK) { err = begin_listening(listener, why); }
    freeaddrinfo(found);
    if (err == ERR_OK) { describe(listener); }
    return err;
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
