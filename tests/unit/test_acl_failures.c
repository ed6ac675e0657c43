/* What acl/acl_failures.h promises: free failures, doubling delays, forgetting, and the bound. */
#include "acl/acl_failures.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"

enum { MAX_MS = 1000 };

static void key_of(uint32_t number, unsigned char key[ADDRESS_KEY_BYTES])
{
    memset(key, 0, ADDRESS_KEY_BYTES);
    memcpy(key, &number, sizeof number);
}

Test(acl_failures, answers_wait_twice_as_long_each_time_once_the_free_ones_are_used)
{
    struct acl_failures *failures = acl_failures_new();
    unsigned char key[ADDRESS_KEY_BYTES];
    unsigned char other[ADDRESS_KEY_BYTES];
    key_of(1, key);
    key_of(2, other);
    uint64_t now_ns = NS_PER_S;
    for (uint32_t i = 1; i <= ACL_FAILURES_FREE; i++) {
        struct acl_failure failure = acl_failures_add(failures, key, now_ns, MAX_MS);
        cr_expect(failure.count == i && failure.delay_ms == 0);
    }
    static const uint32_t delay_ms[] = {10, 20, 40, 80, 160, 320, 640, 1000, 1000};
    for (unsigned i = 0; i < sizeof delay_ms / sizeof *delay_ms; i++) {
        cr_expect_eq(acl_failures_add(failures, key, now_ns, MAX_MS).delay_ms, delay_ms[i]);
    }
    cr_expect_eq(acl_failures_left_ms(failures, key, now_ns, MAX_MS), 1000);
    cr_expect_eq(acl_failures_left_ms(failures, key, now_ns + NS_PER_S / 4, MAX_MS), 750);
    cr_expect_eq(acl_failures_left_ms(failures, key, now_ns + NS_PER_S, MAX_MS), 0);
    cr_expect_eq(acl_failures_left_ms(failures, other, now_ns, MAX_MS), 0);
    cr_expect_eq(acl_failures_add(failures, other, now_ns, MAX_MS).delay_ms, 0);
    cr_expect_eq(acl_failures_add(failures, key, now_ns, 0).delay_ms, 0, "no delay is wanted");
    now_ns += (ACL_FAILURES_FORGET_S + 1) * NS_PER_S;
    cr_expect_eq(acl_failures_add(failures, key, now_ns, MAX_MS).count, 1, "forgotten");
    acl_failures_free(failures);
}

Test(acl_failures, a_flood_of_addresses_takes_no_more_room_and_one_that_goes_on_is_kept)
{
    struct acl_failures *failures = acl_failures_new();
    unsigned char key[ADDRESS_KEY_BYTES];
    unsigned char busy[ADDRESS_KEY_BYTES];
    key_of(0, busy);
    uint32_t count = 0;
    for (uint32_t i = 1; i <= 100 * ACL_FAILURES_ADDRESSES; i++) {
        key_of(i, key);
        (void)!acl_failures_add(failures, key, i, MAX_MS).count;
        if (i % 64 == 0) { count = acl_failures_add(failures, busy, i, MAX_MS).count; }
    }
    cr_expect_gt(count, ACL_FAILURES_FREE);
    acl_failures_free(failures);
}
