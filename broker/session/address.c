/* address: of sockets to text. */
#include "session/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct slice address_text(const struct sockaddr_storage *address, char *out)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    int len;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        len = snprintf(out, SESSION_ADDRESS_BYTES, "%s:%u", ip, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        len = snprintf(out, SESSION_ADDRESS_BYTES, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        len = snprintf(out, SESSION_ADDRESS_BYTES, "?:0");
    }
    return slice_of(out, (size_t)len);
}

/* Both ends of a unix socket are shown as its path. */
static struct slice unix_text(const struct session *session, char *out)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    if (getsockname(session->conn.fd, (struct sockaddr *)&address, &size) != 0) {
        address.sun_path[0] = '\0';
    }
    int len = snprintf(out, SESSION_ADDRESS_BYTES, "%.108s:0", address.sun_path);
    return slice_of(out, (size_t)len);
}

struct slice session_address(const struct session *session, char *out)
{
    if (session->flags & SESSION_UNIX) { return unix_text(session, out); }
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    bool is_known = getpeername(session->conn.fd, (struct sockaddr *)&address, &size) == 0;
    if (!is_known) { address.ss_family = AF_UNSPEC; }
    return address_text(&address, out);
}

struct slice session_local_address(const struct session *session, char *out)
{
    if (session->flags & SESSION_UNIX) { return unix_text(session, out); }
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    bool is_known = getsockname(session->conn.fd, (struct sockaddr *)&address, &size) == 0;
    if (!is_known) { address.ss_family = AF_UNSPEC; }
    return address_text(&address, out);
}
