/* backlog: watching and closing. */
#include "session/backlog.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "session/address.h"

static const char *const class_word[CONFIG_CLIENT_CLASSES] = {
    [CONFIG_CLIENT_NORMAL] = "normal",
    [CONFIG_CLIENT_PUBSUB] = "pubsub",
};

static enum config_client_class class_of(const struct session *session)
{
    return subscriber_total(&session->subscriber) > 0 ? CONFIG_CLIENT_PUBSUB : CONFIG_CLIENT_NORMAL;
}

static void close_for(struct session *session, const char *limit)
{
    enum config_client_class class = class_of(session);
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_WARN, "client closed", LOG_STR("reason", "output-buffer-limit"),
                LOG_STR("limit", limit), LOG_STR("class", class_word[class]),
                LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)),
                LOG_UINT("backlog_bytes", session_backlog_bytes(session)));
    metric_add(class == CONFIG_CLIENT_PUBSUB ? METRIC_subscribers_dropped_total
                                             : METRIC_clients_dropped_total,
               1);
    conn_close(&session->conn);
}

static void note_lag(struct session *session)
{
    struct session_extra *extra = session_extra(session);
    list_push_back(&sessions_of(session)->lagging, &extra->backlog_link);
    extra->over_soft_since_ns = 0;
    session->flags |= SESSION_LAGS;
}

static const struct config_output_limit *limit_of(const struct session *session)
{
    return &sessions_of(session)->limits.output[class_of(session)];
}

static bool hard_limit_passed(const struct session *session)
{
    uint64_t hard_bytes = limit_of(session)->hard_bytes;
    return hard_bytes > 0 && session_backlog_bytes(session) > hard_bytes;
}

void backlog_grew(struct session *session)
{
    if (!conn_is_alive(&session->conn)) { return; }
    if (!(session->flags & SESSION_LAGS)) { note_lag(session); }
    if (hard_limit_passed(session)) { close_for(session, "hard"); }
}

/* True: the session has been over its soft limit for too long. */
static bool soft_limit_passed(struct session *session, uint64_t now_ns)
{
    const struct config_output_limit *limit = limit_of(session);
    uint64_t *since_ns = &session->extra->over_soft_since_ns;
    if (limit->soft_bytes == 0 || session_backlog_bytes(session) <= limit->soft_bytes) {
        *since_ns = 0;
        return false;
    }
    if (*since_ns == 0) { *since_ns = now_ns; }
    return now_ns - *since_ns > limit->soft_seconds * NS_PER_S;
}

void backlog_forget(struct session *session)
{
    if (!(session->flags & SESSION_LAGS)) { return; }
    list_remove(&session->extra->backlog_link);
    session->flags &= ~(uint32_t)SESSION_LAGS;
}

void backlog_tick(struct sessions *sessions)
{
    uint64_t now_ns = worker_now_ns(sessions->worker);
    LIST_EACH (link, &sessions->lagging) {
        struct session *session = CONTAINER_OF(link, struct session_extra, backlog_link)->session;
        if (session_backlog_bytes(session) == 0) {
            backlog_forget(session);
        } else if (!conn_is_alive(&session->conn)) {
            /* it goes at the end of this turn */
        } else if (hard_limit_passed(session)) { /* it has been lowered */
            close_for(session, "hard");
        } else if (soft_limit_passed(session, now_ns)) {
            close_for(session, "soft");
        }
    }
}
