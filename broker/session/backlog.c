/* backlog: watching and closing. */
#include "cmd/backlog.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/service.h"
#include "cmd/session.h"

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

static void watch(struct session *session)
{
    struct backlog *backlog = &service_of(session)->backlog;
    if (backlog->count == backlog->cap) {
        backlog->cap = backlog->cap > 0 ? backlog->cap * 2 : 16;
        backlog->entry = mem_resize(backlog->entry, backlog->cap * sizeof *backlog->entry);
    }
    backlog->entry[backlog->count++] = (struct backlog_entry){.session = session};
    session->flags |= SESSION_WATCHED;
}

static bool hard_limit_passed(const struct session *session)
{
    uint64_t hard_bytes = service_of(session)->options.output_limit[class_of(session)].hard_bytes;
    return hard_bytes > 0 && session_backlog_bytes(session) > hard_bytes;
}

void backlog_grew(struct session *session)
{
    if (!conn_is_alive(&session->conn)) { return; }
    if (!(session->flags & SESSION_WATCHED)) { watch(session); }
    if (hard_limit_passed(session)) { close_for(session, "hard"); }
}

/* True: the session has been over its soft limit for too long. */
static bool soft_limit_passed(struct backlog_entry *entry, uint64_t now_ns)
{
    const struct session *session = entry->session;
    struct config_output_limit limit = service_of(session)->options.output_limit[class_of(session)];
    if (limit.soft_bytes == 0 || session_backlog_bytes(session) <= limit.soft_bytes) {
        entry->over_soft_since_ns = 0;
        return false;
    }
    if (entry->over_soft_since_ns == 0) { entry->over_soft_since_ns = now_ns; }
    return now_ns - entry->over_soft_since_ns > limit.soft_seconds * NS_PER_S;
}

void backlog_tick(struct service *service)
{
    struct backlog *backlog = &service->backlog;
    uint64_t now_ns = worker_now_ns(service->worker);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < backlog->count; i++) {
        struct backlog_entry *entry = &backlog->entry[i];
        struct session *session = entry->session;
        if (session_backlog_bytes(session) == 0) {
            session->flags &= ~(uint32_t)SESSION_WATCHED;
            continue;
        }
        if (!conn_is_alive(&session->conn)) {
            /* it goes at the end of this turn */
        } else if (hard_limit_passed(session)) { /* it has been lowered */
            close_for(session, "hard");
        } else if (soft_limit_passed(entry, now_ns)) {
            close_for(session, "soft");
        }
        backlog->entry[kept++] = *entry;
    }
    backlog->count = kept;
}

void backlog_forget(struct session *session)
{
    struct backlog *backlog = &service_of(session)->backlog;
    if (!(session->flags & SESSION_WATCHED)) { return; }
    for (uint32_t i = 0; i < backlog->count; i++) {
        if (backlog->entry[i].session == session) {
            backlog->entry[i] = backlog->entry[--backlog->count];
            return;
        }
    }
    UNREACHABLE();
}

void backlog_fini(struct backlog *backlog)
{
    mem_free(backlog->entry);
    *backlog = (struct backlog){0};
}
