/* err: what a call that meets the world (disk, peer, limits) returns. Rows in err.def. Thread: any.
 */
#ifndef FANFARE_BASE_ERR_H
#define FANFARE_BASE_ERR_H

enum err {
#define ERROR(name, word, wire) ERR_##name,
#include "base/err.def"
#undef ERROR
};

/* The word for a log line. */
const char *err_word(enum err err);

/* The error line for a client, without the leading '-'. */
const char *err_wire(enum err err);

#endif
