/* limits: the options that every request looks at. Thread: the sessions' worker. */
#ifndef FANFARE_SESSION_LIMITS_H
#define FANFARE_SESSION_LIMITS_H

#include "session/session.h"

/* Take over what has changed; costs next to nothing if nothing has. */
void limits_refresh(struct sessions *sessions);

#endif
