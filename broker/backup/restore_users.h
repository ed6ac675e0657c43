/* restore_users: users of a backup, as ACL SETUSER makes them: each in one step, whatever a user of that name was before. Thread: main. */
#ifndef FANFARE_BACKUP_RESTORE_USERS_H
#define FANFARE_BACKUP_RESTORE_USERS_H

#include "import/import_target.h"

/* `lines` are those of an ACL file. The one that the connection uses comes last: it may not be allowed to go on. Lines that are
 * none are refused by the target, by their text. Gives: how many were made. */
enum target_state restore_users(struct import_target *target, struct slice lines, uint64_t *count);

#endif
