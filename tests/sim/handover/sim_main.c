/* sim_main: runs seeds until one fails or the time is up.
 * usage: sim_handover [-s FIRST] [-n SEEDS] [-t SECONDS] [-g RULE_OFF]... [-c] [-r] [-x] [-k] [-v] [-l]
 *   -x: expect a failure: end well at the first one. -k: go on after a failure. -c: short cuts of two of five alone. -r: broken connections alone. -l: with the brokers' logs.
 * A failure prints its seed; -s SEED -n 1 -v repeats it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster/handover.h"
#include "sim/handover/sim_handover.h"

struct options {
    uint64_t first;
    uint64_t seeds;
    uint64_t seconds;
    bool expects_failure;
    bool goes_on;
    bool is_verbose;
    bool has_log;
    enum sim_plan plan;
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
    *o = (struct options){.first = 1, .seeds = UINT64_MAX, .seconds = 60};
    int option;
    while ((option = getopt(argc, argv, "s:n:t:g:crxkvl")) != -1) {
        switch (option) {
        case 's': o->first = strtoull(optarg, NULL, 10); break;
        case 'n': o->seeds = strtoull(optarg, NULL, 10); break;
        case 't': o->seconds = strtoull(optarg, NULL, 10); break;
        case 'g': handover_switch_off((enum handover_rule)atoi(optarg)); break;
        case 'c': o->plan = SIM_SHORT_CUTS; break;
        case 'r': o->plan = SIM_RESETS; break;
        case 'x': o->expects_failure = true; break;
        case 'k': o->goes_on = true; break;
        case 'v': o->is_verbose = true; break;
        case 'l': o->has_log = true; break;
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

static void report(uint64_t first, uint64_t seeds, uint64_t failed, const struct sim_stats *s)
{
    printf("seeds %lu from %lu, %lu failed: %lu s of virtual time, %lu publishes (%lu in doubt, "
           "%lu refused), "
           "%lu deliveries, %lu cuts, %lu pauses, %lu resets, %lu moves, %lu downs, %lu started "
           "over, %lu "
           "subscribers closed\n",
           seeds, first, failed, s->steps / 1000, s->publishes, s->in_doubt, s->refused,
           s->deliveries, s->cuts, s->pauses, s->resets, s->moves, s->downs, s->started_over,
           s->closed);
}

int main(int argc, char **argv)
{
    struct options o;
    parse(argc, argv, &o);
    expects_abort = o.expects_failure;
    signal(SIGABRT, on_abort);
    log_configure(o.has_log ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    sim = mem_new0(sizeof *sim);
    struct sim_stats sum = {0};
    time_t end = time(NULL) + (time_t)o.seconds;
    uint64_t done = 0;
    uint64_t failed = 0;
    for (; done < o.seeds && time(NULL) < end && (failed == 0 || o.goes_on); done++) {
        seed_running = o.first + done;
        if (!sim_run(seed_running, o.plan, o.is_verbose)) {
            printf("FAILED seed %lu: %s\n", seed_running, sim->failure);
            fflush(stdout);
            failed++;
        }
        add_stats(&sum, &sim->stats);
    }
    report(o.first, done, failed, &sum);
    mem_free(sim);
    return (failed > 0) == o.expects_failure ? 0 : 1;
}
