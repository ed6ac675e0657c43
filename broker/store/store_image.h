/* store_image: a store as bytes, for snapshots and backups, and a store made of them.
 *
 * The bytes: "FFSTORE1", then the rows in the order of their keys, key length2 value length4 key value, then a length of 0,
 * how many rows there were (8) and a CRC32C of all before it (4). Rows are as store.h lays them out, the counters among them. */
#ifndef FANFARE_STORE_STORE_IMAGE_H
#define FANFARE_STORE_STORE_IMAGE_H

#include "store/store.h"

/* An unchanging image, while writing goes on. It keeps pages from being used again: read it without waiting for anybody.
 * Thread: any, one at a time. Errors: ERR_SYSTEM. */
struct store_image;
MUST_USE enum err store_image_begin(struct store *store, struct store_image **out);
/* The next bytes, at most `bytes_max` (>= STORE_IMAGE_BYTES_MIN); 0: the end. Errors: ERR_SYSTEM, ERR_CORRUPT. */
enum { STORE_IMAGE_BYTES_MIN = 1024 };
MUST_USE enum err store_image_read(struct store_image *image, char *out, size_t bytes_max,
                                   size_t *bytes);
void store_image_end(struct store_image *image); /* NULL is allowed */

/* A store that is being made, in a file that was not there. It is none before store_load_end.
 * Errors: ERR_FULL, ERR_SYSTEM, ERR_CORRUPT (the bytes are no image, or it is damaged or cut). After one, and in place of
 * an end, store_load_abort. */
struct store_load;
MUST_USE enum err store_load_begin(struct store_load **out, const struct store_opts *opts);
MUST_USE enum err store_load_write(struct store_load *load, struct slice bytes);
/* Takes: load, if it succeeds. Gives: the store, open. */
MUST_USE enum err store_load_end(struct store_load *load, struct store **out);
/* The file goes. */
void store_load_abort(struct store_load *load);

#endif
