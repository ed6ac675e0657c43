/* users: who a session's client is, and what follows for it when users change. Most clients are the user `default`, who costs a
 * session nothing; another one is kept in its extra. Thread: the sessions' worker. */
#ifndef FANFARE_SESSION_USERS_H
#define FANFARE_SESSION_USERS_H

#include "acl/acl.h"
#include "session/session.h"

/* Take over a change of users; costs next to nothing if there is none. Clients whose user is no more, or who listen to what
 * their user may hear no longer, are closed: at once, or behind the answer of the command that is at work. A command that
 * blocks ends if it is not allowed any more. */
void users_refresh(struct sessions *sessions);

/* Who the client is; before AUTH, too: then it may do only what needs no authentication. */
static inline const struct acl_user *session_user(const struct session *session)
{
    return session->flags & SESSION_NAMED ? session->extra->user
                                          : acl_users_default(sessions_of(session)->users);
}

/* Must it give a password before anything else? */
static inline bool session_must_login(const struct session *session)
{
    return !(session->flags & SESSION_AUTHENTICATED) && sessions_of(session)->needs_login;
}

/* The client has proved to be this user. Borrows: takes its own reference. */
void session_login(struct session *session, struct acl_user *user);

/* It is a client like a new one: authenticated if `default` needs no password. */
void session_logout(struct session *session);

#endif
