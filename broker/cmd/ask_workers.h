/* gather: a question to every worker that a command needs before it can answer: CLIENT LIST,
 * SLOWLOG GET. It visits the workers one after the other, so that the question's data has one owner
 * at a time, and ends on the asking session's worker. Meanwhile the session waits: its later
 * commands run after the answer. With one worker nobody waits. If the session goes away, the visits
 * still end and `finish` is not called. Bound: one per session. */
#ifndef FANFARE_CMD_GATHER_H
#define FANFARE_CMD_GATHER_H

struct call;
struct gather;
struct service;
struct session;

struct gather_ops {
    /* Look at, or change, one worker's sessions. Thread: that worker. */
    void (*visit)(void *question, struct service *service);
    /* Write the reply; call->argc is 0. May be called before gather_start returns. Thread: the
     * asking session's worker. */
    void (*finish)(void *question, struct call *call);
    /* Takes: question. Thread: the asking worker. */
    void (*free)(void *question);
};

/* Ask. Takes: question, until ops->free. The handler writes nothing itself and returns. */
void gather_start(struct call *call, const struct gather_ops *ops, void *question);

/* The session is gone; the gather counts as its client until it has ended (service_client_left). */
void gather_forget(struct gather *gather);

#endif
