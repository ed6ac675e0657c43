/* cmd_command_docs: COMMAND DOCS. A row's syntax line is for people; here it becomes the tree of
 * arguments that redis-cli makes its hints from.
 *     syntax := item ...   item := (WORD | name | "[" syntax "]" | "<" syntax "|" syntax ... ">")
 * ["..."] `X [X ...]` means that X may be repeated. */
#include <ctype.h>

#include "cmd/caller.h"
#include "cmd/cmd_command_int.h"

enum item_kind { ITEM_TOKEN, ITEM_NAME, ITEM_BLOCK, ITEM_ONE_OF };

struct item {
    enum item_kind kind;
    struct slice text; /* the word, or what is inside the brackets */
    bool is_optional;
    bool is_multiple;
};

/* The length of the bracketed text at the start of s, brackets included; 1 if it starts with none.
 * */
static size_t bracket_len(struct slice s)
{
    int depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        depth += s.data[i] == '[' || s.data[i] == '<';
        depth -= s.data[i] == ']' || s.data[i] == '>';
        if (depth == 0) { return i + 1; }
    }
    UNREACHABLE(); /* the table's brackets match */
}

/* The length of the item at the start of s, without a "..." behind it. */
static size_t item_len(struct slice s)
{
    if (s.len == 0) { return 0; }
    if (s.data[0] == '[' || s.data[0] == '<') { return bracket_len(s); }
    size_t len = 0;
    while (len < s.len && s.data[len] != ' ') {
        len++;
    }
    return len;
}

static struct slice skip(struct slice s, size_t count)
{
    return slice_of(s.data + count, s.len - count);
}

static struct slice skip_blanks(struct slice s)
{
    while (s.len > 0 && s.data[0] == ' ') {
        s = skip(s, 1);
    }
    return s;
}

/* If s begins with `X [X ...]`, for one item X or several: the length of X; else 0. */
static size_t repeated_len(struct slice s)
{
    for (size_t len = item_len(s); len < s.len;) {
        struct slice rest = skip(s, len + 1);
        if (rest.len >= len + strlen("[ ...]") && rest.data[0] == '[' &&
            memcmp(rest.data + 1, s.data, len) == 0 &&
            memcmp(rest.data + 1 + len, " ...]", strlen(" ...]")) == 0) {
            return len;
        }
        len += 1 + item_len(rest);
    }
    return 0;
}

static enum item_kind word_kind(struct slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        if (islower((unsigned char)word.data[i])) { return ITEM_NAME; }
    }
    return ITEM_TOKEN;
}

/* Does it consist of one item? Then *item is it. */
static bool item_next(struct slice *rest, struct item *item);
static bool is_single(struct slice s, struct item *item)
{
    return item_next(&s, item) && skip_blanks(s).len == 0;
}

/* A block of one item is that item. */
static struct item item_of(struct slice text)
{
    struct item item = {.kind = ITEM_BLOCK, .text = text};
    struct item only;
    bool is_bracket = bracket_len(text) == text.len;
    if (is_bracket && text.data[0] == '[') {
        item.text = slice_of(text.data + 1, text.len - 2);
        item = is_single(item.text, &only) ? only : item;
        item.is_optional = true;
    } else if (is_bracket && text.data[0] == '<') {
        item = (struct item){.kind = ITEM_ONE_OF, .text = slice_of(text.data + 1, text.len - 2)};
    } else if (memchr(text.data, ' ', text.len) == NULL) {
        item.kind = word_kind(text);
    }
    return item;
}

/* Take the next item from *rest. */
static bool item_next(struct slice *rest, struct item *item)
{
    *rest = skip_blanks(*rest);
    if (rest->len == 0) { return false; }
    size_t repeated = repeated_len(*rest);
    if (repeated > 0) {
        *item = item_of(slice_of(rest->data, repeated));
        item->is_multiple = true;
        *rest = skip(*rest, 2 * repeated + strlen(" [ ...]"));
        return true;
    }
    size_t len = item_len(*rest);
    *item = item_of(slice_of(rest->data, len));
    *rest = skip(*rest, len);
    if (slice_starts_with(*rest, SLICE(" ..."))) {
        item->is_multiple = true;
        *rest = skip(*rest, strlen(" ..."));
    }
    return true;
}

/* The next alternative of a one-of, up to its "|". */
static bool alternative_next(struct slice *rest, struct slice *alternative)
{
    *rest = skip_blanks(*rest);
    size_t len = 0;
    while (len < rest->len && rest->data[len] != '|') {
        len += rest->data[len] == '[' || rest->data[len] == '<' ? bracket_len(skip(*rest, len)) : 1;
    }
    if (len == 0) { return false; }
    size_t trimmed = len;
    while (rest->data[trimmed - 1] == ' ') {
        trimmed--;
    }
    *alternative = slice_of(rest->data, trimmed);
    *rest = skip(*rest, len < rest->len ? len + 1 : len);
    return true;
}

