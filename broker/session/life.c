/* life: open, reset, close. */
#include "session/life.h"

#include <sys/socket.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "session/answers.h"
#include "session/backlog.h"
#include "session/bar.h"
#include "session/limits.h"
#include "session/monitors.h"
#include "session/strangers.h"
#include "session/transaction.h"
#include "session/users.h"
#include "session/wait.h"

/* The least a client costs matters: there are very many of them. */
_Static_assert(sizeof(struct session) <= 384, "a session has grown out of its 384 bytes of heap");

static bool is_unix_socket(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_UNIX;
}

void session_open(struct sessions *sessions, int fd, struct tls *tls)
{
    struct session *session = mem_new0(sizeof *session);
    conn_open(&session->conn, sessions->worker, fd, &sessions->conn_ops, tls);
    subscriber_init(&session->subscriber, 2);
    list_init(&session->stranger_link);
    session->id = atomic_fetch_add_explicit(sessions->next_id, 1, memory_order_relaxed) + 1;
    session->created_s = sessions->now_s;
    session->active_s = sessions->now_s;
    session->command = SESSION_NO_COMMAND;
    limits_refresh(sessions);
    users_refresh(sessions);
    session->flags = is_unix_socket(fd) ? SESSION_UNIX : 0;
    session_logout(session);
    list_push_back(&sessions->all, &session->link);
    metric_add(METRIC_redis_connections_received_total, 1);
    metric_add(METRIC_redis_connected_clients, 1);
}

void session_count_subscriptions(struct session *session)
{
    bool has_some = subscriber_total(&session->subscriber) > 0;
    bool is_counted = session->flags & SESSION_SUBSCRIBED;
    if (has_some && !is_counted) { metric_add(METRIC_redis_pubsub_clients, 1); }
    if (!has_some && is_counted) { metric_sub(METRIC_redis_pubsub_clients, 1); }
    session->flags &= ~(uint32_t)SESSION_SUBSCRIBED;
    session->flags |= has_some ? SESSION_SUBSCRIBED : 0;
}

/* Nothing is left of it but its memory. */
static void session_free(struct session *session)
{
    struct sessions *sessions = sessions_of(session);
    session_count_subscriptions(session);
    mem_free(session);
    sessions->ops->left(sessions);
}

void session_dropped(struct subscriber *subscriber)
{
    session_free(CONTAINER_OF(subscriber, struct session, subscriber));
}

void session_interrupted(struct subscriber *subscriber)
{
    struct session *session = CONTAINER_OF(subscriber, struct session, subscriber);
    if (!conn_is_open(&session->conn)) { return; }
    metric_add(METRIC_subscribers_interrupted_total, 1);
    conn_close(&session->conn);
}

static void extra_free(struct session *session)
{
    struct session_extra *extra = session->extra;
    if (extra == NULL) { return; }
    resp_parser_free(extra->parser);
    acl_user_unref(extra->user);
    mem_free(extra->name);
    mem_free(extra->lib_name);
    mem_free(extra->lib_version);
    metric_sub(METRIC_backlog_bytes, extra->postponed.len);
    buf_fini(&extra->postponed);
    mem_free(extra);
    session->extra = NULL;
}

void session_on_close(struct conn *conn)
{
    struct session *session = CONTAINER_OF(conn, struct session, conn);
    struct sessions *sessions = sessions_of(session);
    if (session->flags & SESSION_PUBLISHED) { fanout_forget(sessions->fanout, session); }
    answers_forget(session);
    wait_forget(session);
    session_bar_forget(session);
    strangers_remove(session);
    backlog_forget(session);
    transaction_discard(session);
    monitors_forget(session);
    extra_free(session);
    list_remove(&session->link);
    metric_sub(METRIC_redis_connected_clients, 1);
    if (fanout_drop(sessions->fanout, &session->subscriber)) { session_free(session); }
}

bool session_reset(struct session *session)
{
    enum {
        FORGOTTEN = SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_REPLY_SKIPPING |
                    SESSION_NO_EVICT | SESSION_NO_TOUCH | SESSION_READONLY
    };
    struct sessions *sessions = sessions_of(session);
    transaction_discard(session);
    monitors_forget(session);
    if (!fanout_clear(sessions->fanout, &session->subscriber)) { return false; }
    session_count_subscriptions(session);
    subscriber_set_version(sessions->fanout, &session->subscriber, 2);
    session->flags &= ~(uint32_t)FORGOTTEN;
    session_logout(session);
    session->database = 0;
    transaction_unwatch(session);
    if (session->extra != NULL) {
        mem_free(session->extra->name);
        session->extra->name = NULL;
    }
    return true;
}
