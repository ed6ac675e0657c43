/* look: see the header. */
#include "partition/look.h"

#include "base/clock.h"
#include "base/mem.h"
#include "partition/calls.h"

bool look_point(const struct partition *p, uint64_t *commit)
{
    *commit = atomic_load(&p->view.commit);
    uint64_t lease_until_ms = atomic_load(&p->view.lease_until_ms);
    return lease_until_ms != 0 && clock_boot_ns() / NS_PER_MS < lease_until_ms;
}

enum err look_begin(struct reader_slot *slot, bool by_entry)
{
    uint64_t wall_ms = by_entry ? 0 : clock_wall_us() / 1000;
    slot->random += 0x9e3779b97f4a7c15;
    enum err err = store_reader_begin(slot->reader, wall_ms, slot->random);
    if (err != ERR_OK) { return err; }
    uint64_t clock_ms = store_clock_ms(slot->reader);
    if (clock_ms <= wall_ms) { return ERR_OK; }
    store_reader_set_now(slot->reader, clock_ms);
    return ERR_OK;
}

static void run_calls(const struct call_place *place, struct partition_request *request)
{
    if (request->call_count > 1) {
        request->reply_end = mem_new(request->call_count * sizeof *request->reply_end);
    }
    for (uint32_t i = 0; i < request->call_count; i++) {
        (void)call_run(place, &request->call[i], &request->reply);
        if (request->reply_end != NULL) { request->reply_end[i] = (uint32_t)request->reply.len; }
    }
}

enum look_end look_run(struct partition *p, struct reader_slot *slot,
                       struct partition_request *request)
{
    struct call_tally tally = {0};
    const struct call_place place = {.all = p->all,
                                     .txn = slot->reader,
                                     .resp_version = request->resp_version,
                                     .tally = &tally,
                                     .limits = &p->all->limits};
    if (request->ask == PARTITION_VERSIONS) {
        for (uint32_t i = 0; i < request->check_count; i++) {
            request->check[i].version = call_version(&place, &request->check[i]);
        }
    } else {
        run_calls(&place, request);
    }
    bool has_failed = store_txn_err(slot->reader) != ERR_OK;
    if (!has_failed && !store_reader_hid(slot->reader)) {
        call_count_keys(&tally);
        return LOOK_DONE;
    }
    request->reply.len = 0;
    mem_free(request->reply_end);
    request->reply_end = NULL;
    return has_failed ? LOOK_FAILED : LOOK_HID;
}
