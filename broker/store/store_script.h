/* store_script: the texts of scripts, by their sha, in the partitions in which they may be run.
 *
 * Rows: `f sha20` flags1 order8 length4; `f sha20 chunk4` the text; of scripts that came with their call, `F order8` sha20;
 * and `f` alone: counts.
 *
 * Bound: of scripts that were loaded STORE_SCRIPTS_LOADED_MAX and STORE_SCRIPTS_BYTES_MAX, then store_script_keep refuses; of
 * those that came with their call the last STORE_SCRIPTS_CALLED_MAX stay. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_SCRIPT_H
#define FANFARE_STORE_STORE_SCRIPT_H

#include "base/buf.h"
#include "base/sha1.h"
#include "store/store.h"

enum {
    STORE_SCRIPTS_LOADED_MAX = 100000,
    STORE_SCRIPTS_BYTES_MAX = 64 << 20, /* of those, together */
    STORE_SCRIPTS_CALLED_MAX = 500,
};

struct store_script {
    bool is_loaded; /* else it came with a call */
    uint64_t order;
    uint32_t len;
};

/* False: there is none. */
MUST_USE bool store_script_find(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                                struct store_script *out);
/* Its text, behind what is in `out`. */
void store_script_read(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                       const struct store_script *script, struct buf *out);
/* Keep it from now on; one that came with a call may be loaded later. False: there are too many. */
MUST_USE bool store_script_keep(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                                struct slice text, bool is_loaded);
/* The text of each one that was loaded. `visit` does not write. */
void store_scripts_each(struct store_txn *txn, void (*visit)(void *arg, struct slice text),
                        void *arg);
void store_script_flush(struct store_txn *txn);

#endif
