/* multi: transactions: commands queued between MULTI and EXEC, then run one after the other with
 * one answer.
 * Owns: copies of the queued arguments, and the answer while EXEC runs. Thread: the session's
 * worker.
 * Bound: the queue counts as unread input (query-buffer-limit). */
#ifndef FANFARE_CMD_MULTI_H
#define FANFARE_CMD_MULTI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct call;
struct multi;
struct session;

void multi_free(struct multi *multi); /* NULL is allowed */

/* Queue the call, which has passed the checks, and answer QUEUED. */
void multi_queue(struct call *call);

/* A command was refused, or unknown: EXEC will be refused, too. If it was EXEC itself, its error
 * becomes EXECABORT. */
void multi_refused(struct call *call);

/* Forget a transaction, if there is one. */
void multi_discard(struct session *session);

/* Run the queued commands that are left, until one waits. At the end the whole answer is in
 * call->reply. */
void multi_go_on(struct call *call);

/* Where the answers of queued commands go while EXEC runs. */
struct buf *multi_reply(struct multi *multi);

/* The flags of all queued commands, or-ed; 0 without a transaction. */
uint32_t multi_flags(const struct session *session);

/* Queued commands, and the memory they take; 0 for NULL. */
uint32_t multi_count(const struct multi *multi);
size_t multi_bytes(const struct multi *multi);

#endif