/* The next child of a block or a one-of; *rest begins as its text. */
static bool child_next(enum item_kind parent, struct slice *rest, struct item *child)
{
    struct slice alternative;
    if (parent == ITEM_BLOCK) { return item_next(rest, child); }
    if (!alternative_next(rest, &alternative)) { return false; }
    if (!is_single(alternative, child)) {
        *child = (struct item){.kind = ITEM_BLOCK, .text = alternative};
    }
    return true;
}

/* The first word inside, in lower case: what names an argument that has no name of its own. */
static void write_name(struct reply *reply, struct slice text)
{
    char name[64];
    size_t from = 0, len = 0;
    while (from < text.len && strchr("[< ", text.data[from]) != NULL) {
        from++;
    }
    while (from + len < text.len && len < sizeof name &&
           strchr(" ]>|", text.data[from + len]) == NULL) {
        name[len] = (char)tolower((unsigned char)text.data[from + len]);
        len++;
    }
    reply_bulk(reply, slice_of(name, len));
}

static void write_children(struct reply *reply, enum item_kind kind, struct slice text);

static void write_argument(struct reply *reply, const struct item *item)
{
    static const char *const type[] = {
        [ITEM_TOKEN] = "pure-token",
        [ITEM_NAME] = "string",
        [ITEM_BLOCK] = "block",
        [ITEM_ONE_OF] = "oneof",
    };
    bool has_children = item->kind == ITEM_BLOCK || item->kind == ITEM_ONE_OF;
    size_t flags = (size_t)item->is_optional + item->is_multiple;
    reply_map(reply, 2 + (size_t)(item->kind == ITEM_TOKEN) + (flags > 0) + has_children);
    reply_bulk_str(reply, "name");
    write_name(reply, item->text);
    reply_bulk_str(reply, "type");
    reply_bulk_str(reply, type[item->kind]);
    if (item->kind == ITEM_TOKEN) {
        reply_bulk_str(reply, "token");
        reply_bulk(reply, item->text);
    }
    if (flags > 0) {
        reply_bulk_str(reply, "flags");
        reply_set(reply, flags);
    }
    if (item->is_optional) { reply_status(reply, "optional"); }
    if (item->is_multiple) { reply_status(reply, "multiple"); }
    if (has_children) {
        reply_bulk_str(reply, "arguments");
        write_children(reply, item->kind, item->text);
    }
}

static void write_children(struct reply *reply, enum item_kind kind, struct slice text)
{
    struct item child;
    size_t count = 0;
    for (struct slice rest = text; child_next(kind, &rest, &child);) {
        count++;
    }
    reply_array(reply, count);
    for (struct slice rest = text; child_next(kind, &rest, &child);) {
        write_argument(reply, &child);
    }
}

static void write_pair(struct reply *reply, const char *name, const char *text)
{
    reply_bulk_str(reply, name);
    reply_bulk_str(reply, text);
}

/* The name and the document of a row, with those of the `subcommands` rows behind it. */
static void write_docs(struct reply *reply, const struct command *command, uint32_t subcommands)
{
    bool has_arguments = command->syntax[0] != '\0';
    bool has_complexity = command->complexity[0] != '\0';
    reply_bulk_str(reply, command->full_name);
    reply_map(reply, 3 + (size_t)has_complexity + has_arguments + (subcommands > 0));
    write_pair(reply, "summary", command->summary);
    write_pair(reply, "since", command->since);
    write_pair(reply, "group", command_group_word[command->group]);
    if (has_complexity) { write_pair(reply, "complexity", command->complexity); }
    if (has_arguments) {
        reply_bulk_str(reply, "arguments");
        write_children(reply, ITEM_BLOCK, slice_of_str(command->syntax));
    }
    if (subcommands > 0) {
        reply_bulk_str(reply, "subcommands");
        reply_map(reply, subcommands);
        for (uint32_t i = 1; i <= subcommands; i++) {
            write_docs(reply, command + i, 0);
        }
    }
}

void cmd_command_docs(struct call *call)
{
    struct reply *reply = call->reply;
    const struct command_index *index = call->caller->broker->commands;
    size_t count = 0;
    if (call->argc == 2) {
        for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
            count += !command_is_subcommand(&command_table[id]);
        }
        reply_map(reply, count);
        for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
            if (!command_is_subcommand(&command_table[id])) {
                write_docs(reply, &command_table[id], command_subcommand_count(&command_table[id]));
            }
        }
        return;
    }
    for (uint32_t i = 2; i < call->argc; i++) {
        count += command_find_full(index, call->argv[i]) != NULL;
    }
    reply_map(reply, count);
    for (uint32_t i = 2; i < call->argc; i++) {
        const struct command *command = command_find_full(index, call->argv[i]);
        if (command != NULL) { write_docs(reply, command, command_subcommand_count(command)); }
    }
}
