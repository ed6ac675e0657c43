/* tcp_listen: resolve, bind, listen, and name what was bound. */
#include "base/tcp_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"

static enum err resolve(const char *address, struct addrinfo **found, const char **why)
{
    char host_text[TCP_LISTEN_ADDRESS_BYTES], port_text[8];
    struct slice host;
    uint16_t port;
    if (!address_split(slice_of_str(address), &host, &port) || host.len >= sizeof host_text) {
        *why = "an address is HOST:PORT, [IPV6]:PORT or *:PORT";
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
    int failed = getaddrinfo(is_any ? NULL : host_text, port_text, &hints, found);
    if (failed == 0) { return ERR_OK; }
    *why = gai_strerror(failed);
    return ERR_INVALID;
}

static enum err bind_and_listen(const struct addrinfo *found, int backlog, int *out,
                                const char **why)
{
    const int on = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *why = strerror(errno);
        return ERR_SYSTEM;
    }
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    if (found->ai_family == AF_INET6) {
        CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
    }
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        *why = strerror(errno);
        close(fd);
        return ERR_SYSTEM;
    }
    *out = fd;
    return ERR_OK;
}

static void describe(struct tcp_listen *listening)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[64];
    CHECK(getsockname(listening->fd, (struct sockaddr *)&addr, &len) == 0);
    CHECK(getnameinfo((const struct sockaddr *)&addr, len, host, sizeof host, NULL, 0,
                      NI_NUMERICHOST) == 0);
    bool v6 = addr.ss_family == AF_INET6;
    listening->port = ntohs(v6 ? ((const struct sockaddr_in6 *)&addr)->sin6_port
                               : ((const struct sockaddr_in *)&addr)->sin_port);
    snprintf(listening->address, sizeof listening->address, v6 ? "[%s]:%u" : "%s:%u", host,
             listening->port);
}

enum err tcp_listen(const char *address, int backlog, struct tcp_listen *out, const char **why)
{
    struct addrinfo *found = NULL;
    enum err err = resolve(address, &found, why);
    if (err != ERR_OK) { return err; }
    err = bind_and_listen(found, backlog, &out->fd, why);
    freeaddrinfo(found);
    if (err == ERR_OK) { describe(out); }
    return err;
}
