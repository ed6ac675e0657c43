/* idle: memory per subscriber that only waits. Servers give memory back for some seconds after their
 * last work, so the figure is taken when it has stood still for a while. */
#include "run.h"

#include <time.h>

#include "fleet.h"

#define STEP_MS 200U
#define STILL_MS 4000U

static void wait_step(void)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    nanosleep(&step, NULL);
}

/* Wait until RSS is the same for STILL_MS; settle_ms at most. Returns when it began to stand still. */
static uint32_t wait_settled(const struct opts *opts, struct probe_memory *memory)
{
    uint32_t still_since_ms = 0;
    uint64_t rss_kib = 0;
    for (uint32_t at_ms = 0; at_ms < opts->settle_ms; at_ms += STEP_MS) {
        probe_memory(&opts->pids, memory);
        if (memory->rss_kib != rss_kib) {
            rss_kib = memory->rss_kib;
            still_since_ms = at_ms;
        }
        if (at_ms - still_since_ms >= STILL_MS) { return still_since_ms; }
        wait_step();
    }
    return opts->settle_ms;
}

void run_idle(const struct opts *opts, struct tally *tally, struct report *report)
{
    struct fleet fleet;
    uint64_t begin_ns = probe_now_ns();
    probe_memory(&opts->pids, &report->before);
    fleet_open(&fleet, opts, tally);
    report->settled_ms = wait_settled(opts, &report->after);
    report->conn_count = fleet.subscriber_count;
    report->is_sustained = true;
    report->seconds = (double)(probe_now_ns() - begin_ns) / 1e9;
    fleet_close(&fleet);
}
