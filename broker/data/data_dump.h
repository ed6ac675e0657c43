/* data_dump: a key as it stands in an RDB file, written piece by piece, so that no value is held whole.
 * Thread: the transaction's. */
#ifndef FANFARE_DATA_DATA_DUMP_H
#define FANFARE_DATA_DATA_DUMP_H

#include "base/buf.h"
#include "store/store_key.h"

/* Notes that may follow a stream's key: values are in RDB's forms of texts, lengths and ids.
 * fanfare-released: 0 or 1, the key, a group, ids of 16 bytes each: they are pending for nobody, though the file has them as the
 * consumer's fanfare:released (1: which is there for nothing else).
 * fanfare-idmp: the key, and for how many seconds, and how many ids, of each producer are remembered. The ids are not told. */
#define DUMP_NOTE_RELEASED "fanfare-released"
#define DUMP_NOTE_IDMP "fanfare-idmp"
enum { DUMP_NOTE_IDS_MAX = 1000 };

/* Where it goes. After one `false` there is no more to come of it, and what has come of the key is not whole. */
struct data_dump_sink {
    /* Take what is in `out`, which is then empty. */
    bool (*take)(void *arg, struct buf *out);
    /* Nothing is to be taken yet, and work goes on. */
    bool (*go_on)(void *arg);
    void *arg;
};

/* Append the key, its deadline and its value to `out`, and hand that over whenever it has become long. The rest stays in `out`.
 * The object is one that the transaction has found and does not hide. */
void data_dump_key(struct store_txn *txn, struct slice name, const struct store_object *object,
                   const struct data_dump_sink *sink, struct buf *out);

#endif
