/* monitor: lines of what clients do, and their way to those who watch. */
#include "cmd/monitor.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/secret_args.h"
#include "session/address.h"
#include "session/monitors.h"
#include "session/transaction.h"

/* A line on its way to another worker. */
struct shown {
    struct task task;
    struct service *service;
    size_t len;
    char line[];
};

/* ---- the line ---- */

/* As Redis writes strings for people. */
static void append_quoted(struct buf *out, struct slice text)
{
    static const char plain[] = {'"', '\\', '\n', '\r', '\t', '\a', '\b'};
    static const char escaped[] = {'"', '\\', 'n', 'r', 't', 'a', 'b'};
    buf_append(out, SLICE("\""));
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        const char *at = memchr(plain, c, sizeof plain);
        if (at != NULL) {
            const char pair[2] = {'\\', escaped[at - plain]};
            buf_append(out, slice_of(pair, 2));
        } else if (c >= ' ' && c <= '~') {
            buf_append(out, slice_of(&c, 1));
        } else {
            buf_appendf(out, "\\x%02x", (unsigned char)c);
        }
    }
    buf_append(out, SLICE("\""));
}

static void append_arg(struct buf *out, struct slice arg)
{
    size_t more = arg.len > MONITOR_ARG_BYTES_MAX ? arg.len - MONITOR_ARG_BYTES_MAX : 0;
    append_quoted(out, slice_of(arg.data, arg.len - more));
    if (more > 0) { buf_appendf(out, "... (%zu more bytes)", more); }
}

static void line_make(struct buf *out, const struct session *session, const struct call *call)
{
    char address[SESSION_ADDRESS_BYTES];
    uint64_t now_us = clock_wall_us();
    buf_appendf(out, "+%llu.%06llu [%u ", (unsigned long long)(now_us / 1000000),
                (unsigned long long)(now_us % 1000000), session->database);
    buf_append(out, session_address(session, address));
    buf_append(out, SLICE("]"));
    for (uint32_t i = 0; i < call->argc && out->len < MONITOR_BYTES_MAX; i++) {
        bool is_secret = secret_arg(call->command, call->argv, call->argc, i);
        buf_append(out, SLICE(" "));
        append_arg(out, is_secret ? SLICE("(redacted)") : call->argv[i]);
    }
    buf_append(out, SLICE("\r\n"));
}

/* ---- its way ---- */

static void on_shown(struct task *task)
{
    struct shown *shown = CONTAINER_OF(task, struct shown, task);
    struct service *service = shown->service;
    atomic_fetch_sub(&service->monitor_bytes, shown->len);
    if (atomic_exchange(&service->monitor_is_over, false)) { monitors_close(&service->sessions); }
    monitors_tell(&service->sessions, slice_of(shown->line, shown->len));
    mem_free(shown);
    service_client_left(service);
}

static void post(struct service *service, struct slice line)
{
    if (atomic_fetch_add(&service->monitor_bytes, line.len) > MONITOR_BYTES_MAX) {
        atomic_fetch_sub(&service->monitor_bytes, line.len);
        atomic_store(&service->monitor_is_over, true); /* there are lines on their way that tell */
        return;
    }
    struct shown *shown = mem_new(sizeof *shown + line.len);
    *shown = (struct shown){.task.run = on_shown, .service = service, .len = line.len};
    memcpy(shown->line, line.data, line.len);
    service_client_came(service);
    mailbox_post(worker_mailbox(service->worker), &shown->task);
}

static void show(const struct call *call)
{
    const struct broker *broker = call->caller->broker;
    struct buf line = {0};
    if (call->command->flags & CMD_ADMIN) { return; }
    line_make(&line, call->caller->session, call);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct service *service = broker->service[i];
        if (!monitors_are_there(&service->sessions)) { continue; }
        if (service == call->caller->service) {
            monitors_tell(&service->sessions, buf_slice(&line));
        } else {
            post(service, buf_slice(&line));
        }
    }
    buf_fini(&line);
}

void monitor_show(const struct call *call)
{
    const struct session *session = call->caller->session;
    const struct transaction *transaction = transaction_of(session);
    bool executes = command_id(call->command) == COMMAND_exec && session->flags & SESSION_MULTI &&
                    !transaction->is_refused;
    for (uint32_t i = 0; executes && i < transaction->count; i++) {
        const struct queued *queued = transaction->queue[i];
        struct call inner = *call;
        inner.command = &command_table[queued->command];
        inner.argc = queued->argc;
        inner.argv = queued->argv;
        show(&inner);
    }
    show(call);
}

void cmd_monitor(struct call *call)
{
    reply_ok(call->reply);
    monitors_join(call->caller->session);
}
