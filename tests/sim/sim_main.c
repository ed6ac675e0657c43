/* sim_main: runs seeds until one fails or the time is up.
 * usage: sim [-s FIRST] [-n SEEDS] [-t SECONDS] [-e EVENTS] [-g GUARD_OFF]... [-x] [-v]
 *   -x: expect a failure (a guard is off): end well at the first one.
 * A failure prints its seed; -s SEED -n 1 repeats it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/sim.h"

struct options {
    uint64_t first;
    uint64_t seeds;
    uint64_t seconds;
    uint64_t events;
    uint32_t guards_off;
    bool expect_failure;
    bool is_verbose;
};

static uint64_t seed_running;
static bool expects_abort;

static void on_abort(int signal_number)
{
    char text[64];
    int n = snprintf(text, sizeof text, "aborted in seed %lu (signal %d)\n",
                     (unsigned long)seed_running, signal_number);
    ssize_t ignored = write(2, text, (size_t)n);
    (void)ignored;
    _exit(expects_abort ? 0 : 3);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.first = 1, .seeds = UINT64_MAX, .seconds = 60, .events = 4000};
    int option;
    while ((option = getopt(argc, argv, "s:n:t:e:g:xv")) != -1) {
        switch (option) {
        case 's': o->first = strtoull(optarg, NULL, 10); break;
        case 'n': o->seeds = strtoull(optarg, NULL, 10); break;
        case 't': o->seconds = strtoull(optarg, NULL, 10); break;
        case 'e': o->events = strtoull(optarg, NULL, 10); break;
        case 'g': o->guards_off |= 1U << atoi(optarg); break;
        case 'x': o->expect_failure = true; break;
        case 'v': o->is_verbose = true; break;
        default: exit(2);
        }
    }
}

static void add_stats(struct sim_stats *sum, const struct sim_stats *one)
{
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}

static void report(const struct options *o, uint64_t seeds, const struct sim_stats *s)
{
    printf("seeds %lu from %lu, events %lu, applied %lu, acked %lu, reads %lu (%lu by lease), "
           "elections %lu, power cuts %lu, "
           "kills %lu, disks lost %lu (%lu by flipped bits), snapshots %lu, installed %lu, changes "
           "%lu, transfers %lu, looks %lu\n",
           (unsigned long)seeds, (unsigned long)o->first, (unsigned long)s->events,
           (unsigned long)s->applied, (unsigned long)s->acked, (unsigned long)s->reads,
           (unsigned long)s->lease_reads, (unsigned long)s->elections, (unsigned long)s->crashes,
           (unsigned long)s->kills, (unsigned long)s->wipes, (unsigned long)s->corrupt,
           (unsigned long)s->snapshots, (unsigned long)s->installs, (unsigned long)s->changes,
           (unsigned long)s->transfers, (unsigned long)s->views);
}

int main(int argc, char **argv)
{
    struct options o;
    parse(argc, argv, &o);
    expects_abort = o.expect_failure; /* an assertion of the library is a failure, too */
    signal(SIGABRT, on_abort);
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    struct sim *sim = mem_new(sizeof *sim);
    struct sim_stats sum = {0};
    time_t end = time(NULL) + (time_t)o.seconds;
    uint64_t done = 0;
    bool failed = false;
    for (; done < o.seeds && time(NULL) < end && !failed; done++) {
        seed_running = o.first + done;
        failed = !sim_run(sim, seed_running, o.events, o.guards_off, o.is_verbose);
        add_stats(&sum, &sim->stats);
    }
    if (failed) { printf("FAILED %s\n", sim->failure); }
    report(&o, done, &sum);
    mem_free(sim);
    return failed == o.expect_failure ? 0 : 1;
}
