/* waiting: start, note, finish. */
#include "cmd/waiting.h"

#include "base/mem.h"
#include "cmd/call.h"
#include "cmd/dispatch.h"

void waiting_start(struct call *call, const struct waiting_ops *ops, void *question)
{
    struct waiting *waiting = &session_extra(call->session)->waiting;
    CHECK(waiting->ops == NULL);
    *waiting = (struct waiting){ops, call->command, question};
    session_bar(call->session, BAR_COMMAND);
}

void waiting_done(struct session *session)
{
    CHECK(session->extra->waiting.ops != NULL);
    CHECK(!(session->flags & SESSION_DUE));
    struct due *due = &service_of(session)->due;
    if (due->count == due->cap) {
        due->cap = due->cap > 0 ? due->cap * 2 : 16;
        due->session = mem_resize(due->session, due->cap * sizeof(struct session *));
    }
    due->session[due->count++] = session;
    session->flags |= SESSION_DUE;
}

void waiting_turn_end(struct service *service)
{
    struct due *due = &service->due;
    uint32_t count = due->count;
    for (uint32_t i = 0; i < count; i++) {
        struct session *session = due->session[i];
        if (session == NULL) { continue; }
        session->flags &= ~(uint32_t)SESSION_DUE;
        struct waiting waiting = session->extra->waiting;
        session->extra->waiting = (struct waiting){0};
        dispatch_finish(session, waiting.command, waiting.ops->finish, waiting.question);
    }
    due->count -= count; /* those that came meanwhile wait for the next turn */
    memmove(due->session, due->session + count, due->count * sizeof(struct session *));
}

static void leave_due(struct session *session)
{
    struct due *due = &service_of(session)->due;
    for (uint32_t i = 0; i < due->count; i++) {
        if (due->session[i] == session) {
            due->session[i] = NULL;
            return;
        }
    }
    UNREACHABLE();
}

void waiting_forget(struct session *session)
{
    if (session->flags & SESSION_DUE) { leave_due(session); }
    if (session->extra == NULL || session->extra->waiting.ops == NULL) { return; }
    struct waiting waiting = session->extra->waiting;
    session->extra->waiting = (struct waiting){0};
    if (waiting.ops->forget != NULL) { waiting.ops->forget(waiting.question); }
}

void due_fini(struct due *due)
{
    mem_free(due->session);
    *due = (struct due){0};
}
