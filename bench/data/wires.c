/* wires: replies are looked at from their begin each time more of them has come; they are small. */
#include "wires.h"

#include "load/fatal.h"

size_t wires_resp_size(const char *bytes, size_t size)
{
    size_t at = 0;
    long left = 1; /* values still to come */
    while (left > 0) {
        const char *line = at < size ? memchr(bytes + at, '\n', size - at) : NULL;
        if (line == NULL) { return 0; }
        char kind = bytes[at];
        long number = kind == '$' || kind == '*' ? strtol(bytes + at + 1, NULL, 10) : 0;
        at = (size_t)(line - bytes) + 1;
        left--;
        if (kind == '$' && number >= 0) { at += (size_t)number + 2; }
        if (kind == '*' && number > 0) { left += number; }
        if (strchr("+-:$*", kind) == NULL) { fatal("no reply: %.40s", bytes + at); }
    }
    return at <= size ? at : 0;
}

enum { WORDS_MAX = 6 };

/* MSG subject sid [answer-to] size, HMSG subject sid [answer-to] size-of-headers size. */
struct nats_frame wires_nats(const char *bytes, size_t size)
{
    struct nats_frame frame = {0};
    const char *line = memchr(bytes, '\n', size);
    if (line == NULL) { return frame; }
    size_t head = (size_t)(line - bytes) + 1;
    if (strncmp(bytes, "-ERR", 4) == 0) { fatal("%.*s", (int)head, bytes); }
    bool has_headers = strncmp(bytes, "HMSG ", 5) == 0;
    frame.is_message = has_headers || strncmp(bytes, "MSG ", 4) == 0;
    if (!frame.is_message) {
        frame.size = head;
        return frame;
    }
    const char *words[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    size_t count = 0;
    for (const char *at = bytes; at < line && count < WORDS_MAX;) {
        size_t length = strcspn(at, " \r");
        words[count] = at;
        sizes[count++] = length;
        at += length + 1;
    }
    size_t numbers = has_headers ? 2 : 1;
    if (count < 3 + numbers) { fatal("no message: %.*s", (int)head, bytes); }
    frame.sid = (unsigned)strtoul(words[2], NULL, 10);
    if (count > 3 + numbers) {
        frame.answer_to = words[3];
        frame.answer_to_size = sizes[3];
    }
    size_t total = strtoul(words[count - 1], NULL, 10);
    frame.payload = bytes + head;
    frame.payload_size = total;
    frame.is_status = has_headers && total == strtoul(words[count - 2], NULL, 10);
    frame.size = head + total + 2 <= size ? head + total + 2 : 0;
    return frame;
}
