/* multi: MULTI, EXEC, WATCH and their kin. Of what a transaction has queued, the data commands are executed together first;
 * then the others run, and the replies are put in the order of the queue. */
#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/caller.h"
#include "cmd/data_route.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"
#include "cmd/exec_data.h"
#include "cmd/measure.h"
#include "cmd/permission.h"
#include "cmd/pipeline.h"
#include "cmd/script_publishes.h"
#include "session/answers.h"
#include "session/error_stats.h"
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

/* Its reply is there already. */
static void write_data(struct call *call, const struct command *command)
{
    struct slice reply = exec_data_next(call);
    script_publishes(call->caller->service, &reply);
    buf_append(&transaction_of(call->caller->session)->reply, reply);
    metric_add(METRIC_redis_commands_processed_total, 1);
    metric_family_add(METRIC_FAMILY_redis_commands_total, command_id(command), 1);
    if (reply.len > 0 && reply.data[0] == '-') {
        error_stats_add(reply, 1);
        metric_family_add(METRIC_FAMILY_redis_commands_failed_calls_total, command_id(command), 1);
    }
}

static void write_refusal(struct transaction *transaction, const struct queued *queued,
                          const struct command *command)
{
    struct slice refusal = buf_slice(&queued->refusal);
    buf_append(&transaction->reply, refusal);
    error_stats_add(refusal, 1);
    metric_family_add(METRIC_FAMILY_redis_commands_rejected_calls_total, command_id(command), 1);
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
        if (queued->refusal.len > 0) {
            write_refusal(transaction, queued, command);
            continue;
        }
        if (command->flags & CMD_DATA) {
            write_data(call, command);
            continue;
        }
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

/* What the client's user may not do any more, but could when it was queued, is an error in its place. */
static void refuse_what_is_lost(struct call *call)
{
    struct transaction *transaction = transaction_of(call->caller->session);
    transaction->flags = 0;
    for (uint32_t i = 0; i < transaction->count; i++) {
        struct queued *queued = transaction->queue[i];
        struct reply reply = {.out = &queued->refusal, .version = call->reply->version};
        struct call inner = *call;
        inner.command = &command_table[queued->command];
        inner.argc = queued->argc;
        inner.argv = queued->argv;
        inner.reply = &reply;
        if (!permission_is_lost(&inner)) { transaction->flags |= inner.command->flags; }
    }
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
    refuse_what_is_lost(call);
    session->flags &= ~(uint32_t)SESSION_MULTI;
    session->flags |= SESSION_EXECUTING;
    transaction->go_on = go_on;
    bool is_refused;
    if (!exec_data_begin(call, &is_refused)) {
        struct reply head = {.out = &transaction->reply, .version = call->reply->version};
        reply_array(&head, transaction->count);
        go_on(call);
    } else if (is_refused) {
        transaction_discard(session);
    }
    measure_end_run(call->caller->service);
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

/* ---- WATCH ---- */

static void finish_watch(struct data_wait *wait, struct call *call)
{
    const struct partition_request *request = &wait->part[0].request;
    if (data_wait_failed(wait, call->reply)) { return; }
    for (uint32_t i = 0; i < request->check_count; i++) {
        const struct partition_check *check = &request->check[i];
        transaction_watch(call->caller->session, check->db, check->key, check->version);
    }
    reply_ok(call->reply);
}

static void free_watch(struct data_wait *wait)
{
    mem_free(wait->part[0].request.check);
    mem_free(wait->own);
}

/* Ask for the versions that the keys have. */
static void ask_versions(struct call *call, uint32_t partition)
{
    static const struct data_wait_ops ops = {.finish = finish_watch, .free = free_watch};
    uint16_t database = call->caller->session->database;
    struct data_wait *wait = data_wait_new(call, &ops, 1);
    struct partition_call *copy = data_call_copy(call->argv, call->argc, database);
    wait->own = copy;
    struct partition_request *request = &wait->part[0].request;
    request->ask = PARTITION_VERSIONS;
    request->partition = partition;
    request->check_count = call->argc - 1;
    request->check = mem_new0(request->check_count * sizeof *request->check);
    for (uint32_t i = 0; i < request->check_count; i++) {
        request->check[i] = (struct partition_check){.db = database, .key = copy->argv[i + 1]};
    }
    data_wait_begin(call, wait);
}

void cmd_watch(struct call *call)
{
    if (call->caller->session->flags & SESSION_MULTI) {
        reply_error(call->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!data_is_served(call)) { return; }
    struct data_place place;
    struct buf why = {0};
    enum data_route route = data_route(call->caller->broker, call->command, call->argv, call->argc,
                                       call->caller->session->database, &place, &why);
    if (route == DATA_ONE) {
        ask_versions(call, place.partition);
    } else {
        reply_error_slice(call->reply, buf_slice(&why));
    }
    buf_fini(&why);
}

void cmd_unwatch(struct call *call)
{
    transaction_unwatch(call->caller->session);
    reply_ok(call->reply);
}
