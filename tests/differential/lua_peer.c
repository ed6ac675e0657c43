/* lua_peer: runs scripts as the broker does, for the differential test. A line of standard input is a
 * text and its argument, a line of standard output the result, all in hexadecimal. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "tests/lib/lua_calls.h"

/* The bytes of hexadecimal digits up to what is none; returns that. */
static const char *from_hex(const char *digits, struct buf *out)
{
    unsigned byte;
    while (sscanf(digits, "%2x", &byte) == 1 && *digits != ' ') {
        buf_append(out, slice_of(&(char){(char)byte}, 1));
        digits += 2;
    }
    return digits;
}

int main(void)
{
    struct scripts *scripts = scripts_new();
    struct buf out = {0};
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        struct buf text = {0};
        struct buf argument = {0};
        const char *rest = from_hex(line, &text);
        if (*rest == ' ') { (void)from_hex(rest + 1, &argument); }
        struct slice result = lua_calls_run(scripts, buf_slice(&text), buf_slice(&argument), &out);
        for (size_t i = 0; i < result.len; i++) {
            printf("%02x", (uint8_t)result.data[i]);
        }
        printf("\n");
        fflush(stdout);
        buf_fini(&text);
        buf_fini(&argument);
    }
    free(line);
    buf_fini(&out);
    scripts_free(scripts);
    return 0;
}
