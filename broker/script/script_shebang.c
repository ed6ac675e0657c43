/* script_shebang: the first line of a script, "#!lua flags=a,b". */
#include "script/script_int.h"

static const struct {
    struct slice word;
    enum script_flag flag;
} flag_words[] = {
    {{"no-writes", 9}, SCRIPT_NO_WRITES},
    {{"allow-oom", 9}, SCRIPT_ALLOW_OOM},
    {{"allow-stale", 11}, SCRIPT_ALLOW_STALE},
    {{"no-cluster", 10}, SCRIPT_NO_CLUSTER},
    {{"allow-cross-slot-keys", 21}, SCRIPT_CROSS_SLOT},
};

/* What stands before the next `by`; the rest stays. */
static struct slice take_part(struct slice *rest, char by)
{
    const char *end = rest->len > 0 ? memchr(rest->data, by, rest->len) : NULL;
    struct slice part = *rest;
    if (end == NULL) {
        *rest = slice_of("", 0);
        return part;
    }
    part.len = (size_t)(end - rest->data);
    *rest = slice_of(end + 1, rest->len - part.len - 1);
    return part;
}

static void refuse(struct reply *reply, const char *what, struct slice text)
{
    struct buf why = {0};
    buf_append(&why, SLICE("ERR "));
    buf_append_str(&why, what);
    buf_append(&why, text);
    reply_error_slice(reply, buf_slice(&why));
    buf_fini(&why);
}

static bool take_flags(struct slice list, uint32_t *flags, struct reply *reply)
{
    while (list.len > 0) {
        struct slice word = take_part(&list, ',');
        size_t i = 0;
        while (i < COUNT_OF(flag_words) && !slice_equal(flag_words[i].word, word)) {
            i++;
        }
        if (i == COUNT_OF(flag_words)) {
            refuse(reply, "Unexpected flag in script shebang: ", word);
            return false;
        }
        *flags |= flag_words[i].flag;
    }
    return true;
}

bool script_shebang(struct slice *text, uint32_t *flags, struct reply *reply)
{
    static const struct slice option = {"flags=", 6};
    *flags = SCRIPT_COMPAT;
    if (!slice_starts_with(*text, SLICE("#!"))) { return true; }
    *flags = 0;
    const char *end = memchr(text->data, '\n', text->len);
    if (end == NULL) {
        refuse(reply, "Invalid script shebang", SLICE(""));
        return false;
    }
    struct slice line = slice_of(text->data, (size_t)(end - text->data));
    *text = slice_of(end, text->len - line.len); /* the line's end stays: lines count from it */
    if (line.data[line.len - 1] == '\r') { line.len--; }
    struct slice engine = take_part(&line, ' ');
    if (!slice_equal(engine, SLICE("#!lua"))) {
        refuse(reply, "Unexpected engine in script shebang: ", engine);
        return false;
    }
    while (line.len > 0) {
        struct slice part = take_part(&line, ' ');
        if (part.len == 0) { continue; }
        if (!slice_starts_with(part, option)) {
            refuse(reply, "Unknown lua shebang option: ", part);
            return false;
        }
        struct slice list = slice_of(part.data + option.len, part.len - option.len);
        if (!take_flags(list, flags, reply)) { return false; }
    }
    return true;
}
