/* store_file: a partition's folder: its store, and whether that can be trusted.
 *
 *   data, data-lock      the store
 *   data.new...          one that is being made of a snapshot
 *   trust                "clean", or the boot id of the machine on which it was last open
 *
 * A store is not synced: after a crash of the machine it may be anything, and look right. So it is trusted if the machine
 * has not stopped since it was opened, or if it was closed cleanly; else it goes, and is made anew from the last snapshot
 * and the log. */
#ifndef FANFARE_PARTITION_STORE_FILE_H
#define FANFARE_PARTITION_STORE_FILE_H

#include "partition/partition_int.h"

/* Open the partition's store, and its readers. Whether one that cannot be trusted or read was there, and went, is logged.
 * `is_new`: whatever is there goes. Thread: one that knows that nobody else has it open.
 * Errors: ERR_SYSTEM, ERR_FULL (logged). */
MUST_USE enum err store_file_open(struct partition *p, bool is_new);

enum store_file_end { STORE_FILE_KEEP, STORE_FILE_REMOVE };
/* No reader reads it any more. With images of it open it is closed behind the last of them. */
void store_file_close(struct partition *p, enum store_file_end end);

/* For an image. Thread: any. */
struct store_file *store_file_ref(struct store_file *file);
void store_file_unref(struct store_file *file);

/* A store that is made of an image, beside the present one, and takes its place. */
MUST_USE enum err store_file_load_begin(struct partition *p, struct store_load **out);
MUST_USE enum err store_file_load_end(struct partition *p, struct store_load *load);

/* The machine's boot id; empty if the kernel does not say. */
void store_file_boot_id(char out[40]);

#endif
