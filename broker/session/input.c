/* input: parse, hand on, keep what is unfinished. */
#include "session/input.h"

#include "base/log.h"
#include "base/metrics.h"
#include "resp/resp_write.h"
#include "session/address.h"
#include "session/answers.h"
#include "session/bar.h"
#include "session/congestion.h"
#include "session/error_stats.h"
#include "session/limits.h"
#include "session/output.h"
#include "session/transaction.h"
#include "session/users.h"

enum { EXPECT_BYTES_MIN = 1 << 20, LARGE_ARG_BYTES = 64 << 10 };

static struct session *session_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct session, conn);
}

/* What may come before the password is bounded more tightly. */
static const struct resp_limits *limits_of(const struct session *session)
{
    const struct session_limits *limits = &sessions_of(session)->limits;
    return session_must_login(session) ? &resp_limits_unauthenticated : &limits->resp;
}

static void refuse_input(struct session *session, const char *text)
{
    struct reply reply = {.out = &sessions_of(session)->reply,
                          .version = session->subscriber.resp_version};
    reply_errorf(&reply, "ERR %s", text);
    error_stats_add(buf_slice(reply.out), 1);
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_INFO, "client closed", LOG_STR("reason", "protocol error"),
                LOG_STR("error", text), LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)));
    session_leave(session);
    session_answer(session, reply.out, false);
}

static void close_for_input(struct session *session, size_t bytes)
{
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_WARN, "client closed", LOG_STR("reason", "query-buffer-limit"),
                LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)), LOG_UINT("bytes", bytes),
                LOG_UINT("limit", sessions_of(session)->limits.query_bytes_max));
    metric_add(METRIC_clients_dropped_total, 1);
    conn_close(&session->conn);
}

/* Unread input, and commands queued by MULTI, which are input not yet run. */
static bool is_over_query_limit(struct session *session, size_t input_bytes)
{
    size_t queued_bytes = transaction_bytes(session);
    if (LIKELY(input_bytes + queued_bytes <= sessions_of(session)->limits.query_bytes_max)) {
        return false;
    }
    close_for_input(session, input_bytes + queued_bytes);
    return true;
}

/* Size the input for a large argument that is on its way; but nobody gets much more memory than he
 * has filled. */
static void expect_rest(struct session *session, size_t input_bytes, size_t request_bytes)
{
    size_t bytes_max = input_bytes * 4 > EXPECT_BYTES_MIN ? input_bytes * 4 : EXPECT_BYTES_MIN;
    bool is_large = request_bytes > input_bytes + LARGE_ARG_BYTES;
    size_t bytes = request_bytes < bytes_max ? request_bytes : bytes_max;
    conn_expect(&session->conn, is_large ? bytes : 0);
}

/* The request is not whole: keep the parser that has seen its beginning. */
static void await_rest(struct session *session, struct resp_parser *parser, size_t input_bytes)
{
    struct sessions *sessions = sessions_of(session);
    if (parser == sessions->parser) {
        session_extra(session)->parser = parser;
        sessions->parser = resp_parser_new();
    }
    if (!is_over_query_limit(session, input_bytes)) {
        expect_rest(session, input_bytes, resp_bytes_expected(parser));
    }
}

static bool may_run(const struct session *session)
{
    return conn_is_open(&session->conn) && session->bar == BAR_NONE &&
           !(session->flags & SESSION_LEAVING);
}

/* Parse and run what is there. Returns the bytes done with. */
static size_t run_requests(struct session *session, struct slice input)
{
    const struct session_ops *ops = sessions_of(session)->ops;
    size_t done = 0;
    while (done < input.len && may_run(session)) {
        bool has_own = session->extra != NULL && session->extra->parser != NULL;
        struct resp_parser *parser =
            has_own ? session->extra->parser : sessions_of(session)->parser;
        struct slice rest = slice_of(input.data + done, input.len - done);
        enum resp_status status = resp_parse(parser, rest, limits_of(session));
        if (status == RESP_INCOMPLETE) {
            await_rest(session, parser, rest.len);
            return done;
        }
        if (status == RESP_ERROR) {
            if (!session_settle(session)) {
                answers_await(session);
                return done;
            }
            refuse_input(session, resp_error_text(parser));
            return input.len;
        }
        size_t bytes = resp_bytes(parser);
        session->request_bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
        if (!ops->request(session, resp_argv(parser), resp_argc(parser))) { return done; }
        if (session->bar != BAR_COMMAND) { session->request_bytes = 0; }
        done += bytes;
    }
    return done;
}

static void greet(struct session *session)
{
    const struct session_ops *ops = sessions_of(session)->ops;
    if (session->flags & SESSION_GREETED) { return; }
    session->flags |= SESSION_GREETED;
    if (ops->greet != NULL) { ops->greet(session); }
}

size_t session_on_data(struct conn *conn, struct slice input)
{
    struct session *session = session_of(conn);
    struct sessions *sessions = sessions_of(session);
    limits_refresh(sessions);
    users_refresh(sessions);
    session->active_s = sessions->now_s;
    if (UNLIKELY(conn->tls != NULL)) { greet(session); }
    if (UNLIKELY(session->flags & SESSION_MULTI) && is_over_query_limit(session, input.len)) {
        return input.len;
    }
    size_t done = run_requests(session, input);
    sessions->ops->input_done(sessions);
    answers_count_input(session, done);
    if (session->flags & SESSION_LOADS) { congestion_consider(session); }
    if (done == input.len && session->extra != NULL) { /* nothing is unfinished */
        resp_parser_free(session->extra->parser);
        session->extra->parser = NULL;
    }
    return done;
}

/* It has sent all that it will, and all of it has been begun. */
void session_on_end(struct conn *conn)
{
    struct session *session = session_of(conn);
    session_leave(session);
    if (session_settle(session)) { session_try_to_leave(session); } /* else when all are answered */
}

/* What was sent before the end is answered even so, but for a command that waits for a pause to end; and who blocks is
 * gone: nothing is to be taken for him. */
void session_on_end_ahead(struct conn *conn)
{
    struct session *session = session_of(conn);
    if (session->bar == BAR_PAUSE) { session_on_end(conn); }
    if (session_is_blocked(session)) { conn_close(conn); }
}
