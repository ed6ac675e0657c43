/* gather: the walk from worker to worker. */
#include "cmd/gather.h"

#include "base/mailbox.h"
#include "base/mem.h"
#include "cmd/call.h"
#include "cmd/dispatch.h"

struct gather {
    struct task task;
    const struct gather_ops *ops;
    void *question;
    struct broker *broker;
    struct service *home;
    struct session *session; /* NULL: gone. Only the home worker looks */
    const struct command *command;
    uint32_t visited; /* workers so far, counted from the home worker's index on */
};

static void end(struct gather *gather)
{
    struct session *session = gather->session;
    if (session != NULL) {
        session->extra->gather = NULL;
        dispatch_finish(session, gather->command, gather->ops->finish, gather->question);
    } else {
        service_client_left(gather->home);
    }
    gather->ops->free(gather->question);
    mem_free(gather);
}

/* The worker whose turn it is: after all others have been visited, the home worker again. */
static struct service *next_stop(const struct gather *gather)
{
    uint32_t home = worker_index(gather->home->worker);
    return gather->broker->service[(home + gather->visited) % gather->broker->worker_count];
}

static void on_stop(struct task *task)
{
    struct gather *gather = CONTAINER_OF(task, struct gather, task);
    struct service *here = next_stop(gather);
    if (here == gather->home) {
        end(gather);
        return;
    }
    gather->ops->visit(gather->question, here);
    gather->visited++;
    mailbox_post(worker_mailbox(next_stop(gather)->worker), &gather->task);
}

void gather_start(struct call *call, const struct gather_ops *ops, void *question)
{
    ops->visit(question, call->service);
    if (call->broker->worker_count == 1) {
        ops->finish(question, call);
        ops->free(question);
        return;
    }
    struct gather *gather = mem_new(sizeof *gather);
    *gather = (struct gather){
        .task.run = on_stop,
        .ops = ops,
        .question = question,
        .broker = call->broker,
        .home = call->service,
        .session = call->session,
        .command = call->command,
        .visited = 1,
    };
    struct session_extra *extra = session_extra(call->session);
    CHECK(extra->gather == NULL);
    extra->gather = gather;
    session_bar(call->session, BAR_COMMAND);
    mailbox_post(worker_mailbox(next_stop(gather)->worker), &gather->task);
}

void gather_forget(struct gather *gather)
{
    gather->session = NULL;
}
