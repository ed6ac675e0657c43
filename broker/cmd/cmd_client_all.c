/* cmd_client_all: CLIENT LIST, KILL and UNBLOCK, which look at the clients of all workers. */
#include <stdlib.h>

#include "base/mem.h"
#include "cmd/caller.h"
#include "cmd/client_filter.h"
#include "cmd/client_line.h"
#include "session/bar.h"
#include "cmd/ask_workers.h"

/* ---- LIST ---- */

/* A client's line: bytes of `text`. */
struct line {
    uint64_t id;
    size_t from;
    size_t len;
};

struct list_question {
    struct client_filter filter;
    struct buf text;
    struct line *line;
    size_t count;
    size_t cap;
};

static void visit_list(void *arg, struct service *service)
{
    struct list_question *question = arg;
    LIST_EACH (link, &service->sessions.all) {
        const struct session *session = CONTAINER_OF(link, struct session, link);
        if (!client_filter_fits(&question->filter, session)) { continue; }
        if (question->count == question->cap) {
            question->cap = question->cap > 0 ? question->cap * 2 : 64;
            question->line = mem_resize(question->line, question->cap * sizeof *question->line);
        }
        size_t from = question->text.len;
        client_line_append(&question->text, session);
        question->line[question->count++] =
            (struct line){session->id, from, question->text.len - from};
    }
}

static int by_id(const void *a, const void *b)
{
    const struct line *left = a;
    const struct line *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static void finish_list(void *arg, struct call *call)
{
    struct list_question *question = arg;
    struct buf ordered = {0};
    if (question->count > 0) {
        qsort(question->line, question->count, sizeof *question->line, by_id);
    }
    for (size_t i = 0; i < question->count; i++) {
        const struct line *line = &question->line[i];
        buf_append(&ordered, slice_of(question->text.data + line->from, line->len));
    }
    reply_verbatim(call->reply, buf_slice(&ordered));
    buf_fini(&ordered);
}

static void free_list(void *arg)
{
    struct list_question *question = arg;
    client_filter_fini(&question->filter);
    buf_fini(&question->text);
    mem_free(question->line);
    mem_free(question);
}

void cmd_client_list(struct call *call)
{
    static const struct ask_ops ops = {visit_list, finish_list, free_list};
    struct list_question *question = mem_new0(sizeof *question);
    if (client_filter_parse_list(call, &question->filter)) {
        ask_workers(call, &ops, question);
    } else {
        free_list(question);
    }
}

/* ---- KILL ---- */

struct kill_question {
    struct client_filter filter;
    bool is_old_form; /* CLIENT KILL address: answers OK or an error, not a count */
    bool kills_caller;
    uint64_t count;
};

static void visit_kill(void *arg, struct service *service)
{
    struct kill_question *question = arg;
    LIST_EACH (link, &service->sessions.all) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        if (!client_filter_fits(&question->filter, session)) { continue; }
        question->count++;
        if (session->id == question->filter.caller_id) {
            question->kills_caller = true; /* once it has its answer */
        } else {
            conn_close(&session->conn);
            /* Whoever has the answer and publishes counts it no more, whatever its worker does meanwhile. */
            fanout_leave_ahead(service->fanout, &session->subscriber);
        }
    }
}

static void finish_kill(void *arg, struct call *call)
{
    const struct kill_question *question = arg;
    if (!question->is_old_form) {
        reply_int(call->reply, (int64_t)question->count);
    } else if (question->count > 0) {
        reply_ok(call->reply);
    } else {
        reply_error(call->reply, "ERR No such client");
    }
    if (question->kills_caller) { session_leave(call->caller->session); }
}

static void free_kill(void *arg)
{
    struct kill_question *question = arg;
    client_filter_fini(&question->filter);
    mem_free(question);
}

void cmd_client_kill(struct call *call)
{
    static const struct ask_ops ops = {visit_kill, finish_kill, free_kill};
    struct kill_question *question = mem_new0(sizeof *question);
    question->filter.caller_id = call->caller->session->id;
    question->is_old_form = call->argc == 3;
    question->filter.skips_caller = !question->is_old_form;
    bool is_good = true;
    if (question->is_old_form) {
        buf_append(&question->filter.address, call->argv[2]);
    } else {
        is_good = client_filter_parse_kill(call, &question->filter);
    }
    if (is_good) {
        ask_workers(call, &ops, question);
    } else {
        free_kill(question);
    }
}

/* ---- UNBLOCK ---- */

struct unblock_question {
    uint64_t id;
    enum wait_end why;
    bool is_found;
};

static void visit_unblock(void *arg, struct service *service)
{
    struct unblock_question *question = arg;
    LIST_EACH (link, &service->sessions.barred[BAR_COMMAND]) {
        const struct session *session =
            CONTAINER_OF(link, struct session_extra, wait.link)->session;
        if (session->id != question->id || !session_is_blocked(session)) { continue; }
        question->is_found = true;
        session->extra->wait.ops->interrupt(session->extra->wait.question, question->why);
    }
}

static void finish_unblock(void *arg, struct call *call)
{
    const struct unblock_question *question = arg;
    reply_int(call->reply, question->is_found);
}

void cmd_client_unblock(struct call *call)
{
    static const struct ask_ops ops = {visit_unblock, finish_unblock, mem_free};
    int64_t id;
    bool is_error = call->argc == 4 && slice_equal_nocase(call->argv[3], SLICE("error"));
    if (!slice_to_int64(call->argv[2], &id)) {
        reply_error(call->reply, "ERR value is not an integer or out of range");
    } else if (call->argc > 4) {
        reply_error(call->reply, "ERR wrong number of arguments for 'client|unblock' command");
    } else if (call->argc == 4 && !is_error &&
               !slice_equal_nocase(call->argv[3], SLICE("timeout"))) {
        reply_error(call->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else {
        struct unblock_question *question = mem_new0(sizeof *question);
        question->id = (uint64_t)id;
        question->why = is_error ? WAIT_UNBLOCKED : WAIT_TIMED_OUT;
        ask_workers(call, &ops, question);
    }
}
