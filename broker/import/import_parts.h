/* import_parts: one large value as commands, each of a part of it. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_PARTS_H
#define FANFARE_IMPORT_IMPORT_PARTS_H

#include "import/import_write.h"

/* The value that write->file is at. Gives: the target's state; the file is behind the value if that is good. */
enum target_state import_parts_write(struct import_write *write);

#endif
