/* sessions: set up, turn, tick, the end of all. */
#include "session/sessions.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "session/answers.h"
#include "session/backlog.h"
#include "session/bar.h"
#include "session/congestion.h"
#include "session/input.h"
#include "session/life.h"
#include "session/limits.h"
#include "session/output.h"
#include "session/strangers.h"
#include "session/users.h"
#include "session/wait.h"

enum { TICKS_PER_WALK = 10 }; /* every session is looked at about once a second */

/* ---- set up ---- */

static void on_changed(void *waiter, enum err err)
{
    struct session_change *change = waiter;
    change->on_changed(change, err);
}

const struct fanout_ops session_fanout_ops = {.deliver = session_deliver,
                                              .published = session_published,
                                              .deferred = session_deferred,
                                              .settled = session_settled,
                                              .changed = on_changed,
                                              .dropped = session_dropped,
                                              .interrupted = session_interrupted};

void sessions_init(struct sessions *sessions)
{
    sessions->conn_ops = (struct conn_ops){.on_data = session_on_data,
                                           .on_close = session_on_close,
                                           .on_end = session_on_end,
                                           .on_end_ahead = session_on_end_ahead};
    sessions->limits.config_version = UINT64_MAX; /* none yet */
    sessions->parser = resp_parser_new();
    sessions->now_s = (uint32_t)(clock_mono_ns() / NS_PER_S);
    list_init(&sessions->all);
    list_init(&sessions->over);
    list_init(&sessions->lagging);
    list_init(&sessions->strangers);
    list_init(&sessions->monitors);
    for (unsigned bar = 0; bar < BARS; bar++) {
        list_init(&sessions->barred[bar]);
    }
    limits_refresh(sessions);
    users_refresh(sessions);
}

void sessions_fini(struct sessions *sessions)
{
    CHECK(list_is_empty(&sessions->all));
    resp_parser_free(sessions->parser);
    buf_fini(&sessions->reply);
    acl_users_unref(sessions->users);
}

/* ---- the turn ---- */

void sessions_before_flush(struct sessions *sessions)
{
    if (UNLIKELY(!list_is_empty(&sessions->over))) { wait_turn_end(sessions); }
}

void sessions_after_flush(struct sessions *sessions)
{
    congestion_turn_end(sessions);
    sessions->now_s = (uint32_t)(worker_now_ns(sessions->worker) / NS_PER_S);
}

bool sessions_are_idle(struct sessions *sessions)
{
    return list_is_empty(&sessions->over) && !congestion_is_over(sessions);
}

/* Close clients that have been silent for too long; never subscribers, nor those that we keep
 * waiting. */
static void close_if_silent(struct session *session, uint64_t timeout_s)
{
    uint32_t silent_s = sessions_of(session)->now_s - session->active_s;
    bool is_leaving = !conn_is_open(&session->conn);
    bool may_be_silent = (subscriber_total(&session->subscriber) > 0 && !is_leaving) ||
                         session->bar != BAR_NONE || answers_are_outstanding(session);
    if (!may_be_silent && silent_s > timeout_s) {
        LOG_DEBUG("client closed", LOG_STR("reason", "timeout"), LOG_UINT("id", session->id));
        conn_close(&session->conn);
    }
}

/* A part of the sessions at each tick; the list turns under the walk. */
static void walk(struct sessions *sessions, uint32_t count)
{
    uint64_t timeout_s = (uint64_t)config_number(sessions->config, CONFIG_timeout);
    if (timeout_s == 0) { return; }
    for (uint32_t i = 0; i <= count / TICKS_PER_WALK && !list_is_empty(&sessions->all); i++) {
        struct list *link = list_pop_front(&sessions->all);
        list_push_back(&sessions->all, link);
        close_if_silent(CONTAINER_OF(link, struct session, link), timeout_s);
    }
}

void sessions_tick(struct sessions *sessions, uint32_t count)
{
    sessions->now_s = (uint32_t)(worker_now_ns(sessions->worker) / NS_PER_S);
    limits_refresh(sessions);
    users_refresh(sessions);
    backlog_tick(sessions);
    walk(sessions, count);
    strangers_tick(sessions);
}

/* ---- all at once ---- */

void sessions_leave(struct sessions *sessions)
{
    LIST_EACH (link, &sessions->all) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        session_leave(session);
        session_try_to_leave(session);
        if (session_is_blocked(session)) { conn_close(&session->conn); }
    }
}

void sessions_close(struct sessions *sessions)
{
    LIST_EACH (link, &sessions->all) {
        conn_close(&CONTAINER_OF(link, struct session, link)->conn);
    }
}
