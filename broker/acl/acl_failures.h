/* acl_failures: addresses from which logins have failed lately, and how long the answer to the next failure is to wait: the first
 * ACL_FAILURES_FREE nothing, then twice as long each time.
 * Owns: the table. Bound: ACL_FAILURES_ADDRESSES; of those that share a place the one that has been quiet the longest goes. An
 * address that is quiet for ACL_FAILURES_FORGET_S begins anew. Thread: any; it has a lock of its own, taken by failures only. */
#ifndef FANFARE_ACL_ACL_FAILURES_H
#define FANFARE_ACL_ACL_FAILURES_H

#include <stdint.h>

#include "base/address.h"
#include "base/check.h"

enum {
    ACL_FAILURES_FREE = 10,
    ACL_FAILURES_DELAY_MS = 10, /* of the first that waits */
    ACL_FAILURES_ADDRESSES = 1024,
    ACL_FAILURES_FORGET_S = 60,
};

struct acl_failures;

struct acl_failure {
    uint32_t count;    /* from this address, with this one */
    uint32_t delay_ms; /* until it is answered */
};

MUST_USE struct acl_failures *acl_failures_new(void);
void acl_failures_free(struct acl_failures *failures); /* NULL is allowed */

/* A login from `key` (address_key) has failed. */
MUST_USE struct acl_failure acl_failures_add(struct acl_failures *failures,
                                             const unsigned char key[ADDRESS_KEY_BYTES],
                                             uint64_t now_ns, uint32_t delay_ms_max);

/* So many milliseconds are left until the last failure of this address is answered; 0: none. */
MUST_USE uint32_t acl_failures_left_ms(struct acl_failures *failures,
                                       const unsigned char key[ADDRESS_KEY_BYTES], uint64_t now_ns,
                                       uint32_t delay_ms_max);

#endif
