/* script_rights: the rights of a script's user. On the client's node they are put before the script's words; wherever it is
 * executed, what it calls is held against them. */
#ifndef FANFARE_CMD_SCRIPT_RIGHTS_H
#define FANFARE_CMD_SCRIPT_RIGHTS_H

#include "cmd/call.h"
#include "data/data_rights.h"

/* For store threads; their arg is the struct broker. */
extern const struct data_rights_ops script_rights_ops;

struct acl_user;
struct session;

/* Does it run a script whose user, the session's, may not do everything? Gives: that user; NULL: no. */
const struct acl_user *script_rights_user(const struct session *session,
                                          const struct command *command);

/* The words as they go to the partition: DATA_SCRIPT_AS_WORDS more than argc, in `out`. Borrows: all, `rights` is
 * acl_user_print_rights's. */
void script_rights_add(struct slice *out, struct slice rights, const struct slice *argv,
                       uint32_t argc);

#endif
