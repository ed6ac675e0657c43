/* restore_notes: what a backup has beside the keys, as commands: texts of scripts, and what Redis's form has no place for
 * (data/data_dump.h). Notes of other kinds are of a later version, and stay behind. Thread: main. */
#ifndef FANFARE_BACKUP_RESTORE_NOTES_H
#define FANFARE_BACKUP_RESTORE_NOTES_H

#include "import/import_write.h"

struct restore_notes {
    struct import_command command;
    struct buf text[2];
    uint64_t scripts; /* that were loaded; of those that were loaded again, too */
};

/* For import_write.on_note; `arg` is a struct restore_notes. */
enum target_state restore_note(void *arg, struct import_write *write);
void restore_notes_fini(struct restore_notes *notes);

#endif
