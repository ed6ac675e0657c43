/* heap: jemalloc's control tree, or what the C library has in its place. */
#include "base/heap.h"

#ifdef FANFARE_JEMALLOC

#include <jemalloc/jemalloc.h>

#define TEXT_OF(number) #number
#define NUMBER_TEXT(number) TEXT_OF(number)

/* Read by jemalloc when the process starts. Its own thread gives back what has been free for a while, so that
 * no other one has to, and an idle process as well. */
const char *malloc_conf = "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0";

const char *heap_name(void)
{
    return "jemalloc-" NUMBER_TEXT(JEMALLOC_VERSION_MAJOR) "." NUMBER_TEXT(
        JEMALLOC_VERSION_MINOR) "." NUMBER_TEXT(JEMALLOC_VERSION_BUGFIX);
}

size_t heap_used_bytes(void)
{
    uint64_t epoch = 1; /* any value: take the figures anew */
    size_t bytes, len = sizeof bytes;
    CHECK(mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0);
    CHECK(mallctl("stats.allocated", &bytes, &len, NULL, 0) == 0);
    return bytes;
}

size_t heap_class_bytes(size_t bytes)
{
    return nallocx(bytes, 0);
}

void heap_purge(void)
{
    CHECK(mallctl("arena." NUMBER_TEXT(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0) == 0);
}

static void append(void *out, const char *text)
{
    buf_append_str(out, text);
}

void heap_report(struct buf *out)
{
    malloc_stats_print(append, out, "a"); /* without a part for each arena */
}

#else

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

const char *heap_name(void)
{
    return "libc";
}

size_t heap_used_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

size_t heap_class_bytes(size_t bytes)
{
    return bytes;
}

void heap_purge(void)
{
    malloc_trim(0);
}

void heap_report(struct buf *out)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    CHECK(stream != NULL);
    CHECK(malloc_info(0, stream) == 0);
    CHECK(fclose(stream) == 0);
    buf_append(out, slice_of(text, len));
    free(text);
}

#endif
