/* dial: a connect that the loop waits for. */
#include "net/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/worker_int.h"

enum { KEEPALIVE_IDLE_S = 5, KEEPALIVE_INTERVAL_S = 5, KEEPALIVE_PROBES = 3 };

static void set_option(int fd, int level, int option, int value)
{
    CHECK(setsockopt(fd, level, option, &value, sizeof value) == 0);
}

static void set_options(int fd, uint32_t user_timeout_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms);
}

/* While nobody listens on a port of the range that the kernel gives to clients, a connect to it on this
 * machine may be given that very port, and meet itself. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage here = {0};
    struct sockaddr_storage there = {0};
    socklen_t here_bytes = sizeof here;
    socklen_t there_bytes = sizeof there;
    return getsockname(fd, (struct sockaddr *)&here, &here_bytes) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_bytes) == 0 &&
           here_bytes == there_bytes && memcmp(&here, &there, here_bytes) == 0;
}

static int error_of(int fd)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0);
    return error == 0 && is_connected_to_itself(fd) ? ECONNREFUSED : error;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct dial *dial = arg;
    int error = dial->error;
    if (error == 0) { error = what & EV_TIMEOUT ? ETIMEDOUT : error_of(fd); }
    int connected = -1;
    if (error == 0) {
        connected = dial->fd;
        dial->fd = -1;
    }
    dial_cancel(dial);
    dial->on_done(dial, connected, error);
}

void dial_start(struct dial *dial, struct worker *worker, const struct dial_opts *opts,
                void (*on_done)(struct dial *dial, int fd, int error))
{
    CHECK(dial->event == NULL);
    const struct sockaddr *address = (const struct sockaddr *)&opts->address.storage;
    *dial = (struct dial){.on_done = on_done};
    dial->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0) {
        dial->error = errno;
    } else {
        set_options(dial->fd, opts->user_timeout_ms);
        bool is_begun =
            connect(dial->fd, address, opts->address.bytes) == 0 || errno == EINPROGRESS;
        dial->error = is_begun ? 0 : errno;
    }
    uint32_t wait_ms = dial->error == 0 ? opts->timeout_ms : 0;
    const struct timeval wait = {.tv_sec = wait_ms / 1000,
                                 .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    dial->event = event_new(worker->base, dial->error == 0 ? dial->fd : -1,
                            dial->error == 0 ? EV_WRITE : 0, on_event, dial);
    CHECK(dial->event != NULL);
    CHECK(event_add(dial->event, &wait) == 0);
}

void dial_cancel(struct dial *dial)
{
    if (dial->event == NULL) { return; }
    event_free(dial->event);
    dial->event = NULL;
    if (dial->fd >= 0) {
        CHECK(close(dial->fd) == 0);
        dial->fd = -1;
    }
}
