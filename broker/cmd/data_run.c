/* data_run: a read at once if nothing of the session is in flight, else asked for; its answer has a ticket in the session's
 * queue (session/answers.h). */
#include "cmd/data_run.h"

#include <string.h>

#include "acl/acl_user.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/commands.h"
#include "cmd/blocked.h"
#include "cmd/caller.h"
#include "cmd/data_route.h"
#include "cmd/data_wait.h"
#include "cmd/measure.h"
#include "cmd/script_publishes.h"
#include "cmd/script_rights.h"
#include "data/data_script.h"
#include "session/answers.h"
#include "session/error_stats.h"

/* A command in flight. */
struct asked {
    struct partition_request request;
    struct partition_call *call;
    struct service *service;
    struct ticket *ticket;
    uint64_t began_ns;
    uint32_t command;
    uint32_t added; /* words before the client's own */
};

static bool is_error(const struct buf *reply)
{
    return reply->len > 0 && reply->data[0] == '-';
}

/* It has taken so long as its client has waited: for a write, until a majority had it on disk. */
static void measure(const struct asked *asked)
{
    const struct buf *reply = &asked->request.reply;
    if (UNLIKELY(is_error(reply))) {
        error_stats_add(buf_slice(reply), 1);
        metric_family_add(METRIC_FAMILY_redis_commands_failed_calls_total, asked->command, 1);
    }
    const struct caller caller = {answers_asker(asked->ticket), asked->service,
                                  asked->service->broker};
    const struct call call = {.command = &command_table[asked->command],
                              .argc = asked->call->argc - asked->added,
                              .argv = asked->call->argv + asked->added,
                              .caller = &caller,
                              .began_ns = asked->began_ns};
    measure_deferred(&call);
}

static void on_done(struct partition_request *request)
{
    struct asked *asked = CONTAINER_OF(request, struct asked, request);
    if (UNLIKELY(request->err != ERR_OK)) {
        request->reply.len = 0;
        struct reply reply = {.out = &request->reply, .version = request->resp_version};
        data_write_error(&reply, request->err);
    }
    struct slice answer = buf_slice(&request->reply);
    script_publishes(asked->service, &answer);
    request->reply.len = answer.len;
    measure(asked);
    answers_tell(asked->ticket, &request->reply);
    buf_fini(&request->reply);
    mem_free(request->reply_end);
    mem_free(asked->call);
    mem_free(asked);
}

/* Commands that write, but do so only with STORE: else they are no work for the log and all replicas. */
static bool writes(const struct call *call)
{
    static const char *const storing[] = {"sort", "georadius", "georadiusbymember"};
    if (!command_is_logged(call->command)) { return false; }
    bool may_read = false;
    for (size_t i = 0; i < COUNT_OF(storing); i++) {
        may_read = may_read || strcmp(call->command->name, storing[i]) == 0;
    }
    for (uint32_t i = 2; may_read && i < call->argc; i++) {
        bool stores = slice_equal_nocase(call->argv[i], SLICE("store")) ||
                      slice_equal_nocase(call->argv[i], SLICE("storedist"));
        may_read = !stores;
    }
    return !may_read;
}

/* A read behind writes that are in flight must see those, and none that follow it. A small one is executed among them, in
 * its place; a larger one is answered from the partition's state, and the session's next write waits for it. */
static bool is_plain_read(const struct call *call)
{
    bool reads = !writes(call);
    bool is_behind_writes = answers_are_outstanding(call->caller->session);
    return reads && !(is_behind_writes && call->command->flags & CMD_FAST);
}

/* The call's words, and before them what they go with. */
static void copy_words(struct asked *asked, const struct call *call)
{
    const struct session *session = call->caller->session;
    const struct acl_user *user = script_rights_user(session, call->command);
    if (LIKELY(user == NULL)) {
        asked->call = data_call_copy(call->argv, call->argc, session->database);
        return;
    }
    struct buf rights = {0};
    asked->added = DATA_SCRIPT_AS_WORDS;
    struct slice *words = mem_new((call->argc + asked->added) * sizeof *words);
    acl_user_print_rights(user, &rights);
    script_rights_add(words, buf_slice(&rights), call->argv, call->argc);
    asked->call = data_call_copy(words, call->argc + asked->added, session->database);
    mem_free(words);
    buf_fini(&rights);
}

static void ask(struct call *call, uint32_t partition)
{
    struct session *session = call->caller->session;
    bool reads = is_plain_read(call);
    struct asked *asked = mem_new0(sizeof *asked);
    copy_words(asked, call);
    asked->service = call->caller->service;
    asked->began_ns = call->began_ns > 0 ? call->began_ns : clock_mono_ns();
    asked->command = command_id(call->command);
    asked->request = (struct partition_request){
        .ask = reads ? PARTITION_READ : PARTITION_WRITE,
        .partition = partition,
        .resp_version = call->reply->version,
        .call = asked->call,
        .call_count = 1,
        .on_done = on_done,
    };
    asked->ticket = answers_ask(session, partition, reads);
    call->is_deferred = true;
    commands_ask(asked->service->sessions.commands, &asked->request);
}

/* False: it has to be asked. */
static bool read_at_once(struct call *call, uint32_t partition)
{
    const struct partition_call inner = {
        .db = call->caller->session->database, .argc = call->argc, .argv = call->argv};
    struct partition_request request = {
        .ask = PARTITION_READ,
        .partition = partition,
        .resp_version = call->reply->version,
        .call = &inner,
        .call_count = 1,
        .reply = *call->reply->out,
    };
    size_t before = request.reply.len;
    bool is_read = commands_read(call->caller->service->sessions.commands, &request);
    *call->reply->out = request.reply;
    if (!is_read) {
        CHECK(request.reply.len == before);
    } else if (UNLIKELY(request.err != ERR_OK)) {
        data_write_error(call->reply, request.err);
    } else if (UNLIKELY(request.reply.data[before] == '-')) {
        call->reply->error_count++;
    }
    return is_read;
}

void data_run(struct call *call, uint32_t partition)
{
    struct session *session = call->caller->session;
    bool reads = !command_is_logged(call->command);
    bool is_done = reads && !(session->flags & SESSION_ASKED) && read_at_once(call, partition);
    if (!is_done) { ask(call, partition); }
}

bool data_is_served(struct call *call)
{
    if (LIKELY(call->caller->service->sessions.commands != NULL)) { return true; }
    reply_error(call->reply, "CLUSTERDOWN this node does not serve keys");
    return false;
}

bool data_joins(const struct call *call)
{
    const struct session *session = call->caller->session;
    if (session->flags & SESSION_PUBLISHED || blocked_may_wait(call)) { return false; }
    if (!answers_are_outstanding(session)) { return true; }
    if (session->extra->answers.has_read && !is_plain_read(call)) { return false; }
    struct data_place place;
    struct buf why = {0};
    enum data_route route = data_route(call->caller->broker, call->command, call->argv, call->argc,
                                       session->database, &place, &why);
    buf_fini(&why);
    return route == DATA_ONE && place.partition == session->extra->answers.partition;
}
