/* address: split, and the peer's. */
#include "base/address.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

bool address_split(struct slice address, struct slice *host, uint16_t *port)
{
    const char *colon = address.len > 0 ? memrchr(address.data, ':', address.len) : NULL;
    if (colon == NULL) { return false; }
    size_t host_len = (size_t)(colon - address.data);
    struct slice port_text = slice_of(colon + 1, address.len - host_len - 1);
    int64_t number;
    if (!slice_to_int64(port_text, &number) || number < 0 || number > UINT16_MAX) { return false; }
    if (host_len > 2 && address.data[0] == '[' && address.data[host_len - 1] == ']') {
        *host = slice_of(address.data + 1, host_len - 2);
    } else if (host_len > 0 && address.data[0] != '[' &&
               memchr(address.data, ':', host_len) == NULL) {
        *host = slice_of(address.data, host_len);
    } else {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

/* ---- whose a socket is ---- */

bool address_is_local(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) { return false; }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&address;
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (address.ss_family == AF_INET6) {
        const struct in6_addr *ip =
            &((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip) ||
               (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == IN_LOOPBACKNET);
    }
    return address.ss_family == AF_UNIX;
}

void address_key(int fd, unsigned char key[ADDRESS_KEY_BYTES])
{
    enum { NETWORK_BYTES = 8 };
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    memset(key, 0, ADDRESS_KEY_BYTES);
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) { return; }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&address;
        memset(key + 10, 0xff, 2); /* as IPv6 writes it */
        memcpy(key + 12, &in->sin_addr, 4);
    } else if (address.ss_family == AF_INET6) {
        const struct in6_addr *ip =
            &((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr;
        memcpy(key, ip, IN6_IS_ADDR_V4MAPPED(ip) ? ADDRESS_KEY_BYTES : NETWORK_BYTES);
    }
}
