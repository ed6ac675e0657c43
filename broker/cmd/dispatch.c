/* dispatch: the pipeline. Each check is one small function that answers the client itself when it
 * refuses. */
#include "cmd/dispatch.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cmd/call.h"
#include "cmd/error_stats.h"
#include "cmd/multi.h"
#include "cmd/secret_args.h"

enum { UNKNOWN_TEXT_BYTES_MAX = 128 }; /* of the name, and of the arguments, in an error */

/* ---- find ---- */

/* A browser that was tricked into posting requests here: cut it off before its body is read as
 * commands. */
static bool is_http(struct slice name)
{
    return slice_equal_nocase(name, SLICE("post")) || slice_equal_nocase(name, SLICE("host:"));
}

static void cut_off(struct call *call)
{
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_WARN, "client closed",
                LOG_STR("reason", "it speaks HTTP: a cross-protocol attack?"),
                LOG_UINT("id", call->session->id),
                LOG_SLICE("address", session_address(call->session, address)));
    conn_close(&call->session->conn);
}

/* Up to the first zero byte, and no more than `bytes_max`. */
static struct slice printable(struct slice text, size_t bytes_max)
{
    return slice_of(text.data, strnlen(text.data, text.len < bytes_max ? text.len : bytes_max));
}

static void refuse_unknown(struct call *call)
{
    struct buf text = {0};
    buf_append(&text, SLICE("ERR unknown command '"));
    buf_append(&text, printable(call->argv[0], UNKNOWN_TEXT_BYTES_MAX));
    buf_append(&text, SLICE("', with args beginning with: "));
    size_t begun = text.len;
    for (uint32_t i = 1; i < call->argc && text.len - begun < UNKNOWN_TEXT_BYTES_MAX; i++) {
        struct slice arg = printable(call->argv[i], UNKNOWN_TEXT_BYTES_MAX - (text.len - begun));
        buf_append(&text, SLICE("'"));
        buf_append(&text, arg);
        buf_append(&text, SLICE("' "));
    }
    reply_error_slice(call->reply, buf_slice(&text));
    buf_fini(&text);
}

