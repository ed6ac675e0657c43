/* data_rights: what the users of scripts may do. A user's rights travel as text beside the script, so that every replica
 * refuses the same; whoever knows users makes something of the text, which is kept for the next script.
 * Owns: the last DATA_RIGHTS_KEPT that were used; scripts run within each other, but not so deep. Thread: its owner's. */
#ifndef FANFARE_DATA_DATA_RIGHTS_H
#define FANFARE_DATA_DATA_RIGHTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"

enum { DATA_RIGHTS_KEPT = 16, DATA_RIGHTS_BYTES_MAX = 1 << 16 };

/* Who knows users. */
struct data_rights_ops {
    /* Gives: what the text says; NULL: it makes no sense. */
    void *(*open)(void *arg, struct slice text);
    void (*close)(void *rights);
    /* May it? False: *why, if there is one, says why not, as an error's text. */
    bool (*allow)(void *arg, const void *rights, uint32_t argc, const struct slice *argv,
                  struct buf *why);
};

struct data_rights;

/* Borrows: ops, and arg, for its life. */
MUST_USE struct data_rights *data_rights_new(const struct data_rights_ops *ops, void *arg);
void data_rights_free(struct data_rights *rights); /* NULL is allowed */

/* What the text says, for DATA_RIGHTS_KEPT - 1 more finds. NULL: it makes no sense, or is too long. */
const void *data_rights_find(struct data_rights *rights, struct slice text);

bool data_rights_allow(const struct data_rights *rights, const void *found, uint32_t argc,
                       const struct slice *argv, struct buf *why);

#endif
