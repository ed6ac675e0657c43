/* multi: MULTI, EXEC and their kin: the run of what a transaction has queued. */
#include "cmd/caller.h"
#include "cmd/measure.h"
#include "cmd/pipeline.h"
#include "session/answers.h"
#include "session/output.h"
#include "session/transaction.h"

static bool joins(const struct command *command)
{
    uint32_t id = command_id(command);
    return id == COMMAND_subscribe || id == COMMAND_psubscribe || id == COMMAND_ssubscribe;
}

/* The whole answer goes to call->reply; the transaction's buffer takes its place and ends with it. */
static void finish(struct call *call)
{
    struct transaction *transaction = transaction_of(call->caller->session);
    struct buf answer = transaction->reply;
    transaction->reply = *call->reply->out;
    *call->reply->out = answer;
    transaction_discard(call->caller->session);
    if (call->caller->session->flags & SESSION_POSTPONES) {
        session_answer(call->caller->session, call->reply->out, false);
        session_deliver_postponed(call->caller->session);
    }
}

/* The publishes so far must have been answered first. */
static void await_answers(struct call *call)
{
    static const struct wait_ops ops = {0};
    call_wait(call, &ops, NULL);
}

/* Run the queued commands that are left, until one waits. At the end the whole answer is in
 * call->reply. */
static void go_on(struct call *call)
{
    struct session *session = call->caller->session;
    struct transaction *transaction = transaction_of(session);
    while (transaction->next < transaction->count) {
        const struct queued *queued = transaction->queue[transaction->next];
        const struct command *command = &command_table[queued->command];
        if (!(command->flags & CMD_PUBLISHES) && !session_settle(session)) {
            await_answers(call);
            return;
        }
        transaction->next++;
        struct reply reply = {.out = &transaction->reply,
                              .version = session->subscriber.resp_version};
        struct call inner = *call;
        inner.command = command;
        inner.argc = queued->argc;
        inner.argv = queued->argv;
        inner.reply = &reply;
        if (joins(command)) { session_postpone(session); } /* messages go behind the answer */
        pipeline_run(&inner);
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
    struct session *session = call->caller->session;
    if (session->flags & SESSION_MULTI) {
        reply_error(call->reply, "ERR MULTI calls can not be nested");
        return;
    }
    transaction_begin(session);
    reply_ok(call->reply);
}

void cmd_exec(struct call *call)
{
    struct session *session = call->caller->session;
    if (!(session->flags & SESSION_MULTI)) {
        reply_error(call->reply, "ERR EXEC without MULTI");
        return;
    }
    struct transaction *transaction = transaction_of(session);
    if (transaction->is_refused) {
        reply_error(call->reply, "EXECABORT Transaction discarded because of previous errors.");
        transaction_discard(session);
        return;
    }
    session->flags &= ~(uint32_t)SESSION_MULTI;
    session->flags |= SESSION_EXECUTING;
    transaction->go_on = go_on;
    struct reply head = {.out = &transaction->reply, .version = call->reply->version};
    reply_array(&head, transaction->count);
    go_on(call);
    measure_end_publishes(call->caller->service);
}

void cmd_discard(struct call *call)
{
    if (!(call->caller->session->flags & SESSION_MULTI)) {
        reply_error(call->reply, "ERR DISCARD without MULTI");
        return;
    }
    transaction_discard(call->caller->session);
    reply_ok(call->reply);
}

/* There are no keys yet that could change under a transaction: watching remembers only how many
 * were named. */
void cmd_watch(struct call *call)
{
    if (call->caller->session->flags & SESSION_MULTI) {
        reply_error(call->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    session_extra(call->caller->session)->watch_count += call->argc - 1;
    reply_ok(call->reply);
}

void cmd_unwatch(struct call *call)
{
    if (call->caller->session->extra != NULL) { call->caller->session->extra->watch_count = 0; }
    reply_ok(call->reply);
}
