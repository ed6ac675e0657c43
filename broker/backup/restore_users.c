/* restore_users: see the header. */
#include "backup/restore_users.h"

/* The next piece, up to a character; *rest: what is behind that. */
static struct slice cut(struct slice *rest, char at)
{
    const char *end = rest->len > 0 ? memchr(rest->data, at, rest->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    size_t behind = end != NULL ? len + 1 : len;
    struct slice out = slice_of(rest->data, len);
    *rest = slice_of(rest->data + behind, rest->len - behind);
    return out;
}

/* A word; what stands in parentheses is one. */
static struct slice next_word(struct slice *rest)
{
    if (rest->len == 0 || *rest->data != '(') { return cut(rest, ' '); }
    const char *begin = rest->data;
    (void)cut(rest, ')');
    size_t len = (size_t)(rest->data - begin);
    (void)cut(rest, ' ');
    return slice_of(begin, len);
}

static enum target_state make(struct import_target *target, struct slice name, struct slice rules)
{
    struct import_command command = {.count = 0};
    import_command_begin(&command, "ACL");
    import_command_str(&command, "SETUSER");
    import_command_word(&command, name);
    import_command_str(&command, "reset");
    while (rules.len > 0) {
        struct slice word = next_word(&rules);
        if (word.len > 0) { import_command_word(&command, word); }
    }
    enum target_state state = target_send(target, &command, import_mark_none, 0);
    buf_fini(&command.words);
    return state == TARGET_GOOD ? target_drain(target) : state;
}

static enum target_state make_some(struct import_target *target, struct slice lines, bool own,
                                   uint64_t *count)
{
    enum target_state state = TARGET_GOOD;
    const char *user = target->server.user[0] != 0 ? target->server.user : "default";
    while (lines.len > 0 && state == TARGET_GOOD) {
        struct slice line = cut(&lines, '\n');
        if (!slice_equal(cut(&line, ' '), SLICE("user"))) { continue; }
        struct slice name = cut(&line, ' ');
        if (slice_equal(name, slice_of_str(user)) != own) { continue; }
        state = make(target, name, line);
        *count += state == TARGET_GOOD;
    }
    return state;
}

enum target_state restore_users(struct import_target *target, struct slice lines, uint64_t *count)
{
    *count = 0;
    enum target_state state = make_some(target, lines, false, count);
    return state == TARGET_GOOD ? make_some(target, lines, true, count) : state;
}
