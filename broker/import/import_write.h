/* import_write: the keys of an RDB file, written into a fanfare by ordinary commands: a small one whole (RESTORE), a large one in
 * parts. What was not answered when the connection was lost is written again from the beginning of its key: a key is first
 * removed, or replaced, so that nothing doubles.
 * Owns: the place in the file. Borrows: its bytes. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_WRITE_H
#define FANFARE_IMPORT_IMPORT_WRITE_H

#include "import/import_target.h"
#include "rdb/rdb_file.h"

enum {
    WRITE_WHOLE_BYTES = 1 << 20, /* of a value that is written at once */
    WRITE_WHOLE_ELEMENTS = 8192,
    WRITE_PART_BYTES = 1 << 18, /* of one command of a larger one */
    WRITE_PART_ELEMENTS = 1024,
    WRITE_TEXT_BYTES = 4 << 20, /* of a string's */
};

struct import_write {
    struct rdb_file file;
    struct import_target *target;
    int only_db;
    bool looks; /* at each value, for what cannot come over; else there is nothing of that kind */
    struct import_mark mark; /* of the key at hand */
    struct import_command command;
    struct buf payload;
    uint64_t keys;
    bool key_is_in; /* the last one was not left out */
    /* What Redis calls auxiliary fields: file.key, file.value. May be NULL. */
    enum target_state (*on_note)(void *arg, struct import_write *write);
    void *arg;
};

/* False: it is no RDB file. */
MUST_USE bool import_write_begin(struct import_write *write, struct slice file,
                                 struct import_target *target, int only_db);
/* All of it, until it is answered: TARGET_GOOD. TARGET_LOST does not come back unless the target stayed away too long. */
enum target_state import_write_all(struct import_write *write);
void import_write_end(struct import_write *write);

#endif
