/* blocked: park, wait, end: by an answer, by time, by CLIENT UNBLOCK, by the client's end. */
#include "cmd/blocked.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/commands.h"
#include "cmd/caller.h"
#include "cmd/data_wait.h"
#include "cmd/permission.h"
#include "config/config.h"
#include "partition/lent.h"
#include "session/users.h"

/* Asked first for a command that parks, then for one that puts back what it took. */
struct blocked {
    struct partition_request request;
    struct partition_call *call;
    uint32_t *wait_key;
    struct session *session; /* NULL: it has gone, and this is a debt of the service */
    struct service *service;
    struct worker_timer timer;
    uint64_t until_ns; /* 0: for ever */
    uint32_t command;
    bool is_answered;
    bool is_unparked; /* partition_unpark was asked for */
    bool is_owed;     /* that its answer has been handed over: `origin` */
    struct partition_request origin;
    struct handed_over handed_over;
    enum wait_end why;
};

static void blocked_free(struct blocked *blocked)
{
    if (blocked->is_owed) {
        commands_confirm(blocked->service->sessions.commands, &blocked->origin);
    }
    if (blocked->session == NULL) { service_debt_left(blocked->service); }
    worker_timer_cancel(&blocked->timer);
    buf_fini(&blocked->request.reply);
    mem_free(blocked->request.reply_end);
    mem_free(blocked->wait_key);
    mem_free(blocked->call);
    mem_free(blocked);
}

/* ---- what was taken for nobody ---- */

static void on_put_back(struct partition_request *request)
{
    struct blocked *blocked = CONTAINER_OF(request, struct blocked, request);
    bool is_error =
        request->err != ERR_OK || (request->reply.len > 0 && request->reply.data[0] == '-');
    if (is_error) {
        LOG_WARN("an element that was taken for a client that has gone is lost",
                 LOG_STR("command", command_full_names[blocked->command]),
                 LOG_STR("why", request->err != ERR_OK ? err_word(request->err)
                                                       : "the key has another type now"));
    }
    blocked_free(blocked);
}

/* NULL: nothing was taken. */
static struct partition_call *undo_of(const struct blocked *blocked)
{
    const struct partition_request *request = &blocked->request;
    bool has_taken = request->err == ERR_OK && !request->is_unparked;
    struct lent_words words = {0};
    struct partition_call *undo = NULL;
    if (has_taken && lent_undo(lent_by(blocked->call), buf_slice(&request->reply), &words)) {
        undo = data_call_copy(words.word, words.count, blocked->call->db);
    }
    lent_words_fini(&words);
    return undo;
}

/* The command ended without its client. Takes: blocked. */
static void put_back(struct blocked *blocked)
{
    struct partition_request *request = &blocked->request;
    struct partition_call *undo = undo_of(blocked);
    if (undo == NULL) {
        blocked_free(blocked);
        return;
    }
    uint32_t partition = request->partition;
    buf_fini(&request->reply);
    mem_free(request->reply_end);
    mem_free(blocked->call);
    blocked->call = undo;
    *request = (struct partition_request){
        .ask = PARTITION_WRITE,
        .partition = partition,
        .resp_version = 2,
        .call = undo,
        .call_count = 1,
        .on_done = on_put_back,
    };
    commands_ask(blocked->service->sessions.commands, request);
}

/* ---- the wait ---- */

static void on_answer(struct partition_request *request)
{
    struct blocked *blocked = CONTAINER_OF(request, struct blocked, request);
    worker_timer_cancel(&blocked->timer);
    blocked->is_answered = true;
    blocked->is_owed = request->is_lent && request->err == ERR_OK && !request->is_unparked;
    blocked->origin =
        (struct partition_request){.partition = request->partition, .origin = request->origin};
    if (blocked->session == NULL) {
        put_back(blocked);
        return;
    }
    metric_sub(METRIC_redis_blocked_clients, 1);
    if (conn_peer_has_left(&blocked->session->conn)) {
        conn_close(&blocked->session->conn); /* and then it is forgotten */
    } else {
        wait_over(blocked->session);
    }
}

/* Whose time is up is told that it found nothing by whoever leads; others need not be told. */
static void unpark(struct blocked *blocked, bool is_asked)
{
    if (blocked->is_answered) { return; }
    blocked->is_unparked = true;
    worker_timer_cancel(&blocked->timer);
    commands_unpark(blocked->service->sessions.commands, &blocked->request, is_asked);
}

static void on_due(struct worker_timer *timer);

/* The loop's clock may be a little behind: never early. */
static void await_end(struct blocked *blocked)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t wait_ns = blocked->until_ns > now_ns ? blocked->until_ns - now_ns : 0;
    worker_timer_start(blocked->service->worker, &blocked->timer,
                       (wait_ns + NS_PER_MS - 1) / NS_PER_MS, on_due);
}

