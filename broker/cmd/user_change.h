/* user_change: a change of the cluster's users that a client has asked for: planned from what the cluster has agreed on, given to
 * it, and planned anew where others were quicker; answered when it is in force on every node. Thread: the session's worker. */
#ifndef FANFARE_CMD_USER_CHANGE_H
#define FANFARE_CMD_USER_CHANGE_H

#include "cmd/call.h"

enum user_wish {
    WISH_SET,      /* one user, by rules: ACL SETUSER. The name, then the rules; answers OK */
    WISH_DELETE,   /* these users: ACL DELUSER. Answers how many there were */
    WISH_REPLACE,  /* all of them, by the text of an ACL file: ACL LOAD. Answers OK */
    WISH_PASSWORD, /* that of `default`: CONFIG SET requirepass. Empty: none is needed. Answers OK */
};

/* Whose users are they that a change is about? */
enum user_scope {
    SCOPE_NODE, /* this node's: it is alone, or the cluster has members that do not know of common ones (logged) */
    SCOPE_CLUSTER, /* the cluster's */
    SCOPE_UNKNOWN, /* the cluster's, and they are not known here yet: the reply says so */
};
enum user_scope user_change_scope(struct call *call);

/* Make the change; the session waits. Borrows: words. The handler writes nothing more. */
void user_change(struct call *call, enum user_wish wish, const struct slice *word, uint32_t count);

#endif
