/* ask_workers: a question to every worker that a command needs before it can answer: CLIENT LIST,
 * SLOWLOG GET. It visits the workers one after the other, so that the question's data has one owner
 * at a time, and ends on the asking session's worker. Meanwhile the session waits (session/wait.h). With one
 * worker nobody waits. If the session goes away, the visits still end and `finish` is not called.
 * Bound: one per session. */
#ifndef FANFARE_CMD_ASK_WORKERS_H
#define FANFARE_CMD_ASK_WORKERS_H

struct call;
struct service;

struct ask_ops {
    /* Look at, or change, one worker's sessions. Thread: that worker. */
    void (*visit)(void *question, struct service *service);
    /* Write the reply; call->argc is 0. May be called before ask_workers returns. Thread: the
     * asking session's worker. */
    void (*finish)(void *question, struct call *call);
    /* Takes: question. NULL: there is nothing to free. Thread: the asking worker. */
    void (*free)(void *question);
};

/* Takes: question, until ops->free. The handler writes nothing itself and returns. */
void ask_workers(struct call *call, const struct ask_ops *ops, void *question);

#endif
