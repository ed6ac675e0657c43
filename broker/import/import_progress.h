/* import_progress: a line on stderr about how far it is: on a terminal each second in its place, else each ten.
 * Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_PROGRESS_H
#define FANFARE_IMPORT_IMPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct import_progress {
    bool is_terminal;
    bool is_open; /* a line without its end stands there */
    uint64_t began_ns;
    uint64_t told_ns;
    uint64_t keys; /* in all */
    uint64_t bytes;
};

void progress_begin(struct import_progress *progress);
void progress_transfer(struct import_progress *progress, uint64_t bytes);
void progress_keys(struct import_progress *progress, uint64_t keys, uint64_t bytes);
void progress_follow(struct import_progress *progress, uint64_t commands, uint64_t bytes_behind);
/* A part is done: the last line stays. */
void progress_end(struct import_progress *progress);

#endif
