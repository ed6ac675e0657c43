/* Addresses as people write them. */
#include <criterion/criterion.h>

#include "base/address.h"

Test(address, is_split_into_host_and_port)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: it is no address */
        uint16_t port;
    } rows[] = {
        {"localhost:6379", "localhost", 6379},
        {"127.0.0.1:0", "127.0.0.1", 0},
        {"*:65535", "*", 65535},
        {"[::1]:1", "::1", 1},
        {"", NULL, 0},
        {"localhost", NULL, 0},
        {":1", NULL, 0},
        {"a:", NULL, 0},
        {"a:65536", NULL, 0},
        {"a:-1", NULL, 0},
        {"a:01", NULL, 0},
        {"a: 1", NULL, 0},
        {"::1:1", NULL, 0},
        {"[]:1", NULL, 0},
        {"[::1:1", NULL, 0},
        {"[::1]1", NULL, 0},
        {"unix:/tmp/x", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice host;
        uint16_t port;
        bool is_good = address_split(slice_of_str(rows[i].text), &host, &port);
        cr_assert_eq(is_good, rows[i].host != NULL, "'%s'", rows[i].text);
        if (is_good) {
            cr_assert(slice_equal(host, slice_of_str(rows[i].host)), "'%s'", rows[i].text);
            cr_assert_eq(port, rows[i].port, "'%s'", rows[i].text);
        }
    }
}
