/* image: a partition's store as a snapshot of its Raft group, and back (consensus/group/fsm.h). Both are made on the store
 * thread; an image is read on the disk's threads, and may outlive the group. */
#ifndef FANFARE_PARTITION_IMAGE_H
#define FANFARE_PARTITION_IMAGE_H

#include "partition/partition_int.h"

/* As fsm_ops has them. Thread: the raft thread, but image_read and image_end. */
void *image_begin(void *fsm);
enum err image_read(void *image, char *out, size_t bytes_max, size_t *bytes);
void image_end(void *image);
void image_restore_begin(void *fsm);
enum err image_restore_write(void *fsm, struct slice bytes);
enum err image_restore_end(void *fsm, uint64_t index);

/* What was restored of an image that nobody goes on with is dropped. Thread: the store thread. */
void image_drop(struct partition *p);

#endif