static void on_due(struct worker_timer *timer)
{
    struct blocked *blocked = CONTAINER_OF(timer, struct blocked, timer);
    if (clock_mono_ns() < blocked->until_ns) {
        await_end(blocked);
        return;
    }
    blocked->why = WAIT_TIMED_OUT;
    unpark(blocked, true);
}

static bool is_allowed(const struct blocked *blocked)
{
    return !permission_would_lack(session_user(blocked->session), &command_table[blocked->command],
                                  blocked->call->argv, blocked->call->argc);
}

static void interrupt(void *question, enum wait_end why)
{
    struct blocked *blocked = question;
    if (blocked->is_answered || blocked->is_unparked) { return; }
    if (why == WAIT_REVIEWED && is_allowed(blocked)) { return; }
    blocked->why = why;
    unpark(blocked, why == WAIT_TIMED_OUT);
}

/* Allowed again meanwhile: as if its time were up. */
static void answer_reviewed(const struct blocked *blocked, struct call *call)
{
    call->argv = blocked->call->argv;
    call->argc = blocked->call->argc;
    if (!permission_lacks(call, "toplevel")) { reply_null_array(call->reply); }
}

static void on_handed_over(struct handed_over *handed_over)
{
    blocked_free(CONTAINER_OF(handed_over, struct blocked, handed_over));
}

static void finish(void *question, struct call *call)
{
    struct blocked *blocked = question;
    struct partition_request *request = &blocked->request;
    if (request->err != ERR_OK) {
        data_write_error(call->reply, request->err);
    } else if (request->is_unparked && blocked->why == WAIT_UNBLOCKED) {
        reply_error(call->reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    } else if (request->is_unparked && blocked->why == WAIT_REVIEWED) {
        answer_reviewed(blocked, call);
    } else if (request->is_unparked) {
        reply_null_array(call->reply);
    } else {
        call->reply->error_count += request->reply.data[0] == '-';
        buf_append(call->reply->out, buf_slice(&request->reply));
    }
    if (blocked->is_owed) {
        blocked->handed_over.run = on_handed_over;
        list_push_back(&blocked->service->handed_over, &blocked->handed_over.link);
    } else {
        blocked_free(blocked);
    }
}

static void forget(void *question)
{
    struct blocked *blocked = question;
    blocked->session = NULL;
    service_debt_came(blocked->service);
    if (blocked->is_answered) {
        put_back(blocked);
        return;
    }
    metric_sub(METRIC_redis_blocked_clients, 1);
    unpark(blocked, false);
}

/* Its place in the queue: later than all that this worker has given before. */
static uint64_t next_ticket(struct service *service)
{
    uint64_t now_us = clock_wall_us();
    service->last_ticket = now_us > service->last_ticket ? now_us : service->last_ticket + 1;
    return service->last_ticket;
}

/* The keys of the first rule; of those of the second one, where something goes, nothing is waited for. */
static void set_wait_keys(struct blocked *blocked)
{
    const struct partition_call *call = blocked->call;
    struct key_range range;
    bool has_keys =
        key_rule_find(&command_table[blocked->command].keys[0], call->argv, call->argc, &range) &&
        range.count > 0;
    if (!has_keys) { return; } /* the handler refuses it */
    blocked->wait_key = mem_new(range.count * sizeof *blocked->wait_key);
    for (uint32_t i = 0; i < range.count; i++) {
        blocked->wait_key[i] = range.first + i * range.step;
    }
    blocked->request.wait_key = blocked->wait_key;
    blocked->request.wait_key_count = range.count;
}

void blocked_begin(struct call *call, const struct slice *argv, uint32_t partition,
                   uint64_t timeout_ms)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget, .interrupt = interrupt};
    struct service *service = call->caller->service;
    struct blocked *blocked = mem_new0(sizeof *blocked);
    blocked->call = data_call_copy(argv != NULL ? argv : call->argv, call->argc,
                                   call->caller->session->database);
    blocked->session = call->caller->session;
    blocked->service = service;
    blocked->command = command_id(call->command);
    blocked->request = (struct partition_request){
        .ask = PARTITION_PARK,
        .partition = partition,
        .resp_version = call->reply->version,
        .call = blocked->call,
        .call_count = 1,
        .ticket = next_ticket(service),
        .on_done = on_answer,
    };
    set_wait_keys(blocked);
    blocked->request.is_lent = lent_by(blocked->call) != LENT_NOTHING &&
                               config_number(call->caller->broker->config, CONFIG_return_lost_pops);
    if (timeout_ms > 0) {
        uint64_t ms_max = (UINT64_MAX / 2 - clock_mono_ns()) / NS_PER_MS;
        blocked->until_ns =
            clock_mono_ns() + (timeout_ms < ms_max ? timeout_ms : ms_max) * NS_PER_MS;
        await_end(blocked);
    }
    metric_add(METRIC_redis_blocked_clients, 1);
    call_wait(call, &ops, blocked);
    commands_ask(service->sessions.commands, &blocked->request);
}
