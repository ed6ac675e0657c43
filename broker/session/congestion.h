/* congestion: publishing clients that are not read while another worker has more to deliver than it keeps
 * up with (for other nodes: answers.h). Without it a publisher's answers, which do not wait for deliveries, would let
 * it run ahead until memory ends. Thread: the sessions' worker. */
#ifndef FANFARE_SESSION_CONGESTION_H
#define FANFARE_SESSION_CONGESTION_H

#include "session/session.h"

/* The session has published: read it no further if need be. */
void congestion_consider(struct session *session);

/* The end of a turn: read them again if the others have caught up. */
void congestion_turn_end(struct sessions *sessions);

/* Would the turn's end let some go on? */
bool congestion_is_over(struct sessions *sessions);

#endif
