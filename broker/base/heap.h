/* heap: what the allocator knows, and does besides allocating (mem.h). It is jemalloc, which gives memory back
 * to the system by itself within some seconds after it was freed; or the C library's, under a sanitizer and
 * where the build found no jemalloc. Thread: any. */
#ifndef FANFARE_BASE_HEAP_H
#define FANFARE_BASE_HEAP_H

#include "base/buf.h"

/* As Redis calls it: jemalloc-5.3.0, libc. */
const char *heap_name(void);

/* What is allocated now; 0: a sanitizer keeps it for itself. Time: microseconds with jemalloc; the C library
 * walks what is free. */
size_t heap_used_bytes(void);

/* How much is counted as allocated for so many bytes. */
size_t heap_class_bytes(size_t bytes);

/* Give back at once what is free. */
void heap_purge(void);

/* Append the allocator's own report. */
void heap_report(struct buf *out);

#endif
