/* permission: may the client's user run this call? What the rules of users are about: the commands as a catalogue, and where in a call
 * its keys and channels stand. Thread: the session's worker; permission_catalogue: any. */
#ifndef FANFARE_CMD_PERMISSION_H
#define FANFARE_CMD_PERMISSION_H

#include "acl/acl_user.h"
#include "cmd/call.h"
#include "config/config.h"

/* The command table as rules see it. Gives: memory that the caller frees; it refers to constants only. */
MUST_USE struct acl_catalogue *permission_catalogue(void);

/* What a call of this command does, for acl_user_may. False: its arguments do not fit the command (which will say so itself). */
MUST_USE bool permission_question(const struct command *command, const struct slice *argv,
                                  uint32_t argc, struct acl_question *out);

/* Which publishes were allowed lately: of most clients the next one is as the last. Of one worker; good for one version of the users. */
enum { PERMISSION_MEMOS = 64, PERMISSION_MEMO_BYTES = 47 };
struct permission_memo {
    const struct acl_user *user; /* NULL: empty; only compared, as is the command */
    const struct command *command;
    uint8_t len;
    char channel[PERMISSION_MEMO_BYTES];
};
struct permission_memos {
    uint64_t acl_version;
    struct permission_memo *last; /* the one that was asked for last; NULL: none */
    struct permission_memo memo[PERMISSION_MEMOS];
};

/* Is it refused? Then the reply says so, and ACL LOG notes it. `context`: "toplevel", "multi". */
MUST_USE bool permission_lacks(struct call *call, const char *context);

/* The same of a call that was allowed when it was queued, in EXEC. */
MUST_USE bool permission_is_lost(struct call *call);

/* Would it be? Nobody is told. */
MUST_USE bool permission_would_lack(const struct acl_user *user, const struct command *command,
                                    const struct slice *argv, uint32_t argc);

/* SORT's BY and GET reach keys that are not among its arguments: only who may read all keys may say them. Gives: which of the two it
 * is that the user may not say; NULL: neither, or it is no SORT. */
MUST_USE const char *permission_reaches(const struct acl_user *user, const struct command *command,
                                        const struct slice *argv, uint32_t argc);

/* The text for what acl_user_may says, as in Redis: with the user's and the object's name, for who asks about others. */
void permission_say(struct buf *out, const struct acl_user *user, enum acl_verdict verdict,
                    const char *command, const struct slice *object);

/* What an option with the choices `no yes local` says to this client. */
MUST_USE bool permission_by_option(const struct call *call, enum config_option option);

/* Note a refusal in ACL LOG. */
void permission_note(const struct call *call, enum acl_verdict verdict, const char *context,
                     struct slice object, struct slice user);

#endif
