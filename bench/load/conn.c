/* conn: plain blocking sockets until the load begins. Connections are reset at the end rather than
 * closed in order, so that thousands of them leave no TIME_WAIT behind for the next run. */
#include "conn.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fatal.h"
#include "link.h"
#include "wire.h"

#define ANSWER_MAX_S 60
#define CHUNK 256U /* subscriptions sent before their confirmations are read */

void conn_limit_raise(uint32_t conn_count)
{
    rlim_t wanted = (rlim_t)conn_count + 64;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) { fatal("getrlimit: %s", strerror(errno)); }
    if (limit.rlim_cur >= wanted) { return; }
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted) { limit.rlim_max = wanted; }
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        fatal("%llu open files needed: %s", (unsigned long long)wanted, strerror(errno));
    }
}

static void set_option(int fd, int level, int name, const void *value, socklen_t size)
{
    if (setsockopt(fd, level, name, value, size) != 0) { fatal("setsockopt: %s", strerror(errno)); }
}

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = link_send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) { continue; }
        if (sent < 0) { fatal("send: %s", strerror(errno)); }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static size_t receive_some(int fd, char *bytes, size_t size)
{
    for (;;) {
        ssize_t received = link_recv(fd, bytes, size, 0);
        if (received > 0) { return (size_t)received; }
        if (received == 0) { fatal("the server closed a connection during setup"); }
        if (errno != EINTR) { fatal("no answer during setup: %s", strerror(errno)); }
    }
}

/* Read until what has come ends with `ending`; the rest is greeting and of no interest. */
static void receive_until(int fd, const char *ending)
{
    char bytes[8192];
    size_t length = 0;
    size_t ending_size = strlen(ending);
    while (length < ending_size || memcmp(bytes + length - ending_size, ending, ending_size) != 0) {
        if (length == sizeof bytes) {
            memmove(bytes, bytes + length - 64, 64);
            length = 64;
        }
        length += receive_some(fd, bytes + length, sizeof bytes - length);
        if (bytes[0] == '-') { fatal("the server refuses: %.*s", (int)length, bytes); }
    }
}

static void receive_exactly(int fd, const char *wanted, size_t size)
{
    char bytes[CHUNK * WIRE_REQUEST_MAX];
    size_t length = 0;
    while (length < size) {
        length += receive_some(fd, bytes + length, size - length);
    }
    if (memcmp(bytes, wanted, size) != 0) {
        fatal("wrong confirmation of a subscription: %.*s", (int)(size < 200 ? size : 200), bytes);
    }
}

int conn_open(const struct opts *opts, uint32_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, opts->host, &address.sin_addr) != 1) {
        fatal("%s is no IPv4 address", opts->host);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) { fatal("socket: %s", strerror(errno)); }
    const int one = 1;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    const struct timeval answer_max = {.tv_sec = ANSWER_MAX_S};
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    set_option(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    set_option(fd, SOL_SOCKET, SO_RCVTIMEO, &answer_max, sizeof answer_max);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fatal("connect to %s:%u: %s", opts->host, port, strerror(errno));
    }
    if (opts->tls) { link_secure(fd); }
    const char *greeting = wire_greeting(opts->proto);
    send_all(fd, greeting, strlen(greeting));
    receive_until(fd, wire_greeting_answer(opts->proto));
    return fd;
}

void conn_subscribe(int fd, const struct opts *opts, const struct holding *held)
{
    char request[CHUNK * WIRE_REQUEST_MAX + 8];
    char confirmation[CHUNK * WIRE_REQUEST_MAX];
    for (uint32_t place = 0; place < held->count;) {
        size_t request_size = 0;
        size_t confirmation_size = 0;
        uint32_t end = held->count - place < CHUNK ? held->count : place + CHUNK;
        for (; place < end; place++) {
            uint32_t number = held->first + place * held->step;
            bool is_channel = held->kind == SUB_CHANNEL || held->kind == SUB_SHARD;
            if (is_channel) { number = names_number(opts->names, number); }
            request_size += wire_subscribe(request + request_size, opts->proto, held->kind, number);
            confirmation_size += wire_confirmation(confirmation + confirmation_size, opts->proto,
                                                   held->kind, number, place + 1);
        }
        if (opts->proto == PROTO_NATS) {
            memcpy(request + request_size, "PING\r\n", 6);
            request_size += 6;
        }
        send_all(fd, request, request_size);
        if (opts->proto == PROTO_NATS) {
            receive_until(fd, "PONG\r\n");
        } else {
            receive_exactly(fd, confirmation, confirmation_size);
        }
    }
}

void conn_unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        fatal("fcntl: %s", strerror(errno));
    }
}

bool conn_is_closed(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) { return true; }
    return info.tcpi_state != TCP_ESTABLISHED;
}
