/* strangers: a list by time. */
#include "session/strangers.h"

#include "base/log.h"
#include "base/metrics.h"
#include "session/address.h"
#include "session/users.h"

void strangers_add(struct session *session)
{
    struct sessions *sessions = sessions_of(session);
    strangers_remove(session);
    session->stranger_since_s = sessions->now_s;
    list_push_back(&sessions->strangers, &session->stranger_link);
}

void strangers_remove(struct session *session)
{
    list_remove(&session->stranger_link);
}

static void close_stranger(struct session *session)
{
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_INFO, "client closed",
                LOG_STR("reason", "it has not logged in within auth-timeout"),
                LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)));
    metric_add(METRIC_auth_timeouts_total, 1);
    conn_close(&session->conn);
}

void strangers_tick(struct sessions *sessions)
{
    uint64_t timeout_s = (uint64_t)config_number(sessions->config, CONFIG_auth_timeout);
    while (timeout_s > 0 && !list_is_empty(&sessions->strangers)) {
        struct session *first =
            CONTAINER_OF(sessions->strangers.next, struct session, stranger_link);
        if (sessions->now_s - first->stranger_since_s <= timeout_s) { break; }
        strangers_remove(first);
        if (session_must_login(first)) { close_stranger(first); }
    }
}
