/* mem: the one place that calls malloc. */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

NORETURN static void out_of_memory(size_t bytes)
{
    LOG_ERROR("out of memory", LOG_UINT("bytes", bytes));
    abort();
}

void *mem_new(size_t bytes)
{
    CHECK(bytes > 0);
    void *ptr = malloc(bytes);
    if (ptr == NULL) { out_of_memory(bytes); }
    return ptr;
}

void *mem_new0(size_t bytes)
{
    CHECK(bytes > 0);
    void *ptr = calloc(1, bytes);
    if (ptr == NULL) { out_of_memory(bytes); }
    return ptr;
}

void *mem_resize(void *ptr, size_t bytes)
{
    CHECK(bytes > 0);
    void *moved = realloc(ptr, bytes);
    if (moved == NULL) { out_of_memory(bytes); }
    return moved;
}

void *mem_copy(const void *from, size_t bytes)
{
    void *to = mem_new(bytes > 0 ? bytes : 1);
    if (bytes > 0) { memcpy(to, from, bytes); }
    return to;
}

void mem_free(void *ptr)
{
    free(ptr);
}
