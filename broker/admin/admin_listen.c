/* admin_listen: an address as people write it to a listening socket. */
#include "admin/admin_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"

enum { LISTEN_BACKLOG = 64 };

static enum err bind_first(const struct addrinfo *found, int *out, const char **why)
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
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        *why = strerror(errno);
        close(fd);
        return ERR_SYSTEM;
    }
    *out = fd;
    return ERR_OK;
}

static void describe(int fd, char text[ADMIN_ADDRESS_BYTES])
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[64], port[8];
    CHECK(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
    CHECK(getnameinfo((const struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    bool v6 = addr.ss_family == AF_INET6;
    snprintf(text, ADMIN_ADDRESS_BYTES, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

enum err admin_listen(const char *address, int *fd, char text[ADMIN_ADDRESS_BYTES],
                      const char **why)
{
    char host_text[ADMIN_ADDRESS_BYTES], port_text[8];
    struct slice host;
    uint16_t port;
    if (!address_split(slice_of_str(address), &host, &port) || host.len >= sizeof host_text) {
        *why = "an HTTP address is HOST:PORT, [IPV6]:PORT or *:PORT";
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
    enum err err = bind_first(found, fd, why);
    freeaddrinfo(found);
    if (err == ERR_OK) { describe(*fd, text); }
    return err;
}
