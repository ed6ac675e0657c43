/* measure: how often, how long, with what success commands run: metrics, the slow log.
 * Thread: the session's worker. */
#ifndef FANFARE_CMD_MEASURE_H
#define FANFARE_CMD_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "cmd/caller.h"

/* The reply as it was before a call. */
struct measured {
    uint32_t errors;
    size_t bytes;
};

static inline struct measured measure_begin(const struct call *call)
{
    return (struct measured){call->reply->error_count, call->reply->out->len};
}

/* Count the errors that the reply has got since. */
void measure_add_errors(const struct call *call, const struct measured *before);

static inline void measure_errors(const struct call *call, const struct measured *before)
{
    if (UNLIKELY(call->reply->error_count != before->errors)) { measure_add_errors(call, before); }
}

/* Run the handler and measure it. */
void measure_run(struct call *call);

/* The answer of one that was deferred, and began at call->began_ns, is there. call->caller->session NULL: its client is not. */
void measure_deferred(const struct call *call);

/* The same for a publish, or another command that takes no longer than reading the clock does: that is read once for a run of
 * them, which ends with another command or with measure_end_run: the input at hand has no more requests. None of them is slow. */
void measure_begin_run(struct service *service, uint32_t command);
void measure_end_run(struct service *service);

static inline void measure_quick(struct call *call)
{
    struct service *service = call->caller->service;
    uint32_t id = command_id(call->command);
    if (service->run_began_ns == 0 || service->run_command != id) {
        measure_begin_run(service, id);
    }
    call->command->handler(call);
    service->run_count += !call->is_deferred;
}

#endif
