/* answers: the queue of tickets, and the lines that they become. */
#include "cmd/answers.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "cmd/backlog.h"
#include "cmd/error_stats.h"
#include "cmd/multi.h"
#include "cmd/service.h"
#include "cmd/session.h"
#include "cmd/waiting.h"

struct ticket {
    struct session *session; /* NULL: it has gone away */
    struct ticket *next;
    uint64_t receivers;
    uint32_t count; /* publishes in a row with this fate */
    uint16_t command;
    bool is_settled;
    bool is_silent; /* nothing is written */
    enum err err;
};

/* ---- lines ---- */

/* One line `count` times: to the client, or into the transaction's answer. */
static void write_lines(struct session *session, struct slice line, uint32_t count)
{
    if (!conn_is_open(&session->conn)) { return; }
    bool executes = session->flags & SESSION_EXECUTING;
    struct buf *out =
        executes ? multi_reply(session->extra->multi) : conn_reply_begin(&session->conn);
    char *at = buf_reserve(out, line.len * count);
    for (uint32_t i = 0; i < count; i++, at += line.len) {
        memcpy(at, line.data, line.len);
    }
    out->len += line.len * count;
    if (executes) { return; }
    conn_reply_end(&session->conn);
    if (UNLIKELY(session_backlog_bytes(session) > service_of(session)->options.watch_bytes)) {
        backlog_grew(session);
    }
}

static void write_receivers(struct session *session, uint64_t receivers, uint32_t count)
{
    char line[24] = ":";
    size_t len = 1 + uint64_to_text(receivers, line + 1);
    memcpy(line + len, "\r\n", 2);
    write_lines(session, slice_of(line, len + 2), count);
}

static void write_error(struct session *session, const struct ticket *ticket)
{
    const char *text = ticket->err == ERR_INDOUBT
                           ? "INDOUBT the owner of the channel died before it answered: the "
                             "message may have been delivered"
                           : err_wire(ticket->err);
    struct buf line = {0};
    buf_appendf(&line, "-%s\r\n", text);
    write_lines(session, buf_slice(&line), ticket->count);
    error_stats_add(buf_slice(&line), ticket->count);
    metric_family_add(METRIC_FAMILY_redis_commands_failed_calls_total, ticket->command,
                      ticket->count);
    buf_fini(&line);
}

static void write_ticket(struct session *session, const struct ticket *ticket)
{
    if (ticket->is_silent) { return; }
    if (ticket->err == ERR_OK) {
        write_receivers(session, ticket->receivers, ticket->count);
    } else {
        write_error(session, ticket);
    }
}

/* ---- the queue ---- */

bool answers_are_outstanding(const struct session *session)
{
    return session->extra != NULL && session->extra->answers.first != NULL;
}

static void count_more(struct session *session, uint32_t count)
{
    struct answers *answers = &session->extra->answers;
    answers->count += count;
    if (answers->count > ANSWERS_MAX) { session_await_answers(session); }
}

static struct ticket *add(struct session *session, uint32_t count)
{
    struct answers *answers = &session_extra(session)->answers;
    bool is_publish =
        session->command < COMMAND_COUNT && command_table[session->command].flags & CMD_PUBLISHES;
    struct ticket *ticket = mem_new(sizeof *ticket);
    *ticket = (struct ticket){
        .session = session,
        .count = count,
        .command = is_publish ? session->command : COMMAND_publish,
    };
    if (answers->first == NULL) {
        answers->first = ticket;
    } else {
        answers->last->next = ticket;
    }
    answers->last = ticket;
    count_more(session, count);
    return ticket;
}

/* All are answered: what waited for that goes on. */
static void on_drained(struct session *session)
{
    session->extra->answers.input_bytes = 0;
    if (session->flags & SESSION_EXECUTING) {
        waiting_done(session);
        return;
    }
    session->flags &= ~(uint32_t)SESSION_UNSETTLED;
    if (session->flags & SESSION_LEAVING) {
        conn_close_after_flush(&session->conn);
    } else {
        session_read_on(session);
    }
}

static void write_settled(struct session *session)
{
    struct answers *answers = &session->extra->answers;
    while (answers->first != NULL && answers->first->is_settled) {
        struct ticket *ticket = answers->first;
        answers->first = ticket->next;
        answers->count -= ticket->count;
        write_ticket(session, ticket);
        mem_free(ticket);
    }
    if (answers->first == NULL) { on_drained(session); }
}

void session_published(void *publisher, uint64_t receivers, uint32_t count)
{
    struct session *session = publisher;
    if (session == NULL) { return; }
    if (LIKELY(!answers_are_outstanding(session))) {
        write_receivers(session, receivers, count);
        return;
    }
    struct ticket *last = session->extra->answers.last;
    if (last->is_settled && !last->is_silent && last->err == ERR_OK &&
        last->receivers == receivers) {
        last->count += count;
        count_more(session, count);
        return;
    }
    struct ticket *ticket = add(session, count);
    ticket->is_settled = true;
    ticket->receivers = receivers;
}

void *session_deferred(void *publisher, uint32_t count, bool is_silent)
{
    if (publisher == NULL) { return NULL; }
    struct ticket *ticket = add(publisher, count);
    ticket->is_silent = is_silent;
    return ticket;
}

void session_settled(void *ticket_arg, enum err err, uint64_t receivers)
{
    struct ticket *ticket = ticket_arg;
    if (ticket == NULL) { return; }
    if (ticket->session == NULL) {
        mem_free(ticket);
        return;
    }
    CHECK(!ticket->is_settled);
    ticket->is_settled = true;
    ticket->err = err;
    ticket->receivers = receivers;
    write_settled(ticket->session);
}

void answers_count_input(struct session *session, size_t bytes)
{
    if (!answers_are_outstanding(session)) { return; }
    struct answers *answers = &session->extra->answers;
    answers->input_bytes += bytes;
    struct cluster *cluster = service_of(session)->broker->cluster;
    bool is_congested = cluster != NULL && cluster_is_congested(cluster);
    if (is_congested || answers->input_bytes > ANSWERS_INPUT_BYTES_MAX) {
        session_await_answers(session);
    }
}

void answers_forget(struct session *session)
{
    if (!answers_are_outstanding(session)) { return; }
    struct ticket *next;
    for (struct ticket *ticket = session->extra->answers.first; ticket != NULL; ticket = next) {
        next = ticket->next;
        ticket->session = NULL;
        if (ticket->is_settled) { mem_free(ticket); }
    }
    session->extra->answers = (struct answers){0};
}
