/* acl_failures: a table of places with a few ways each, by a hash that nobody outside knows. */
#include "acl/acl_failures.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"

enum { WAYS = 8, PLACES = ACL_FAILURES_ADDRESSES / WAYS };

struct row {
    unsigned char key[ADDRESS_KEY_BYTES];
    uint64_t last_ns;
    uint32_t count; /* 0: empty */
};

struct acl_failures {
    struct lock lock;
    uint64_t seed[2];
    struct row row[PLACES][WAYS];
};

struct acl_failures *acl_failures_new(void)
{
    struct acl_failures *failures = mem_new0(sizeof *failures);
    lock_init(&failures->lock);
    CHECK(getrandom(failures->seed, sizeof failures->seed, 0) == sizeof failures->seed);
    return failures;
}

void acl_failures_free(struct acl_failures *failures)
{
    if (failures == NULL) { return; }
    lock_fini(&failures->lock);
    mem_free(failures);
}

static struct row *place_of(struct acl_failures *failures, const unsigned char *key)
{
    uint64_t half[2];
    _Static_assert(sizeof half == ADDRESS_KEY_BYTES, "two halves");
    memcpy(half, key, sizeof half);
    uint64_t hash = (half[0] ^ failures->seed[0]) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 32) ^ half[1] ^ failures->seed[1]) * 0xd6e8feb86659fd93U;
    return failures->row[(hash >> 32) % PLACES];
}

/* The row of the address, or NULL. One that was quiet for long is as an empty one. */
static struct row *find(struct row *place, const unsigned char *key, uint64_t now_ns)
{
    for (unsigned way = 0; way < WAYS; way++) {
        struct row *row = &place[way];
        if (row->count == 0 || memcmp(row->key, key, ADDRESS_KEY_BYTES) != 0) { continue; }
        if (now_ns - row->last_ns > ACL_FAILURES_FORGET_S * NS_PER_S) { row->count = 0; }
        return row;
    }
    return NULL;
}

static struct row *quietest(struct row *place)
{
    struct row *best = &place[0];
    for (unsigned way = 1; way < WAYS && best->count > 0; way++) {
        if (place[way].count == 0 || place[way].last_ns < best->last_ns) { best = &place[way]; }
    }
    return best;
}

static uint32_t delay_of(uint32_t count, uint32_t delay_ms_max)
{
    enum { DOUBLINGS_MAX = 16 };
    if (count <= ACL_FAILURES_FREE) { return 0; }
    uint32_t doublings = count - ACL_FAILURES_FREE - 1;
    if (doublings > DOUBLINGS_MAX) { doublings = DOUBLINGS_MAX; }
    uint32_t delay_ms = (uint32_t)ACL_FAILURES_DELAY_MS << doublings;
    return delay_ms < delay_ms_max ? delay_ms : delay_ms_max;
}

struct acl_failure acl_failures_add(struct acl_failures *failures,
                                    const unsigned char key[ADDRESS_KEY_BYTES], uint64_t now_ns,
                                    uint32_t delay_ms_max)
{
    lock_take(&failures->lock);
    struct row *place = place_of(failures, key);
    struct row *row = find(place, key, now_ns);
    if (row == NULL) {
        row = quietest(place);
        memcpy(row->key, key, ADDRESS_KEY_BYTES);
        row->count = 0;
    }
    row->count += row->count < UINT32_MAX;
    row->last_ns = now_ns;
    const struct acl_failure failure = {row->count, delay_of(row->count, delay_ms_max)};
    lock_release(&failures->lock);
    return failure;
}

uint32_t acl_failures_left_ms(struct acl_failures *failures,
                              const unsigned char key[ADDRESS_KEY_BYTES], uint64_t now_ns,
                              uint32_t delay_ms_max)
{
    lock_take(&failures->lock);
    const struct row *row = find(place_of(failures, key), key, now_ns);
    uint64_t delay_ms = row != NULL ? delay_of(row->count, delay_ms_max) : 0;
    uint64_t passed_ms = row != NULL ? (now_ns - row->last_ns) / NS_PER_MS : 0;
    lock_release(&failures->lock);
    return delay_ms > passed_ms ? (uint32_t)(delay_ms - passed_ms) : 0;
}
