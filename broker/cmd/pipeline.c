/* pipeline: find, arity, user, state; what is in flight, a pause; queue or run. Each check is one small
 * function that answers the client itself when it refuses. */
#include "cmd/pipeline.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cmd/caller.h"
#include "cmd/certificate.h"
#include "cmd/data_run.h"
#include "cmd/measure.h"
#include "cmd/monitor.h"
#include "cmd/permission.h"
#include "session/address.h"
#include "session/answers.h"
#include "session/bar.h"
#include "session/error_stats.h"
#include "session/output.h"
#include "session/transaction.h"
#include "session/users.h"

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
                LOG_UINT("id", call->caller->session->id),
                LOG_SLICE("address", session_address(call->caller->session, address)));
    conn_close(&call->caller->session->conn);
}

/* Up to the first zero byte, and no more than `bytes_max`. */
static struct slice printable(struct slice text, size_t bytes_max)
{
    return slice_of(text.data, strnlen(text.data, text.len < bytes_max ? text.len : bytes_max));
}

/* Also what is unknown: Redis knows more commands, and says this of them. */
static void refuse_while_subscribed(struct call *call, struct slice name)
{
    struct slice shown = printable(name, UNKNOWN_TEXT_BYTES_MAX);
    reply_errorf(call->reply,
                 "ERR Can't execute '%.*s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                 "RESET are allowed in this context",
                 SLICE_ARG(shown));
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
    const struct command_index *index = call->caller->broker->commands;
    const struct command *command = command_find(index, call->argv[0]);
    if (UNLIKELY(command == NULL)) {
        if (is_http(call->argv[0])) {
            cut_off(call);
        } else if (session_in_subscribe_mode(call->caller->session)) {
            refuse_while_subscribed(call, call->argv[0]);
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
    call->caller->session->command = (uint16_t)command_id(command);
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
    if (LIKELY(!session_must_login(call->caller->session)) || call->command->flags & CMD_NO_AUTH) {
        return false;
    }
    reply_error(call->reply, "NOAUTH Authentication required.");
    return true;
}

static bool is_barred_in_multi(struct call *call)
{
    if (LIKELY(!(call->caller->session->flags & SESSION_MULTI)) ||
        !(call->command->flags & CMD_NO_MULTI)) {
        return false;
    }
    reply_error(call->reply, "ERR Command not allowed inside a transaction");
    return true;
}

static bool is_barred_while_subscribed(struct call *call)
{
    if (LIKELY(!session_in_subscribe_mode(call->caller->session)) ||
        call->command->flags & CMD_SUBSCRIBE_MODE) {
        return false;
    }
    refuse_while_subscribed(call, slice_of_str(call->command->full_name));
    return true;
}

static bool is_refused(struct call *call)
{
    bool is_in_multi = call->caller->session->flags & SESSION_MULTI;
    return has_wrong_arity(call) || lacks_authentication(call) ||
           permission_lacks(call, is_in_multi ? "multi" : "toplevel") || is_barred_in_multi(call) ||
           is_barred_while_subscribed(call);
}

/* CLIENT PAUSE: WRITE holds back what changes something, publishes too; ALL everything. */
static bool is_paused(struct call *call)
{
    uint64_t pause = atomic_load_explicit(&call->caller->broker->pause, memory_order_relaxed);
    if (LIKELY(pause == 0)) { return false; }
    uint32_t flags = call->command->flags;
    if (command_id(call->command) == COMMAND_exec) {
        flags |= transaction_flags(call->caller->session);
    }
    bool concerns =
        pause & BROKER_PAUSE_ALL || flags & (CMD_WRITE | CMD_PUBLISHES | CMD_MAY_REPLICATE);
    return concerns && clock_mono_ns() < pause;
}

/* ---- run ---- */

/* Reads of one thing are, too. */
static bool is_quick(const struct command *command)
{
    enum { READS = CMD_DATA | CMD_FAST | CMD_READONLY };
    return command->flags & CMD_PUBLISHES || (command->flags & READS) == READS;
}

void pipeline_run(struct call *call)
{
    struct measured before = measure_begin(call);
    uint32_t id = command_id(call->command);
    call->caller->session->command = (uint16_t)id;
    metric_add(METRIC_redis_commands_processed_total, 1);
    metric_family_add(METRIC_FAMILY_redis_commands_total, id, 1);
    if (is_quick(call->command)) {
        measure_quick(call);
    } else {
        measure_run(call);
    }
    measure_errors(call, &before);
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
    struct session *session = call->caller->session;
    if (session->bar == BAR_COMMAND) { return; }
    if (call->reply->out->len > 0 || session->flags & SESSION_LEAVING) {
        bool pushes = call->command != NULL && call->command->flags & CMD_PUSHES &&
                      call->reply->error_count == 0;
        session_answer(session, call->reply->out, pushes);
    }
    advance_skip(session);
}

/* A command was refused, or unknown: EXEC will be refused, too. If it was EXEC itself, its error becomes
 * EXECABORT. */
static void refuse_transaction(struct call *call)
{
    struct buf *out = call->reply->out;
    if (call->command == NULL || command_id(call->command) != COMMAND_exec || out->len <= 3) {
        transaction_of(call->caller->session)->is_refused = true;
        return;
    }
    struct buf text = {0};
    buf_append(&text, SLICE("EXECABORT Transaction discarded because of: "));
    buf_append(&text, slice_of(out->data + 1, out->len - 3)); /* without '-', CR, LF */
    out->len = 0;
    reply_error_slice(call->reply, buf_slice(&text));
    buf_fini(&text);
    transaction_discard(call->caller->session);
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
    if (call->caller->session->flags & SESSION_MULTI) { refuse_transaction(call); }
}

/* May the call run before what is in flight in front of it has been answered? A publish behind publishes, a data command behind
 * those of the same partition. */
static bool joins(const struct call *call, bool is_good)
{
    uint32_t flags = call->caller->session->flags;
    if (!is_good || flags & SESSION_MULTI) { return false; }
    return call->command->flags & CMD_PUBLISHES
               ? !(flags & SESSION_ASKED)
               : call->command->flags & CMD_DATA && data_joins(call);
}

static void queue(struct call *call)
{
    transaction_add(transaction_of(call->caller->session), (uint16_t)command_id(call->command),
                    call->command->flags, call->argv, call->argc);
    reply_status(call->reply, "QUEUED");
}

static bool is_queued(const struct call *call)
{
    return UNLIKELY(call->caller->session->flags & SESSION_MULTI) &&
           !(call->command->flags & CMD_NOT_QUEUED);
}

static struct caller caller_of(struct session *session)
{
    struct service *service = service_of(session);
    return (struct caller){session, service, service->broker};
}

static bool request(struct session *session, const struct slice *argv, uint32_t argc)
{
    if (argc == 0) { return true; }
    struct reply reply = {.out = &sessions_of(session)->reply,
                          .version = session->subscriber.resp_version};
    const struct caller caller = caller_of(session);
    struct call call = {.argc = argc, .argv = argv, .reply = &reply, .caller = &caller};
    bool is_good = LIKELY(!is_unknown(&call) && !is_refused(&call));
    if (!joins(&call, is_good) && UNLIKELY(!session_settle(session))) {
        reply.out->len = 0;
        answers_await(session);
        return false;
    }
    if (UNLIKELY(!is_good)) {
        reject(&call);
    } else if (UNLIKELY(is_paused(&call))) {
        session_bar(session, BAR_PAUSE);
        service_await_pause_end(caller.service);
        return false;
    } else if (is_queued(&call)) {
        queue(&call);
    } else {
        monitor_call(&call);
        pipeline_run(&call);
    }
    answer(&call);
    return true;
}

static void input_done(struct sessions *sessions)
{
    measure_end_run(service_with(sessions));
}

/* The end of a wait: its command writes the answer. Of EXEC it is a part, and the rest may have to wait again. */
static void go_on(struct session *session, const struct wait *wait)
{
    struct transaction *executing =
        session->flags & SESSION_EXECUTING ? transaction_of(session) : NULL;
    struct buf *out = &sessions_of(session)->reply;
    struct reply reply = {.out = executing != NULL ? &executing->reply : out,
                          .version = session->subscriber.resp_version};
    const struct caller caller = caller_of(session);
    struct call call = {
        .command = &command_table[wait->command], .reply = &reply, .caller = &caller};
    if (wait->ops->finish != NULL) {
        struct measured before = measure_begin(&call);
        wait->ops->finish(wait->question, &call);
        measure_errors(&call, &before);
    }
    if (executing != NULL && session->bar != BAR_COMMAND) {
        call.command = &command_table[COMMAND_exec];
        call.reply->out = out;
        executing->go_on(&call);
        measure_end_run(caller.service);
    }
    if (session->bar == BAR_COMMAND) { return; }
    answer(&call);
    session_deliver_postponed(session);
    session->request_bytes = 0;
}

static void left(struct sessions *sessions)
{
    service_client_left(service_with(sessions));
}

static void greet(struct session *session)
{
    const struct caller caller = caller_of(session);
    certificate_login(&caller);
}

const struct session_ops pipeline_ops = {
    .greet = greet,
    .request = request,
    .input_done = input_done,
    .go_on = go_on,
    .left = left,
};
