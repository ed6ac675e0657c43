/* answers: the queue of tickets, and the lines or bytes that they become. */
#include "session/answers.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "cluster/commands.h"
#include "session/backlog.h"
#include "session/bar.h"
#include "session/error_stats.h"
#include "session/output.h"
#include "session/transaction.h"
#include "session/wait.h"

struct ticket {
    struct session *session; /* NULL: it has gone away */
    struct ticket *next;
    uint64_t receivers;
    uint32_t count; /* publishes in a row with this fate */
    uint16_t command;
    bool is_settled;
    bool is_silent; /* nothing is written */
    bool is_bytes;  /* a command's answer, not a number of receivers */
    enum err err;
    struct buf bytes;
};

/* ---- lines ---- */

/* One line `count` times: to the client, or into the transaction's answer. */
static void write_lines(struct session *session, struct slice line, uint32_t count)
{
    if (!conn_is_open(&session->conn)) { return; }
    bool executes = session->flags & SESSION_EXECUTING;
    struct buf *out =
        executes ? &session->extra->transaction->reply : conn_reply_begin(&session->conn);
    char *at = buf_reserve(out, line.len * count);
    for (uint32_t i = 0; i < count; i++, at += line.len) {
        memcpy(at, line.data, line.len);
    }
    out->len += line.len * count;
    if (executes) { return; }
    conn_reply_end(&session->conn);
    if (UNLIKELY(session_backlog_bytes(session) > sessions_of(session)->limits.lag_bytes)) {
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

static void write_ticket(struct session *session, struct ticket *ticket)
{
    if (ticket->is_silent) { return; }
    if (ticket->is_bytes) {
        session_send(session, &ticket->bytes);
    } else if (ticket->err == ERR_OK) {
        write_receivers(session, ticket->receivers, ticket->count);
    } else {
        write_error(session, ticket);
    }
}

/* ---- the queue ---- */

static void ticket_free(struct ticket *ticket)
{
    buf_fini(&ticket->bytes);
    mem_free(ticket);
}

void answers_await(struct session *session)
{
    if (session->bar == BAR_NONE) { session_bar(session, BAR_ANSWERS); }
}

/* EXEC waits for its answers itself when it has come to its end. */
static void bound(struct session *session)
{
    if (UNLIKELY(answers_are_too_many(session)) && !(session->flags & SESSION_EXECUTING)) {
        answers_await(session);
    }
}

static void count_more(struct session *session, uint32_t count)
{
    session->extra->answers.count += count;
    bound(session);
}

static struct ticket *add(struct session *session, uint32_t count)
{
    struct answers *answers = &session_extra(session)->answers;
    struct ticket *ticket = mem_new(sizeof *ticket);
    *ticket = (struct ticket){
        .session = session,
        .count = count,
        .command = session->command,
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

/* What waited for that goes on. */
static void on_all_answered(struct session *session)
{
    session->extra->answers.input_bytes = 0;
    session->extra->answers.has_read = false;
    session->flags &= ~(uint32_t)SESSION_ASKED;
    if (session->bar == BAR_ANSWERS) {
        session_unbar(session, BAR_ANSWERS);
    } else if (session->flags & SESSION_EXECUTING) {
        wait_over(session);
    } else {
        session_try_to_leave(session);
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
        ticket_free(ticket);
    }
    if (answers->first == NULL) { on_all_answered(session); }
}

struct ticket *answers_ask(struct session *session, uint32_t partition, bool is_read)
{
    bool is_silent = session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIPPING);
    session->flags |= SESSION_ASKED;
    struct ticket *ticket = add(session, 1);
    session->extra->answers.partition = partition;
    session->extra->answers.has_read |= is_read;
    ticket->is_bytes = true;
    ticket->is_silent = is_silent;
    return ticket;
}

void answers_tell(struct ticket *ticket, struct buf *answer)
{
    struct session *session = ticket->session;
    if (session == NULL) {
        mem_free(ticket);
        return;
    }
    if (session->extra->answers.first != ticket) { /* it waits for those before it */
        ticket->bytes = *answer;
        *answer = (struct buf){0};
        ticket->is_settled = true;
        return;
    }
    session->extra->answers.first = ticket->next;
    session->extra->answers.count -= ticket->count;
    if (!ticket->is_silent) { session_send(session, answer); }
    mem_free(ticket);
    write_settled(session);
}

struct session *answers_asker(const struct ticket *ticket)
{
    return ticket->session;
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
    session->extra->answers.input_bytes += bytes;
    struct cluster *cluster = *sessions_of(session)->cluster;
    struct commands *commands = sessions_of(session)->commands;
    bool is_congested = session->flags & SESSION_ASKED
                            ? commands_are_congested(commands)
                            : cluster != NULL && cluster_is_congested(cluster);
    if ((is_congested || answers_are_too_many(session)) && !(session->flags & SESSION_EXECUTING)) {
        answers_await(session);
    }
}

void answers_forget(struct session *session)
{
    if (!answers_are_outstanding(session)) { return; }
    struct ticket *next;
    for (struct ticket *ticket = session->extra->answers.first; ticket != NULL; ticket = next) {
        next = ticket->next;
        ticket->session = NULL;
        if (ticket->is_settled) { ticket_free(ticket); }
    }
    session->extra->answers = (struct answers){0};
}

bool session_settle(struct session *session)
{
    enum { IN_FLIGHT = SESSION_PUBLISHED | SESSION_ASKED };
    if (LIKELY(!(session->flags & IN_FLIGHT))) { return true; }
    if (session->flags & SESSION_PUBLISHED) { fanout_commit(sessions_of(session)->fanout); }
    if (UNLIKELY(answers_are_outstanding(session))) { return false; }
    session->flags &= ~(uint32_t)IN_FLIGHT;
    return true;
}
