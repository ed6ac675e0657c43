/* line: gathers one text line that may arrive in pieces.
 * Owns: its fixed buffer. Always: what does not fit is dropped, so a long line costs no memory. */
#ifndef LOAD_LINE_H
#define LOAD_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LINE_MAX_BYTES 255U

struct line {
    uint32_t length; /* without CR LF once complete */
    bool is_complete;
    char text[LINE_MAX_BYTES + 1];
};

/* Take bytes up to and including the next LF; a complete line is begun anew. Returns how many bytes
 * were taken. After it, is_complete says whether text holds a whole line, ended by NUL. */
static inline size_t line_feed(struct line *line, const char *bytes, size_t size)
{
    if (line->is_complete) {
        line->length = 0;
        line->is_complete = false;
    }
    const char *end = memchr(bytes, '\n', size);
    size_t taken = end != NULL ? (size_t)(end - bytes) + 1 : size;
    size_t room = LINE_MAX_BYTES - line->length;
    size_t kept = taken < room ? taken : room;
    memcpy(line->text + line->length, bytes, kept);
    line->length += (uint32_t)kept;
    if (end != NULL) {
        while (line->length > 0 &&
               (line->text[line->length - 1] == '\n' || line->text[line->length - 1] == '\r')) {
            line->length--;
        }
        line->text[line->length] = '\0';
        line->is_complete = true;
    }
    return taken;
}

#endif
