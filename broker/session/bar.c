/* bar: stop, go on, leave. */
#include "session/bar.h"

#include "base/metrics.h"

/* The gauge of those who wait for a reason; 0: it has none. */
static void count(enum session_bar bar, uint64_t by)
{
    switch (bar) {
    case BAR_CONGESTION: metric_add(METRIC_publishers_held, by); break;
    case BAR_PAUSE: metric_add(METRIC_redis_blocked_clients, by); break;
    case BAR_NONE:
    case BAR_COMMAND:
    case BAR_ANSWERS:
    case BARS: break;
    }
}

void session_bar(struct session *session, enum session_bar bar)
{
    CHECK(session->bar == BAR_NONE && bar != BAR_NONE);
    session->bar = (uint8_t)bar;
    list_push_back(&sessions_of(session)->barred[bar], &session_extra(session)->wait.link);
    count(bar, 1);
    conn_pause(&session->conn);
}

void session_lift(struct session *session)
{
    CHECK(session->bar != BAR_NONE);
    list_remove(&session->extra->wait.link);
    count((enum session_bar)session->bar, UINT64_MAX); /* one less */
    session->bar = BAR_NONE;
}

void session_go_on(struct session *session)
{
    if (session->bar != BAR_NONE) { return; }
    if (session->flags & SESSION_LEAVING) {
        session_try_to_leave(session);
    } else if (answers_are_too_many(session)) {
        session_bar(session, BAR_ANSWERS);
    } else {
        conn_resume(&session->conn);
    }
}

void session_unbar(struct session *session, enum session_bar bar)
{
    CHECK(session->bar == bar);
    session_lift(session);
    session_go_on(session);
}

void sessions_unbar(struct sessions *sessions, enum session_bar bar)
{
    LIST_EACH (link, &sessions->barred[bar]) {
        const struct session_extra *extra = CONTAINER_OF(link, struct session_extra, wait.link);
        session_unbar(extra->session, bar);
    }
}

void session_bar_forget(struct session *session)
{
    if (session->bar != BAR_NONE) { session_lift(session); }
}

void session_leave(struct session *session)
{
    session->flags |= SESSION_LEAVING;
}

void session_try_to_leave(struct session *session)
{
    enum { GOES_ON = SESSION_LEAVING | SESSION_POSTPONES }; /* what is postponed still comes */
    if (LIKELY((session->flags & GOES_ON) != SESSION_LEAVING)) { return; }
    if (session->bar == BAR_COMMAND || answers_are_outstanding(session)) { return; }
    conn_close_after_flush(&session->conn);
}
