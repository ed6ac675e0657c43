/* buffer: bytes that grow at the end and are used up from the front. Owns its memory. Exits when there is none. */
#ifndef DATA_BUFFER_H
#define DATA_BUFFER_H

#include <stddef.h>

struct buffer {
    char *bytes;
    size_t begin, end, capacity;
};

/* Room for `size` bytes at the end; returns where. */
char *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_add(struct buffer *buffer, const void *bytes, size_t size);
__attribute__((format(printf, 2, 3))) void buffer_print(struct buffer *buffer, const char *format,
                                                        ...);
/* `size` bytes at the front have been used. */
void buffer_use(struct buffer *buffer, size_t size);

#endif
