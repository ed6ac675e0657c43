/* admin_health: live, ready, started: each with the reason when it is not. */
#include "admin/admin_int.h"

#include <event2/http.h>

#include "base/clock.h"
#include "base/log.h"

#define STUCK_NS (10 * NS_PER_S)

static void say(struct answer *answer, const char *because)
{
    answer->code = because == NULL ? HTTP_OK : HTTP_SERVUNAVAIL;
    buf_appendf(&answer->text, "%s\n", because == NULL ? "ok" : because);
}

void health_live(const struct admin_opts *opts, struct answer *answer)
{
    uint64_t now_ns = clock_mono_ns();
    for (unsigned worker = 0; worker < opts->worker_count; worker++) {
        uint64_t turned_ns = opts->heartbeat_ns(opts->arg, worker);
        if (now_ns > turned_ns && now_ns - turned_ns > STUCK_NS) {
            uint64_t still_s = (now_ns - turned_ns) / NS_PER_S;
            LOG_LIMITED(LOG_LEVEL_ERROR, "worker is stuck", LOG_UINT("worker", worker),
                        LOG_UINT("seconds", still_s));
            answer->code = HTTP_SERVUNAVAIL;
            buf_appendf(&answer->text, "worker %u has not turned for %llu s\n", worker,
                        (unsigned long long)still_s);
            return;
        }
    }
    say(answer, NULL);
}

void health_started(const struct admin_opts *opts, struct answer *answer)
{
    say(answer, atomic_load(&opts->status->is_started) ? NULL : "starting");
}

const char *health_unready_because(const struct admin_opts *opts)
{
    bool is_started = atomic_load(&opts->status->is_started);
    const char *because = is_started ? atomic_load(&opts->status->unready_because) : "starting";
    if (because == NULL && opts->unready_because != NULL) {
        because = opts->unready_because(opts->arg);
    }
    return because;
}

void health_ready(const struct admin_opts *opts, struct answer *answer)
{
    const char *because = health_unready_because(opts);
    const char *note = because == NULL && opts->note != NULL ? opts->note(opts->arg) : NULL;
    if (note == NULL) {
        say(answer, because);
        return;
    }
    answer->code = HTTP_OK;
    buf_appendf(&answer->text, "ok, but %s\n", note);
}
