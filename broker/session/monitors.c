/* monitors: who is shown all commands. */
#include "session/monitors.h"

#include "base/log.h"
#include "session/output.h"

void monitors_join(struct session *session)
{
    struct sessions *sessions = sessions_of(session);
    if (session->flags & SESSION_MONITOR) { return; }
    list_push_back(&sessions->monitors, &session_extra(session)->monitor_link);
    session->flags |= SESSION_MONITOR;
    atomic_fetch_add(&sessions->monitor_count, 1);
    atomic_fetch_add(sessions->monitor_total, 1);
}

void monitors_forget(struct session *session)
{
    struct sessions *sessions = sessions_of(session);
    if (LIKELY(!(session->flags & SESSION_MONITOR))) { return; }
    list_remove(&session->extra->monitor_link);
    session->flags &= ~(uint32_t)SESSION_MONITOR;
    atomic_fetch_sub(&sessions->monitor_count, 1);
    atomic_fetch_sub(sessions->monitor_total, 1);
}

void monitors_tell(struct sessions *sessions, struct slice line)
{
    LIST_EACH (link, &sessions->monitors) { /* one that is too slow goes at the end of the turn */
        struct session *session = CONTAINER_OF(link, struct session_extra, monitor_link)->session;
        struct buf copy = {0};
        buf_append(&copy, line);
        session_send(session, &copy);
        buf_fini(&copy);
    }
}

void monitors_close(struct sessions *sessions)
{
    LIST_EACH (link, &sessions->monitors) {
        struct session *session = CONTAINER_OF(link, struct session_extra, monitor_link)->session;
        LOG_LIMITED(LOG_LEVEL_WARN, "client closed",
                    LOG_STR("reason", "more commands than a monitor can be shown"),
                    LOG_UINT("id", session->id));
        conn_close(&session->conn);
    }
}