static void refuse_unknown_sub(struct call *call, const struct command *container)
{
    char name[32];
    size_t len = 0;
    for (const char *at = container->name; *at != '\0' && len < sizeof name - 1; at++) {
        name[len++] = (char)toupper((unsigned char)*at);
    }
    name[len] = '\0';
    struct slice sub = printable(call->argv[1], UNKNOWN_TEXT_BYTES_MAX);
    reply_errorf(call->reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", SLICE_ARG(sub), name);
}

static bool is_unknown(struct call *call)
{
    const struct command_index *index = call->broker->commands;
    const struct command *command = command_find(index, call->argv[0]);
    if (UNLIKELY(command == NULL)) {
        if (is_http(call->argv[0])) {
            cut_off(call);
        } else {
            refuse_unknown(call);
        }
        return true;
    }
    if (command_has_subcommands(command) && call->argc > 1) {
        const struct command *sub = command_find_sub(index, command, call->argv[1]);
        if (sub == NULL) {
            refuse_unknown_sub(call, command);
            return true;
        }
        command = sub;
    }
    call->command = command;
    return false;
}

/* ---- checks ---- */

static bool has_wrong_arity(struct call *call)
{
    const struct command *command = call->command;
    if (LIKELY(command_arity_fits(command, call->argc) && command->handler != NULL)) {
        return false;
    }
    reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", command->full_name);
    return true;
}

static bool lacks_authentication(struct call *call)
{
    if (LIKELY(call->session->flags & SESSION_AUTHENTICATED) ||
        call->command->flags & CMD_NO_AUTH || !call->service->options.needs_password) {
        return false;
    }
    reply_error(call->reply, "NOAUTH Authentication required.");
    return true;
}

static bool is_barred_in_multi(struct call *call)
{
    if (LIKELY(!(call->session->flags & SESSION_MULTI)) || !(call->command->flags & CMD_NO_MULTI)) {
        return false;
    }
    reply_error(call->reply, "ERR Command not allowed inside a transaction");
    return true;
}

static bool is_barred_while_subscribed(struct call *call)
{
    if (LIKELY(!session_in_subscribe_mode(call->session)) ||
        call->command->flags & CMD_SUBSCRIBE_MODE) {
        return false;
    }
    reply_errorf(call->reply,
                 "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                 "RESET are allowed in this "
                 "context",
                 call->command->full_name);
    return true;
}

static bool is_refused(struct call *call)
{
    return has_wrong_arity(call) || lacks_authentication(call) || is_barred_in_multi(call) ||
           is_barred_while_subscribed(call);
}

/* CLIENT PAUSE: WRITE holds back what changes something, publishes too; ALL everything. */
static bool is_paused(struct call *call)
{
    uint64_t pause = atomic_load_explicit(&call->broker->pause, memory_order_relaxed);
    if (LIKELY(pause == 0)) { return false; }
    uint32_t flags = call->command->flags;
    if (command_id(call->command) == COMMAND_exec) { flags |= multi_flags(call->session); }
    bool concerns = pause & BROKER_PAUSE_ALL || flags & (CMD_WRITE | CMD_PUBLISHES);
    return concerns && clock_mono_ns() < pause;
}

static void park(struct session *session)
{
    session->flags |= SESSION_PARKED;
    service_of(session)->parked_count++;
    metric_add(METRIC_redis_blocked_clients, 1);
    conn_pause(&session->conn);
    service_await_pause_end(service_of(session));
}

/* ---- run ---- */

/* The answer of one call: what it has added to the reply. */
struct added {
    uint32_t errors_before;
    size_t bytes_before;
};

static struct added added_begin(const struct call *call)
{
    return (struct added){call->reply->error_count, call->reply->out->len};
}

static void count_errors(const struct call *call, const struct added *added)
{
    uint32_t errors = call->reply->error_count - added->errors_before;
    if (LIKELY(errors == 0)) { return; }
    const struct buf *out = call->reply->out;
    error_stats_add(slice_of(out->data + added->bytes_before, out->len - added->bytes_before),
                    errors);
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
        .id = atomic_fetch_add_explicit(&call->broker->next_slowlog_id, 1, memory_order_relaxed),
        .at_s = clock_wall_us() / 1000000,
        .duration_us = duration_us,
        .argc = call->argc,
        .argv = argv,
        .address = session_address(call->session, address),
        .name = slice_of_str(session_name(call->session)),
    };
    slowlog_add(&call->service->slowlog,
                (uint32_t)config_number(call->broker->config, CONFIG_slowlog_max_len), &entry);
}

static bool is_slow(const struct call *call, uint64_t duration_us)
{
    int64_t slow_us = call->service->options.slow_us;
    return slow_us >= 0 && duration_us >= (uint64_t)slow_us &&
           !(call->command->flags & CMD_SKIP_SLOWLOG);
}

static void run_measured(struct call *call)
{
    uint64_t began_ns = clock_mono_ns();
    call->command->handler(call);
    uint64_t duration_us = (clock_mono_ns() - began_ns) / 1000;
    metric_family_add(METRIC_FAMILY_redis_commands_duration_seconds_total,
                      command_id(call->command), duration_us);
    if (UNLIKELY(is_slow(call, duration_us))) { log_slow(call, duration_us); }
}

void dispatch_end_publishes(struct service *service)
{
    if (service->publishes_began_ns == 0) { return; }
    uint64_t duration_us = (clock_mono_ns() - service->publishes_began_ns) / 1000;
    service->publishes_began_ns = 0;
    metric_family_add(METRIC_FAMILY_redis_commands_duration_seconds_total,
                      service->publishes_command, duration_us);
}

/* Reading the clock costs as much as a publish: it is read once for a run of them. */
static void run_publish(struct call *call)
{
    struct service *service = call->service;
    uint32_t id = command_id(call->command);
    if (service->publishes_began_ns == 0 || service->publishes_command != id) {
        dispatch_end_publishes(service);
        service->publishes_began_ns = clock_mono_ns();
        service->publishes_command = id;
    }
    call->command->handler(call);
}

