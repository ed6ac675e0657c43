/* monitors: the sessions of one worker whose clients asked to be shown every command of this node (MONITOR), until they leave or
 * RESET. One that reads too slowly is closed as a subscriber is (backlog.h). Thread: their worker, unless stated. */
#ifndef FANFARE_SESSION_MONITORS_H
#define FANFARE_SESSION_MONITORS_H

#include "session/session.h"

void monitors_join(struct session *session);
/* It is going away, or has had enough. Nothing happens to one that is none. */
void monitors_forget(struct session *session);

/* Are there any on this worker? Any thread. */
static inline bool monitors_are_there(const struct sessions *sessions)
{
    return atomic_load_explicit(&sessions->monitor_count, memory_order_relaxed) > 0;
}

/* Send each a line, which is a whole reply. */
void monitors_tell(struct sessions *sessions, struct slice line);
/* Lines for them were lost: close them. */
void monitors_close(struct sessions *sessions);

#endif
