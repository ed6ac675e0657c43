/* user_file: where the users of this node come from: the ACL file (`aclfile`), or `user` lines of the configuration, and `requirepass` for `default` where no file says otherwise.
 * Thread: user_file_begin, _end: main, before the workers and after them. user_file_refresh: any. Load and save: any. */
#ifndef FANFARE_CMD_USER_FILE_H
#define FANFARE_CMD_USER_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "cmd/broker.h"

/* Make broker->acl. Errors: ERR_INVALID, logged: the file cannot be read, or a line in it is wrong, or there are lines in the
 * configuration, too. */
MUST_USE enum err user_file_begin(struct broker *broker);
void user_file_end(struct broker *broker);

/* Options may have been set: requirepass, acllog-max-len. */
void user_file_refresh(struct broker *broker);

/* Does the node have a file? */
bool user_file_is_set(const struct broker *broker);

/* Append its text. False: *why. */
MUST_USE bool user_file_read(const struct broker *broker, struct buf *text, struct buf *why);

/* Append what is wrong with it, as acl_replace has told. */
void user_file_say(const struct broker *broker, struct slice fault, struct buf *why);

/* The configuration is about to be written: without an ACL file, so are the users. */
void user_file_to_config(struct broker *broker);

/* Take the file's users instead of those in force; write them into it, whole or not at all. False: *why. */
MUST_USE bool user_file_load(struct broker *broker, struct buf *why);
MUST_USE bool user_file_save(struct broker *broker, struct buf *why);

#endif
