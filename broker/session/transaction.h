/* transaction: the requests queued between MULTI and EXEC, and the answer while EXEC runs.
 * Owns: copies of the arguments. Thread: the session's worker.
 * Bound: the queue counts as unread input (query-buffer-limit). */
#ifndef FANFARE_SESSION_TRANSACTION_H
#define FANFARE_SESSION_TRANSACTION_H

#include "session/session.h"

/* One allocation: the slices, then the bytes that they name. */
struct queued {
    uint16_t command; /* the pipeline's number */
    struct buf
        refusal; /* of EXEC: this error stands for its reply, and it is not executed; empty: it is */
    uint32_t argc;
    struct slice argv[];
};

struct transaction {
    struct queued **queue;
    uint32_t count;
    uint32_t cap;
    uint32_t next;   /* of EXEC: the one to run next */
    uint32_t flags;  /* of all commands, as given; in EXEC of those that are not refused */
    size_t bytes;    /* of the queue */
    bool is_refused; /* a command was: EXEC will be, too */
    struct buf reply;
    struct buf data;    /* the replies of its data commands, once they have been executed */
    uint32_t *data_end; /* where each of them ends; NULL if there is one */
    uint32_t data_next;
    /* EXEC goes on behind a command that waited. */
    void (*go_on)(struct call *call);
};

static inline struct transaction *transaction_of(const struct session *session)
{
    return session->extra != NULL ? session->extra->transaction : NULL;
}

/* Begin one: the session has none. */
void transaction_begin(struct session *session);

/* Queue a request that has passed the checks. */
void transaction_add(struct transaction *transaction, uint16_t command, uint32_t flags,
                     const struct slice *argv, uint32_t argc);

/* Forget it, if there is one, and what is watched. */
void transaction_discard(struct session *session);

/* Watch one more key; and none any more. */
void transaction_watch(struct session *session, uint16_t database, struct slice key,
                       uint64_t version);
void transaction_unwatch(struct session *session);

/* What belongs to a transaction from its queue on leaves the session, for whoever still looks at it: it frees it. */
struct transaction *transaction_detach(struct session *session);
void transaction_free(struct transaction *transaction); /* NULL is allowed */

/* The flags of all queued commands, or-ed; the memory they take; 0 without a transaction. */
uint32_t transaction_flags(const struct session *session);
size_t transaction_bytes(const struct session *session);

#endif
