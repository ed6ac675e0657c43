/* measure: how often, how long, with what success commands run: metrics, the slow log. */
#include "cmd/measure.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "cmd/secret_args.h"
#include "session/address.h"
#include "session/error_stats.h"

void measure_add_errors(const struct call *call, const struct measured *before)
{
    uint32_t errors = call->reply->error_count - before->errors;
    const struct buf *out = call->reply->out;
    error_stats_add(slice_of(out->data + before->bytes, out->len - before->bytes), errors);
    metric_family_add(METRIC_FAMILY_redis_commands_failed_calls_total, command_id(call->command),
                      1);
}

static void log_slow(const struct call *call, uint64_t duration_us)
{
    char address[SESSION_ADDRESS_BYTES];
    struct slice argv[SLOWLOG_ARGS_MAX];
    for (uint32_t i = 0; i < call->argc && i < SLOWLOG_ARGS_MAX; i++) {
        bool is_secret = secret_arg(call->command, call->argv, call->argc, i);
        argv[i] = is_secret ? SLICE("(redacted)") : call->argv[i];
    }
    const struct slowlog_entry entry = {
        .id = atomic_fetch_add_explicit(&call->caller->broker->next_slowlog_id, 1,
                                        memory_order_relaxed),
        .at_s = clock_wall_us() / 1000000,
        .duration_us = duration_us,
        .argc = call->argc,
        .argv = argv,
        .address = session_address(call->caller->session, address),
        .name = slice_of_str(session_name(call->caller->session)),
    };
    slowlog_add(&call->caller->service->slowlog,
                (uint32_t)config_number(call->caller->broker->config, CONFIG_slowlog_max_len),
                &entry);
}

static bool is_slow(const struct call *call, uint64_t duration_us)
{
    int64_t slow_us = config_number(call->caller->broker->config, CONFIG_slowlog_log_slower_than);
    return slow_us >= 0 && duration_us >= (uint64_t)slow_us &&
           !(call->command->flags & CMD_SKIP_SLOWLOG);
}

/* `calls` of a command took so long together. */
static void add_duration(struct service *service, uint32_t command, uint64_t duration_ns,
                         uint32_t calls)
{
    metric_family_add(METRIC_FAMILY_redis_commands_duration_seconds_total, command,
                      duration_ns / 1000);
    if (config_number(service->broker->config, CONFIG_latency_tracking)) {
        latency_add(&service->latency, command, duration_ns / calls, calls);
    }
}

void measure_end_run(struct service *service)
{
    if (service->run_began_ns == 0) { return; }
    uint64_t duration_ns = clock_mono_ns() - service->run_began_ns;
    service->run_began_ns = 0;
    if (service->run_count > 0) {
        add_duration(service, service->run_command, duration_ns, service->run_count);
    }
}

static void measure_end(const struct call *call)
{
    uint64_t duration_ns = clock_mono_ns() - call->began_ns;
    add_duration(call->caller->service, command_id(call->command), duration_ns, 1);
    if (UNLIKELY(is_slow(call, duration_ns / 1000)) && call->caller->session != NULL) {
        log_slow(call, duration_ns / 1000);
    }
}

void measure_run(struct call *call)
{
    measure_end_run(call->caller->service);
    call->began_ns = clock_mono_ns();
    call->command->handler(call);
    if (!call->is_deferred) { measure_end(call); }
}

void measure_deferred(const struct call *call)
{
    measure_end(call);
}

void measure_begin_run(struct service *service, uint32_t command)
{
    measure_end_run(service);
    service->run_began_ns = clock_mono_ns();
    service->run_command = command;
    service->run_count = 0;
}
