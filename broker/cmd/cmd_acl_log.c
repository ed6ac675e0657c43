/* cmd_acl_log: ACL LOG: of this node, or, where users are the cluster's, of all members that are up. */
#include <stdlib.h>

#include "acl/acl.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/caller.h"
#include "cmd/refusals.h"

enum { ENTRIES_DEFAULT = 10, FIELDS = 10 };

struct log_question {
    struct session *session; /* NULL: it has gone away */
    bool is_over;
    struct cluster_log_ask asked;
};

/* ---- the reply ---- */

static const char *reason_of(uint64_t reason)
{
    static const char *const word[] = {
        [ACL_NO_COMMAND] = "command",      [ACL_NO_KEY] = "key",
        [ACL_NO_CHANNEL] = "channel",      [ACL_NO_AUTH] = "auth",
        [ACL_NO_CERTIFICATE] = "tls-cert",
    };
    return reason > ACL_ALLOWED && reason < COUNT_OF(word) ? word[reason] : "unknown";
}

/* With the node's name behind it where it is one of several. */
static void write_refusal(struct reply *reply, const struct cluster_refusal *refusal, bool has_node)
{
    uint64_t now_ms = clock_wall_us() / 1000;
    uint64_t age_ms = now_ms > refusal->created_ms ? now_ms - refusal->created_ms : 0;
    reply_map(reply, FIELDS + has_node);
    reply_bulk_str(reply, "count");
    reply_int(reply, (int64_t)refusal->count);
    reply_bulk_str(reply, "reason");
    reply_bulk_str(reply, reason_of(refusal->reason));
    reply_bulk_str(reply, "context");
    reply_bulk(reply, refusal->context);
    reply_bulk_str(reply, "object");
    reply_bulk(reply, refusal->object);
    reply_bulk_str(reply, "username");
    reply_bulk(reply, refusal->user);
    reply_bulk_str(reply, "age-seconds");
    reply_double(reply, (double)age_ms / 1000.0);
    reply_bulk_str(reply, "client-info");
    reply_bulk(reply, refusal->client);
    reply_bulk_str(reply, "entry-id");
    reply_int(reply, (int64_t)refusal->id);
    reply_bulk_str(reply, "timestamp-created");
    reply_int(reply, (int64_t)refusal->created_ms);
    reply_bulk_str(reply, "timestamp-last-updated");
    reply_int(reply, (int64_t)refusal->updated_ms);
    if (!has_node) { return; }
    reply_bulk_str(reply, "node");
    reply_bulk_str(reply, refusal->node);
}

/* ---- of this node ---- */

static void begin_own(void *arg, uint32_t count)
{
    reply_array(arg, count);
}

static void write_own(void *arg, const struct acl_log_entry *entry)
{
    const struct cluster_refusal refusal = refusal_of(entry);
    write_refusal(arg, &refusal, false);
}

static void answer_own(struct call *call, bool forgets, uint32_t limit)
{
    struct acl_log *log = acl_log(call->caller->broker->acl);
    const struct acl_log_visitor visitor = {begin_own, write_own, call->reply};
    if (forgets) {
        acl_log_clear(log);
        reply_ok(call->reply);
    } else {
        acl_log_each(log, limit, &visitor);
    }
}

/* ---- of all ---- */

static void question_free(struct log_question *question)
{
    cluster_log_ask_fini(&question->asked);
    mem_free(question);
}

static int newest_first(const void *a, const void *b)
{
    const struct cluster_refusal *left = a;
    const struct cluster_refusal *right = b;
    return (left->updated_ms < right->updated_ms) - (left->updated_ms > right->updated_ms);
}

static void finish(void *arg, struct call *call)
{
    struct log_question *question = arg;
    struct cluster_log_ask *asked = &question->asked;
    if (asked->err != ERR_OK) {
        reply_error(call->reply,
                    "CLUSTERDOWN Some node does not tell what it has refused, or cannot be asked");
    } else if (asked->forgets) {
        reply_ok(call->reply);
    } else {
        if (asked->count > 0) {
            qsort(asked->refusal, asked->count, sizeof *asked->refusal, newest_first);
        }
        uint32_t count = asked->count < asked->limit ? asked->count : asked->limit;
        reply_array(call->reply, count);
        for (uint32_t i = 0; i < count; i++) {
            write_refusal(call->reply, &asked->refusal[i], true);
        }
    }
    question_free(question);
}

/* Until the answers are there, it belongs to the cluster; then it goes. */
static void forget_session(void *arg)
{
    struct log_question *question = arg;
    question->session = NULL;
    if (question->is_over) { question_free(question); }
}

static void on_done(struct cluster_log_ask *asked)
{
    struct log_question *question = CONTAINER_OF(asked, struct log_question, asked);
    question->is_over = true;
    if (question->session == NULL) {
        question_free(question);
    } else {
        wait_over(question->session);
    }
}

static void ask_all(struct call *call, bool forgets, uint32_t limit)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget_session};
    struct log_question *question = mem_new0(sizeof *question);
    question->session = call->caller->session;
    question->asked =
        (struct cluster_log_ask){.forgets = forgets, .limit = limit, .on_done = on_done};
    call_wait(call, &ops, question);
    cluster_ask_log(call->caller->broker->cluster, worker_index(call->caller->service->worker),
                    &question->asked);
}

void cmd_acl_log(struct call *call)
{
    int64_t count = ENTRIES_DEFAULT;
    bool forgets = call->argc == 3 && slice_equal_nocase(call->argv[2], SLICE("reset"));
    if (call->argc > 3) {
        reply_errorf(
            call->reply,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
            SLICE_ARG(call->argv[1]));
    } else if (call->argc == 3 && !forgets && !slice_to_int64(call->argv[2], &count)) {
        reply_error(call->reply, "ERR value is not an integer or out of range");
    } else {
        uint32_t limit = (uint32_t)(count < 0 ? 0 : count < UINT32_MAX ? count : UINT32_MAX);
        bool is_agreed = acl_is_agreed(call->caller->broker->acl);
        (is_agreed ? ask_all : answer_own)(call, forgets, limit);
    }
}
