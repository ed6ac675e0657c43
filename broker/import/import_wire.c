/* import_wire: commands and replies. */
#include "import/import_wire.h"

enum { DEPTH_MAX = 8 };

static void word_append(struct buf *out, struct slice word)
{
    buf_append_str(out, "$");
    buf_append_uint(out, word.len);
    buf_append_str(out, "\r\n");
    buf_append(out, word);
    buf_append_str(out, "\r\n");
}

void import_command_begin(struct import_command *command, const char *name)
{
    command->words.len = 0;
    command->count = 0;
    import_command_str(command, name);
}

void import_command_word(struct import_command *command, struct slice word)
{
    word_append(&command->words, word);
    command->count++;
}

void import_command_str(struct import_command *command, const char *word)
{
    import_command_word(command, slice_of_str(word));
}

void import_command_number(struct import_command *command, uint64_t v)
{
    char text[20];
    import_command_word(command, slice_of(text, uint64_to_text(v, text)));
}

void import_command_id(struct import_command *command, uint64_t ms, uint64_t seq)
{
    char text[41];
    size_t len = uint64_to_text(ms, text);
    text[len++] = '-';
    len += uint64_to_text(seq, text + len);
    import_command_word(command, slice_of(text, len));
}

static void head_append(struct buf *out, uint32_t count)
{
    buf_append_str(out, "*");
    buf_append_uint(out, count);
    buf_append_str(out, "\r\n");
}

void import_command_append(const struct import_command *command, struct buf *out)
{
    head_append(out, command->count);
    buf_append(out, buf_slice(&command->words));
}

void import_command_words(struct buf *out, const struct slice *word, uint32_t count)
{
    head_append(out, count);
    for (uint32_t i = 0; i < count; i++) {
        word_append(out, word[i]);
    }
}

/* ---- replies ---- */

/* The line behind the first byte, without its end. 0: it is not whole; else the bytes up to what follows it. */
static size_t line_bytes(struct slice in, struct slice *line)
{
    const char *end = in.len > 2 ? memchr(in.data + 2, '\n', in.len - 2) : NULL;
    if (end == NULL || end[-1] != '\r') { return 0; }
    size_t bytes = (size_t)(end + 1 - in.data);
    *line = slice_of(in.data + 1, bytes - 3);
    return bytes;
}

static size_t reply_bytes(struct slice in, unsigned depth)
{
    struct slice line;
    int64_t number = 0;
    if (in.len == 0) { return 0; }
    char kind = *in.data;
    if (strchr("+-:$*", kind) == NULL || kind == 0) { return SIZE_MAX; }
    size_t bytes = line_bytes(in, &line);
    if (bytes == 0) { return 0; }
    if (kind == '+' || kind == '-' || kind == ':') { return bytes; }
    if ((kind != '$' && kind != '*') || !slice_to_int64(line, &number) || depth == DEPTH_MAX) {
        return SIZE_MAX;
    }
    if (number < 0) { return bytes; }
    if (kind == '$') {
        size_t whole = bytes + (size_t)number + 2;
        return whole <= in.len ? whole : 0;
    }
    for (; number > 0; number--) {
        size_t part = reply_bytes(slice_of(in.data + bytes, in.len - bytes), depth + 1);
        if (part == 0 || part == SIZE_MAX) { return part; }
        bytes += part;
    }
    return bytes;
}

size_t import_reply_bytes(struct slice in)
{
    return reply_bytes(in, 0);
}

struct import_reply import_reply_read(struct slice reply)
{
    struct import_reply out = {.kind = *reply.data};
    size_t bytes = line_bytes(reply, &out.text);
    if (!slice_to_int64(out.text, &out.number)) { out.number = 0; }
    if (out.kind == '$' && out.number >= 0) {
        out.text = slice_of(reply.data + bytes, (size_t)out.number);
    } else if (out.kind == '$') {
        out.text = SLICE("");
    }
    return out;
}

bool import_reply_error(struct slice reply, struct slice *error)
{
    struct slice line;
    size_t at = line_bytes(reply, &line);
    if (*reply.data == '-') {
        *error = line;
        return true;
    }
    int64_t count = 0;
    if (*reply.data != '*' || !slice_to_int64(line, &count)) { return false; }
    for (; count > 0; count--) {
        struct slice part = slice_of(reply.data + at, reply.len - at);
        if (import_reply_error(part, error)) { return true; }
        at += reply_bytes(part, 0);
    }
    return false;
}

bool import_error_passes(struct slice error)
{
    static const struct slice codes[] = {{"CLUSTERDOWN", 11}, {"INDOUBT", 7},
                                         {"MISCONF", 7},      {"LOADING", 7},
                                         {"TRYAGAIN", 8},     {"ERR backlog over its limit", 26}};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        if (slice_starts_with(error, codes[i])) { return true; }
    }
    return false;
}
