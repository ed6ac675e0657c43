/* config_help: the texts of --help and --print-config, made from the rows. */
#include "config/config_int.h"

#include <ctype.h>
#include <stdio.h>

enum { HELP_COLUMN = 30 };

static void option_help(const struct option_row *row, struct buf *out)
{
    char flag[64];
    snprintf(flag, sizeof flag, "  --%s", row->name);
    buf_appendf(out, "%-*s%s\n%-*s", HELP_COLUMN, flag, row->help, HELP_COLUMN, "");
    option_allowed(row, out);
    buf_appendf(out, "\n%-*sdefault %s, ", HELP_COLUMN, "",
                row->fallback[0] != '\0' ? row->fallback : "empty");
    environment_name(row, out);
    buf_append_str(out, row->change == CHANGE_AT_RUN_TIME ? ", CONFIG SET\n" : "\n");
}

void help_print(struct buf *out)
{
    buf_append_str(out, "Usage: fanfare [--option value | --option=value ...] [config-file]\n"
                        "       fanfare wal-check DIR\n"
                        "       fanfare recover --force-new-cluster DIR\n"
                        "       fanfare import | backup | restore ... (each tells what it wants)\n"
                        "A message broker that speaks the Redis protocol.\n\n"
                        "Every option can also be a line `name value` of the config file (# begins "
                        "a comment line) or an\n"
                        "environment variable. The command line wins over the environment, which "
                        "wins over the file.\n");
    for (unsigned group = 0; group < GROUP_COUNT; group++) {
        buf_appendf(out, "\n%s\n", option_group_names[group]);
        for (unsigned i = 0; i < CONFIG_COUNT; i++) {
            if (option_rows[i].group == group) { option_help(&option_rows[i], out); }
        }
    }
    buf_append_str(out, "\nOther\n");
    buf_appendf(out, "%-*sprint this text\n", HELP_COLUMN, "  --help, -h");
    buf_appendf(out, "%-*sprint the version\n", HELP_COLUMN, "  --version, -v");
    buf_appendf(out, "%-*sprint the values in effect as a config file\n", HELP_COLUMN,
                "  --print-config");
    buf_appendf(
        out,
        "%-*stell what the write-ahead log in DIR holds, change nothing;\n%-*sexit 0: whole, "
        "1: damaged, 2: it cannot be read\n",
        HELP_COLUMN, "  wal-check DIR", HELP_COLUMN, "");
}

/* Must a value be quoted to be read back unchanged? A list of words, apart by single blanks, need
 * not. */
static bool needs_quotes(struct slice text, bool is_list)
{
    bool was_blank = true;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool is_blank = c == ' ';
        if ((!isgraph(c) && !is_blank) || c == '"' || c == '\'' || c == '\\' ||
            (is_blank && (was_blank || !is_list))) {
            return true;
        }
        was_blank = is_blank;
    }
    return was_blank;
}

static void quoted_print(struct slice text, struct buf *out)
{
    buf_append_str(out, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '"' || c == '\\') {
            buf_appendf(out, "\\%c", c);
        } else if (isprint(c)) {
            buf_append(out, slice_of(&text.data[i], 1));
        } else {
            buf_appendf(out, "\\x%02x", c);
        }
    }
    buf_append_str(out, "\"");
}

static void setting_print(const char *name, struct slice text, bool is_list, struct buf *out)
{
    buf_appendf(out, "%s ", name);
    if (needs_quotes(text, is_list)) {
        quoted_print(text, out);
    } else {
        buf_append(out, text);
    }
}

/* A line each; its end is missing at the last one, as everywhere. */
static void users_print(const struct option_row *row, struct slice text, struct buf *out)
{
    size_t head = strlen(row->name) + 1;
    struct slice line;
    for (unsigned count = 0; text_next_line(&text, &line); count++) {
        CHECK(line.len >= head);
        buf_append_str(out, count > 0 ? "\n" : "");
        setting_print(row->name, slice_of(line.data + head, line.len - head), true, out);
    }
}

void line_print(const char *name, const struct option_row *row, const struct value *value,
                struct buf *out)
{
    if (row->kind == KIND_USERS) {
        users_print(row, buf_slice(&value->text), out);
        return;
    }
    struct buf text = {0};
    value_print(row, value, PRINT_FILE, &text);
    bool is_list =
        row->kind == KIND_ADDRESSES || row->kind == KIND_PEERS || row->kind == KIND_OUTPUT_LIMITS;
    setting_print(name, buf_slice(&text), is_list, out);
    buf_fini(&text);
}

static const char *source_word(enum source source)
{
    switch (source) {
    case SOURCE_DEFAULT: return "default";
    case SOURCE_FILE: return "file";
    case SOURCE_ENVIRONMENT: return "environment";
    case SOURCE_FLAG: return "command line";
    case SOURCE_RUN_TIME: return "CONFIG SET";
    }
    UNREACHABLE();
}

void settings_print(const struct settings *settings, struct buf *out)
{
    for (unsigned group = 0; group < GROUP_COUNT; group++) {
        buf_appendf(out, "%s# %s\n", group > 0 ? "\n" : "", option_group_names[group]);
        for (unsigned i = 0; i < CONFIG_COUNT; i++) {
            const struct option_row *row = &option_rows[i];
            const struct value *value = &settings->value[i];
            if (row->group != group) { continue; }
            bool is_hidden = row->kind == KIND_SECRET || row->kind == KIND_USERS;
            if (is_hidden && value->text.len > 0) {
                buf_appendf(out, "# %s is set (%s) and not shown\n", row->name,
                            source_word(settings->source[i]));
                continue;
            }
            if (row->kind == KIND_USERS) { continue; }
            line_print(row->name, row, value, out);
            buf_append_str(out, "\n");
        }
    }
}
