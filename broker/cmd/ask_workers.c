/* ask_workers: the walk from worker to worker. */
#include "cmd/ask_workers.h"

#include "base/mailbox.h"
#include "base/mem.h"
#include "cmd/caller.h"
#include "session/wait.h"

struct ask {
    struct task task;
    const struct ask_ops *ops;
    void *question;
    struct broker *broker;
    struct service *home;
    struct session *session; /* NULL: gone. Only the home worker looks */
    uint32_t visited;        /* workers so far, counted from the home worker's index on */
};

static void ask_free(struct ask *ask)
{
    if (ask->ops->free != NULL) { ask->ops->free(ask->question); }
    mem_free(ask);
}

static void finish(void *arg, struct call *call)
{
    struct ask *ask = arg;
    ask->ops->finish(ask->question, call);
    ask_free(ask);
}

/* It goes on without its session, and counts as a client of its worker until it is home. */
static void forget(void *arg)
{
    struct ask *ask = arg;
    ask->session = NULL;
    service_client_came(ask->home);
}

/* The worker whose turn it is: after all others have been visited, the home worker again. */
static struct service *next_stop(const struct ask *ask)
{
    uint32_t home = worker_index(ask->home->worker);
    return ask->broker->service[(home + ask->visited) % ask->broker->worker_count];
}

static void on_stop(struct task *task)
{
    struct ask *ask = CONTAINER_OF(task, struct ask, task);
    struct service *here = next_stop(ask);
    if (here != ask->home) {
        ask->ops->visit(ask->question, here);
        ask->visited++;
        mailbox_post(worker_mailbox(next_stop(ask)->worker), &ask->task);
    } else if (ask->session != NULL) {
        wait_over(ask->session);
    } else {
        service_client_left(ask->home);
        ask_free(ask);
    }
}

void ask_workers(struct call *call, const struct ask_ops *ops, void *question)
{
    static const struct wait_ops wait_ops = {.finish = finish, .forget = forget};
    struct ask *ask = mem_new(sizeof *ask);
    *ask = (struct ask){
        .task.run = on_stop,
        .ops = ops,
        .question = question,
        .broker = call->caller->broker,
        .home = call->caller->service,
        .session = call->caller->session,
        .visited = 1,
    };
    ops->visit(question, call->caller->service);
    if (call->caller->broker->worker_count == 1) {
        finish(ask, call);
        return;
    }
    call_wait(call, &wait_ops, ask);
    mailbox_post(worker_mailbox(next_stop(ask)->worker), &ask->task);
}
