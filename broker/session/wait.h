/* waiting: commands whose answer needs other nodes. The session waits: its later commands run after
 * the answer. What has come true is finished at the end of the turn, so that a finish may call whatever
 * it likes. One command of a session waits at a time.
 * Owns: the list of those that go on. Thread: the session's worker; no locks. Zeroed structs are empty. */
#ifndef FANFARE_CMD_WAITING_H
#define FANFARE_CMD_WAITING_H

#include <stdint.h>

struct call;
struct command;
struct service;
struct session;

struct waiting_ops {
    /* Takes: question. Write the answer; call->argc is 0. */
    void (*finish)(void *question, struct call *call);
    /* Takes: question. The session is going away, and nobody asks any more. */
    void (*forget)(void *question);
};

/* In the session's extra: what it waits for. */
struct waiting {
    const struct waiting_ops *ops; /* NULL: for nothing */
    const struct command *command;
    void *question;
};

/* In the service: sessions that go on at the end of the turn. */
struct due {
    struct session **session;
    uint32_t count;
    uint32_t cap;
};

/* The command at hand has no answer yet. Takes: question, until one of the ops is called. The handler
 * writes nothing more. */
void waiting_start(struct call *call, const struct waiting_ops *ops, void *question);

/* What it waited for is there. */
void waiting_done(struct session *session);

/* The end of a turn: finish them. */
void waiting_turn_end(struct service *service);

/* The session is going away. */
void waiting_forget(struct session *session);

void due_fini(struct due *due);

#endif