void dispatch_run(struct call *call)
{
    struct added added = added_begin(call);
    uint32_t id = command_id(call->command);
    call->session->command = (uint16_t)id;
    metric_add(METRIC_redis_commands_processed_total, 1);
    metric_family_add(METRIC_FAMILY_redis_commands_total, id, 1);
    if (call->command->flags & CMD_PUBLISHES) {
        run_publish(call);
    } else {
        dispatch_end_publishes(call->service);
        run_measured(call);
    }
    count_errors(call, &added);
}

/* ---- the pipeline ---- */

/* CLIENT REPLY SKIP silences the command after it. */
static void advance_skip(struct session *session)
{
    enum { BOTH = SESSION_REPLY_SKIP | SESSION_REPLY_SKIPPING };
    if (LIKELY(!(session->flags & BOTH))) { return; }
    bool skips_next = session->flags & SESSION_REPLY_SKIP;
    session->flags &= ~(uint32_t)BOTH;
    session->flags |= skips_next ? SESSION_REPLY_SKIPPING : 0;
}

static void answer(struct call *call)
{
    struct session *session = call->session;
    if (session->flags & SESSION_WAITS) { return; }
    if (call->reply->out->len > 0 || session->flags & SESSION_LEAVING) {
        bool pushes = call->command != NULL && call->command->flags & CMD_PUSHES &&
                      call->reply->error_count == 0;
        session_answer(session, call->reply->out, pushes);
    }
    advance_skip(session);
}

static void reject(struct call *call)
{
    if (call->reply->error_count > 0) {
        error_stats_add(buf_slice(call->reply->out), call->reply->error_count);
    }
    if (call->command != NULL) {
        metric_family_add(METRIC_FAMILY_redis_commands_rejected_calls_total,
                          command_id(call->command), 1);
    }
    if (call->session->flags & SESSION_MULTI) { multi_refused(call); }
}

/* May the call run before the publishes in front of it have been answered? Only another publish. */
static bool joins_publishes(const struct call *call, bool is_good)
{
    return is_good && call->command->flags & CMD_PUBLISHES &&
           !(call->session->flags & SESSION_MULTI);
}

bool dispatch(struct session *session, const struct slice *argv, uint32_t argc)
{
    if (argc == 0) { return true; }
    struct service *service = service_of(session);
    struct reply reply = {.out = &service->reply, .version = session->subscriber.resp_version};
    struct call call = {
        .argc = argc,
        .argv = argv,
        .session = session,
        .service = service,
        .broker = service->broker,
        .reply = &reply,
    };
    bool is_good = LIKELY(!is_unknown(&call) && !is_refused(&call));
    if (!joins_publishes(&call, is_good) && UNLIKELY(!session_settle(session))) {
        reply.out->len = 0;
        session_await_answers(session);
        return false;
    }
    if (UNLIKELY(!is_good)) {
        reject(&call);
    } else if (UNLIKELY(is_paused(&call))) {
        park(session);
        return false;
    } else if (UNLIKELY(session->flags & SESSION_MULTI) &&
               !(call.command->flags & CMD_NOT_QUEUED)) {
        multi_queue(&call);
    } else {
        dispatch_run(&call);
    }
    answer(&call);
    return true;
}

void dispatch_finish(struct session *session, const struct command *command,
                     void (*finish)(void *question, struct call *call), void *question)
{
    struct service *service = service_of(session);
    bool executes = session->flags & SESSION_EXECUTING;
    struct reply reply = {
        .out = executes ? multi_reply(session->extra->multi) : &service->reply,
        .version = session->subscriber.resp_version,
    };
    struct call call = {
        .command = command,
        .session = session,
        .service = service,
        .broker = service->broker,
        .reply = &reply,
    };
    session->flags &= ~(uint32_t)SESSION_WAITS;
    if (finish != NULL) {
        struct added added = added_begin(&call);
        finish(question, &call);
        count_errors(&call, &added);
    }
    if (executes && !(session->flags & SESSION_WAITS)) {
        call.command = &command_table[COMMAND_exec];
        call.reply->out = &service->reply;
        multi_go_on(&call);
        dispatch_end_publishes(service);
    }
    if (session->flags & SESSION_WAITS) {
        return;
    } /* the transaction has come to another command that waits */
    answer(&call);
    session_release(session);
    session_resume(session);
}
