/* multi: the queue and its run. */
#include "cmd/multi.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/call.h"
#include "cmd/dispatch.h"

/* One allocation: the slices, then the bytes that they name. */
struct queued {
    const struct command *command;
    uint32_t argc;
    struct slice argv[];
};

struct multi {
    struct queued **queue;
    uint32_t count;
    uint32_t cap;
    uint32_t next;  /* of EXEC: the one to run next */
    uint32_t flags; /* of all commands */
    size_t bytes;
    bool is_refused; /* a command was: EXEC will be, too */
    struct buf reply;
};

void multi_free(struct multi *multi)
{
    if (multi == NULL) { return; }
    for (uint32_t i = 0; i < multi->count; i++) {
        mem_free(multi->queue[i]);
    }
    mem_free(multi->queue);
    buf_fini(&multi->reply);
    mem_free(multi);
}

struct buf *multi_reply(struct multi *multi)
{
    return &multi->reply;
}

static bool joins(const struct command *command)
{
    uint32_t id = command_id(command);
    return id == COMMAND_subscribe || id == COMMAND_psubscribe || id == COMMAND_ssubscribe;
}

static struct multi *multi_of(const struct session *session)
{
    return session->extra != NULL ? session->extra->multi : NULL;
}

uint32_t multi_flags(const struct session *session)
{
    const struct multi *multi = multi_of(session);
    return multi != NULL ? multi->flags : 0;
}

uint32_t multi_count(const struct multi *multi)
{
    return multi != NULL ? multi->count : 0;
}

size_t multi_bytes(const struct multi *multi)
{
    return multi != NULL ? multi->bytes : 0;
}

void multi_discard(struct session *session)
{
    session->flags &= ~(uint32_t)(SESSION_MULTI | SESSION_EXECUTING);
    if (session->extra != NULL) {
        multi_free(session->extra->multi);
        session->extra->multi = NULL;
        session->extra->watch_count = 0;
    }
}

static struct queued *queued_new(const struct call *call, size_t *bytes)
{
    *bytes = sizeof(struct queued) + call->argc * sizeof(struct slice);
    for (uint32_t i = 0; i < call->argc; i++) {
        *bytes += call->argv[i].len;
    }
    struct queued *queued = mem_new(*bytes);
    queued->command = call->command;
    queued->argc = call->argc;
    char *at = (char *)&queued->argv[call->argc];
    for (uint32_t i = 0; i < call->argc; i++) {
        struct slice arg = call->argv[i];
        if (arg.len > 0) { memcpy(at, arg.data, arg.len); }
        queued->argv[i] = slice_of(at, arg.len);
        at += arg.len;
    }
    return queued;
}

void multi_queue(struct call *call)
{
    struct multi *multi = multi_of(call->session);
    if (multi->count == multi->cap) {
        multi->cap = multi->cap > 0 ? multi->cap * 2 : 8;
        multi->queue = mem_resize(multi->queue, multi->cap * sizeof(struct queued *));
    }
    size_t bytes;
    multi->queue[multi->count++] = queued_new(call, &bytes);
    multi->bytes += bytes + sizeof(struct queued *);
    multi->flags |= call->command->flags;
    reply_status(call->reply, "QUEUED");
}

void multi_refused(struct call *call)
{
    struct buf *out = call->reply->out;
    if (call->command != NULL && command_id(call->command) == COMMAND_exec && out->len > 3) {
        struct buf text = {0};
        buf_append(&text, SLICE("EXECABORT Transaction discarded because of: "));
        buf_append(&text, slice_of(out->data + 1, out->len - 3)); /* without '-', CR, LF */
        out->len = 0;
        reply_error_slice(call->reply, buf_slice(&text));
        buf_fini(&text);
        multi_discard(call->session);
        return;
    }
    multi_of(call->session)->is_refused = true;
}

/* The whole answer goes to call->reply; multi's buffer takes its place and ends with it. */
static void finish(struct call *call)
{
    struct multi *multi = multi_of(call->session);
    struct buf answer = multi->reply;
    multi->reply = *call->reply->out;
    *call->reply->out = answer;
    multi_discard(call->session);
    if (call->session->flags & SESSION_HOLDING) {
        session_answer(call->session, call->reply->out, false);
        session_release(call->session);
    }
}

/* The publishes so far must have been answered first. */
static void await_answers(struct call *call)
{
    static const struct waiting_ops ops = {0};
    waiting_start(call, &ops, NULL);
}

void multi_go_on(struct call *call)
{
    struct session *session = call->session;
    struct multi *multi = multi_of(session);
    while (multi->next < multi->count) {
        const struct queued *queued = multi->queue[multi->next];
        if (!(queued->command->flags & CMD_PUBLISHES) && !session_settle(session)) {
            await_answers(call);
            return;
        }
        multi->next++;
        struct reply reply = {.out = &multi->reply, .version = session->subscriber.resp_version};
        struct call inner = *call;
        inner.command = queued->command;
        inner.argc = queued->argc;
        inner.argv = queued->argv;
        inner.reply = &reply;
        if (joins(inner.command)) { session_hold(session); } /* messages go behind the answer */
        dispatch_run(&inner);
        if (session->bar == BAR_COMMAND) { return; }
    }
    if (session_settle(session)) {
        finish(call);
    } else {
        await_answers(call);
    }
}

void cmd_multi(struct call *call)
{
    struct session *session = call->session;
    if (session->flags & SESSION_MULTI) {
        reply_error(call->reply, "ERR MULTI calls can not be nested");
        return;
    }
    session->flags |= SESSION_MULTI;
    session_extra(session)->multi = mem_new0(sizeof(struct multi));
    reply_ok(call->reply);
}

void cmd_exec(struct call *call)
{
    struct session *session = call->session;
    if (!(session->flags & SESSION_MULTI)) {
        reply_error(call->reply, "ERR EXEC without MULTI");
        return;
    }
    struct multi *multi = multi_of(session);
    if (multi->is_refused) {
        reply_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
        multi_discard(session);
        return;
    }
    session->flags &= ~(uint32_t)SESSION_MULTI;
    session->flags |= SESSION_EXECUTING;
    struct reply head = {.out = &multi->reply, .version = call->reply->version};
    reply_array(&head, multi->count);
    multi_go_on(call);
    dispatch_end_publishes(call->service);
}

void cmd_discard(struct call *call)
{
    if (!(call->session->flags & SESSION_MULTI)) {
        reply_error(call->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi_discard(call->session);
    reply_ok(call->reply);
}

/* There are no keys yet that could change under a transaction: watching remembers only how many
 * were named. */
void cmd_watch(struct call *call)
{
    if (call->session->flags & SESSION_MULTI) {
        reply_error(call->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    session_extra(call->session)->watch_count += call->argc - 1;
    reply_ok(call->reply);
}

void cmd_unwatch(struct call *call)
{
    if (call->session->extra != NULL) { call->session->extra->watch_count = 0; }
    reply_ok(call->reply);
}
