/* address: split. */
#include "base/address.h"

#include <string.h>

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
