/* users: login, and one walk over the sessions for each change. */
#include "session/users.h"

#include "base/log.h"
#include "base/metrics.h"
#include "session/bar.h"
#include "session/strangers.h"

static void drop_user(struct session *session)
{
    if (!(session->flags & SESSION_NAMED)) { return; }
    acl_user_unref(session->extra->user);
    session->extra->user = NULL;
    session->flags &= ~(uint32_t)SESSION_NAMED;
}

void session_login(struct session *session, struct acl_user *user)
{
    drop_user(session);
    strangers_remove(session);
    session->flags |= SESSION_AUTHENTICATED;
    if (user == acl_users_default(sessions_of(session)->users)) { return; }
    session_extra(session)->user = acl_user_ref(user);
    session->flags |= SESSION_NAMED;
}

void session_logout(struct session *session)
{
    drop_user(session);
    session->flags &= ~(uint32_t)SESSION_AUTHENTICATED;
    if (sessions_of(session)->needs_login) {
        strangers_add(session);
    } else {
        session->flags |= SESSION_AUTHENTICATED;
    }
}

/* ---- a change ---- */

/* One kind of a session's subscriptions, looked at one after the other. */
struct hearing {
    const struct acl_user *user;
    enum topic_kind kind;
    bool is_allowed;
};

static void hear(void *arg, struct slice name)
{
    struct hearing *hearing = arg;
    bool is_pattern = hearing->kind == TOPIC_PATTERN;
    hearing->is_allowed = hearing->is_allowed && acl_user_may_hear(hearing->user, name, is_pattern);
}

static bool may_hear_all(struct session *session, const struct acl_user *user)
{
    if (subscriber_total(&session->subscriber) == 0 || acl_user_is_free(user)) { return true; }
    struct hearing hearing = {.user = user, .is_allowed = true};
    for (unsigned kind = 0; kind < TOPIC_KINDS; kind++) {
        hearing.kind = (enum topic_kind)kind;
        fanout_each_subscription(&session->subscriber, hearing.kind, hear, &hearing);
    }
    return hearing.is_allowed;
}

/* A command at work is answered first: it may be the one that has changed the users. */
static void close_session(struct session *session)
{
    LOG_LIMITED(LOG_LEVEL_INFO, "client closed",
                LOG_STR("reason", "its user may not do any more what it does"),
                LOG_UINT("id", session->id));
    metric_add(METRIC_acl_closed_clients_total, 1);
    bool is_at_work = session->request_bytes > 0 || session->bar == BAR_COMMAND;
    if (is_at_work && !session_is_blocked(session)) {
        session_leave(session);
        return;
    }
    conn_close(&session->conn);
    fanout_leave_ahead(sessions_of(session)->fanout, &session->subscriber);
}

static void judge(struct session *session)
{
    const struct acl_user *user = session_user(session);
    if (session->flags & SESSION_NAMED) {
        struct acl_user *now = acl_users_find(sessions_of(session)->users, acl_user_name(user));
        if (now == NULL) {
            close_session(session);
            return;
        }
        if (now == user) { return; } /* not changed */
        acl_user_unref(session->extra->user);
        session->extra->user = acl_user_ref(now);
        user = now;
    }
    if (!may_hear_all(session, user)) {
        close_session(session);
    } else if (session_is_blocked(session)) {
        session->extra->wait.ops->interrupt(session->extra->wait.question, WAIT_REVIEWED);
    }
}

void users_refresh(struct sessions *sessions)
{
    uint64_t version = acl_version(sessions->acl);
    if (LIKELY(version == sessions->acl_version)) { return; }
    sessions->acl_version = version;
    struct acl_users *before = sessions->users;
    sessions->users = acl_users_now(sessions->acl);
    const struct acl_user *standard = acl_users_default(sessions->users);
    sessions->default_is_free = acl_user_is_free(standard);
    sessions->needs_login = !acl_user_is_on(standard) || !acl_user_has_nopass(standard);
    LIST_EACH (link, &sessions->all) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        if (conn_is_open(&session->conn)) { judge(session); }
    }
    acl_users_unref(before);
}
