/* admin_listen: an address as people write it to a listening socket. */
#include "admin/admin_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 64 };

/* Cut "host:port", "[v6]:port" or "*:port" in two; the host is NULL for "*". */
static bool cut_address(char *text, const char **host, const char **port)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') { return false; }
    *colon = '\0';
    *port = colon + 1;
    *host = strcmp(text, "*") == 0 ? NULL : text;
    if (text[0] == '[') {
        if (colon[-1] != ']') { return false; }
        colon[-1] = '\0';
        *host = text + 1;
        return true;
    }
    return strchr(text, ':') == NULL; /* an IPv6 address needs its brackets */
}

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
    const char *host, *port;
    bool fits = snprintf(text, ADMIN_ADDRESS_BYTES, "%s", address) < ADMIN_ADDRESS_BYTES;
    if (!fits || !cut_address(text, &host, &port)) {
        *why = "an HTTP address is HOST:PORT, [IPV6]:PORT or *:PORT";
        return ERR_INVALID;
    }
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
        .ai_family = host == NULL ? AF_INET : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed != 0) {
        *why = gai_strerror(failed);
        return ERR_INVALID;
    }
    enum err err = bind_first(found, fd, why);
    freeaddrinfo(found);
    if (err == ERR_OK) { describe(*fd, text); }
    return err;
}
