/* held: hold, release. */
#include "cmd/held.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/service.h"
#include "cmd/session.h"

bool held_is_congested(struct service *service)
{
    return fanout_is_congested(service->fanout);
}

void held_consider(struct session *session)
{
    struct service *service = service_of(session);
    if (session->flags & SESSION_HELD || !held_is_congested(service)) { return; }
    struct held *held = &service->held;
    if (held->count == held->cap) {
        held->cap = held->cap > 0 ? held->cap * 2 : 16;
        held->session = mem_resize(held->session, held->cap * sizeof(struct session *));
    }
    held->session[held->count++] = session;
    session->flags |= SESSION_HELD;
    metric_add(METRIC_publishers_held, 1);
    conn_pause(&session->conn);
}

static void release(struct session *session)
{
    session->flags &= ~(uint32_t)SESSION_HELD;
    metric_sub(METRIC_publishers_held, 1);
    session_read_on(session);
}

void held_turn_end(struct service *service)
{
    struct held *held = &service->held;
    if (held_is_congested(service)) { return; }
    for (uint32_t i = 0; i < held->count; i++) {
        release(held->session[i]);
    }
    held->count = 0;
}

void held_forget(struct session *session)
{
    if (!(session->flags & SESSION_HELD)) { return; }
    struct held *held = &service_of(session)->held;
    for (uint32_t i = 0; i < held->count; i++) {
        if (held->session[i] == session) {
            held->session[i] = held->session[--held->count];
            metric_sub(METRIC_publishers_held, 1);
            return;
        }
    }
    UNREACHABLE();
}

void held_fini(struct held *held)
{
    mem_free(held->session);
    *held = (struct held){0};
}
