/* output: what a session's client is sent: answers, and what the fan-out delivers. A command that subscribes
 * may postpone deliveries for behind its answer, which confirms the subscription. Thread: its worker. */
#ifndef FANFARE_SESSION_OUTPUT_H
#define FANFARE_SESSION_OUTPUT_H

#include "session/session.h"

/* `reply` holds the whole answer of the command (or, of EXEC, the next part): hand it to the
 * connection, or drop it if the client has asked for silence. Empties reply. `pushes`: CLIENT REPLY OFF does
 * not silence it. The session is settled. */
void session_answer(struct session *session, struct buf *reply, bool pushes);

/* Hand it to the connection, whatever the client has asked for; empties reply, but for its memory. */
void session_send(struct session *session, struct buf *reply);

/* Keep what is delivered from now on for behind the answer that is being made; and hand it on. */
void session_postpone(struct session *session);
void session_deliver_postponed(struct session *session);

/* Of what is postponed, forget the messages of a subscription that was under way and is refused; it began
 * when so many bytes were. Time: what has been postponed since is looked through. */
void session_forget_postponed(struct session *session, size_t postponed_before,
                              enum topic_kind kind, struct slice name);

/* fanout_ops.deliver. */
void session_deliver(struct subscriber *subscriber, struct batch *batch);

#endif
