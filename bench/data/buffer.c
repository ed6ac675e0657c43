/* buffer: what is used up is given back when all is, or when room is needed. */
#include "buffer.h"

#include "load/fatal.h"

char *buffer_reserve(struct buffer *buffer, size_t size)
{
    if (buffer->begin > 0 && buffer->capacity - buffer->end < size) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, buffer->end - buffer->begin);
        buffer->end -= buffer->begin;
        buffer->begin = 0;
    }
    if (buffer->capacity - buffer->end < size) {
        buffer->capacity = (buffer->end + size) * 2;
        buffer->bytes = realloc(buffer->bytes, buffer->capacity);
        if (buffer->bytes == NULL) { fatal("no memory for %zu bytes", buffer->capacity); }
    }
    return buffer->bytes + buffer->end;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    memcpy(buffer_reserve(buffer, size), bytes, size);
    buffer->end += size;
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    enum { LINE_MAX_BYTES = 512 };
    va_list args;
    va_start(args, format);
    int size = vsnprintf(buffer_reserve(buffer, LINE_MAX_BYTES), LINE_MAX_BYTES, format, args);
    va_end(args);
    if (size < 0 || size >= LINE_MAX_BYTES) { fatal("a line of %d bytes", size); }
    buffer->end += (size_t)size;
}

void buffer_use(struct buffer *buffer, size_t size)
{
    buffer->begin += size;
    if (buffer->begin == buffer->end) { buffer->begin = buffer->end = 0; }
}
