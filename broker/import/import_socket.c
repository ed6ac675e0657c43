/* import_socket: a connection to a server. */
#include "import/import_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

static int connect_to(const struct addrinfo *to)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { return -1; }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    int error = 0;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) { error = errno; }
    if (error == EINPROGRESS) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        socklen_t bytes = sizeof error;
        error = ETIMEDOUT;
        if (poll(&poll_fd, 1, CONNECT_MS) == 1) {
            (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        }
    }
    if (error == 0) { return fd; }
    close(fd);
    errno = error;
    return -1;
}

int import_socket_open(const struct import_server *server, const char **why)
{
    char port[8];
    struct addrinfo *list;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof port, "%u", server->port);
    int error = getaddrinfo(server->host, port, &hints, &list);
    if (error != 0) {
        *why = gai_strerror(error);
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        fd = connect_to(at);
    }
    freeaddrinfo(list);
    if (fd < 0) { *why = strerror(errno); }
    return fd;
}
