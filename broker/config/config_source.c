/* config_source: reads settings from defaults, file, environment and command line, in this order,
 * and says what is wrong with them in one line that names the place, the option, the value and what
 * is allowed. */
#include "config/config_int.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20, SHOWN_BYTES_MAX = 100, NAME_GUESSED_BYTES_MAX = 40 };

#define ENVIRONMENT_PREFIX "FANFARE_"

void settings_fini(struct settings *settings)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        value_fini(&settings->value[i]);
    }
}

enum config_option option_find(struct slice name)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        if (slice_equal_nocase(name, slice_of_str(option_rows[i].name)) ||
            (option_rows[i].alias[0] != '\0' &&
             slice_equal_nocase(name, slice_of_str(option_rows[i].alias)))) {
            return (enum config_option)i;
        }
    }
    return CONFIG_COUNT;
}

/* Levenshtein distance; both at most NAME_GUESSED_BYTES_MAX long. */
static unsigned edit_distance(struct slice a, struct slice b)
{
    unsigned row[NAME_GUESSED_BYTES_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            int ca = tolower((unsigned char)a.data[i - 1]);
            int cb = tolower((unsigned char)b.data[j - 1]);
            unsigned best = diagonal + (ca != cb);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b.len];
}

const char *option_guess(struct slice name)
{
    if (name.len == 0 || name.len > NAME_GUESSED_BYTES_MAX) { return NULL; }
    const char *guess = NULL;
    unsigned nearest = (unsigned)(name.len < 8 ? 1 : name.len / 4) + 1;
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        const char *spellings[] = {option_rows[i].name, option_rows[i].alias};
        for (unsigned at = 0; at < COUNT_OF(spellings); at++) {
            unsigned distance = edit_distance(name, slice_of_str(spellings[at]));
            if (distance < nearest && spellings[at][0] != '\0') {
                nearest = distance;
                guess = spellings[at];
            }
        }
    }
    return guess;
}

static void unknown_option(const char *where, struct slice name, struct buf *problem)
{
    buf_appendf(problem, "%s: unknown option", where);
    const char *guess = option_guess(name);
    const struct compat_row *compat = compat_find(name);
    if (guess != NULL) {
        buf_appendf(problem, "; did you mean %s?", guess);
    } else if (compat != NULL && compat->print != NULL) {
        buf_append_str(problem, "; addresses, ports and unix sockets are given with listen");
    }
}

/* Append the head of the text, for people: without control characters. */
static void append_shown(struct buf *out, struct slice text)
{
    size_t len = text.len < SHOWN_BYTES_MAX ? text.len : SHOWN_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = isprint((unsigned char)text.data[i]) ? text.data[i] : '?';
        buf_append(out, slice_of(&c, 1));
    }
    buf_append_str(out, len < text.len ? "..." : "");
}

/* A user joins those that the same source has named before. */
static bool add_user(struct settings *settings, enum source source, enum config_option option,
                     struct slice text, struct buf *why)
{
    struct buf lines = {0};
    if (settings->source[option] == source) {
        buf_append(&lines, buf_slice(&settings->value[option].text));
    }
    buf_appendf(&lines, "%s ", option_rows[option].name);
    buf_append(&lines, text);
    buf_append_str(&lines, "\n");
    bool is_good =
        value_parse(&option_rows[option], buf_slice(&lines), &settings->value[option], why);
    buf_fini(&lines);
    return is_good;
}

/* One option from one place; `where` names both for people. */
static bool apply(struct settings *settings, enum source source, const char *where,
                  enum config_option option, struct slice text, struct buf *problem)
{
    const struct option_row *row = &option_rows[option];
    struct buf why = {0};
    bool is_good = row->kind == KIND_USERS ? add_user(settings, source, option, text, &why)
                                           : value_parse(row, text, &settings->value[option], &why);
    if (is_good) {
        settings->source[option] = source;
    } else {
        buf_appendf(problem, "%s: bad value \"", where);
        append_shown(problem, text);
        buf_append_str(problem, "\"; allowed: ");
        option_allowed(row, problem);
        if (row->fallback[0] != '\0') { buf_appendf(problem, " (default %s)", row->fallback); }
    }
    buf_fini(&why);
    return is_good;
}

static void read_defaults(struct settings *settings)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        struct buf why = {0};
        CHECK(value_parse(&option_rows[i], slice_of_str(option_rows[i].fallback),
                          &settings->value[i], &why));
        buf_fini(&why);
    }
    settings->value[CONFIG_output_buffer_limit].limit[LIMIT_REPLICA] =
        (struct config_output_limit){256 << 20, 64 << 20, 60}; /* as Redis answers */
}

/* ---- the file ---- */

bool file_read(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return false; }
    ssize_t n;
    while ((n = read(fd, buf_reserve(out, 4096), 4096)) > 0 && out->len <= FILE_BYTES_MAX) {
        out->len += (size_t)n;
    }
    int error = n < 0 ? errno : (out->len > FILE_BYTES_MAX ? EFBIG : 0);
    close(fd);
    errno = error;
    return error == 0;
}

bool text_next_line(struct slice *text, struct slice *line)
{
    if (text->len == 0) { return false; }
    const char *end = memchr(text->data, '\n', text->len);
    size_t len = end != NULL ? (size_t)(end - text->data) : text->len;
    size_t used = end != NULL ? len + 1 : len;
    *line = slice_of(text->data, len);
    *text = slice_of(text->data + used, text->len - used);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character that the escape at `at` (behind the backslash) stands for; moves `at` to its last
 * character. */
static char escape_read(struct slice line, size_t *at)
{
    static const char letters[] = "nrtba";
    static const char meanings[] = "\n\r\t\b\a";
    char c = line.data[*at];
    if (c == 'x' && line.len - *at > 2 && hex_digit(line.data[*at + 1]) >= 0 &&
        hex_digit(line.data[*at + 2]) >= 0) {
        *at += 2;
        return (char)(hex_digit(line.data[*at - 1]) * 16 + hex_digit(line.data[*at]));
    }
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    return letter != NULL ? meanings[letter - letters] : c;
}

/* A quoted word that begins at `at`. False: no closing quote, or text right behind it. */
static bool quoted_read(struct slice line, size_t *at, struct buf *out)
{
    char quote = line.data[*at];
    for (size_t i = *at + 1; i < line.len; i++) {
        char c = line.data[i];
        if (c == quote) {
            *at = i + 1;
            return *at == line.len || isspace((unsigned char)line.data[*at]);
        }
        if (c == '\\' && i + 1 < line.len) {
            i++;
            c = line.data[i];
            if (quote == '"') {
                c = escape_read(line, &i);
            } else if (c != '\'') {
                c = '\\'; /* only \' means something between single quotes */
                i--;
            }
        }
        buf_append(out, slice_of(&c, 1));
    }
    return false;
}

/* The next word, appended to *out; *found tells whether there was one. False: bad quotes. */
static bool word_read(struct slice line, size_t *at, struct buf *out, bool *found)
{
    while (*at < line.len && isspace((unsigned char)line.data[*at])) {
        (*at)++;
    }
    *found = *at < line.len;
    if (*found && (line.data[*at] == '"' || line.data[*at] == '\'')) {
        return quoted_read(line, at, out);
    }
    size_t from = *at;
    while (*at < line.len && !isspace((unsigned char)line.data[*at])) {
        (*at)++;
    }
    if (*at > from) { buf_append(out, slice_of(line.data + from, *at - from)); }
    return true;
}

enum line_status line_split(struct slice line, struct buf *name, struct buf *value)
{
    name->len = 0;
    value->len = 0;
    size_t at = 0;
    bool found;
    if (!word_read(line, &at, name, &found)) { return LINE_BAD_QUOTES; }
    if (!found || (name->len > 0 && name->data[0] == '#')) { return LINE_EMPTY; }
    for (unsigned count = 0;; count++) {
        struct buf word = {0};
        bool is_good = word_read(line, &at, &word, &found);
        if (is_good && found) {
            buf_append_str(value, count > 0 ? " " : "");
            buf_append(value, buf_slice(&word));
        }
        buf_fini(&word);
        if (!is_good) { return LINE_BAD_QUOTES; }
        if (!found) { return count > 0 ? LINE_SETTING : LINE_NO_VALUE; }
    }
}

static bool read_line(struct settings *settings, struct slice line, const char *place,
                      struct buf *problem)
{
    struct buf name = {0}, value = {0}, where = {0};
    bool is_good = false;
    switch (line_split(line, &name, &value)) {
    case LINE_EMPTY: is_good = true; break;
    case LINE_BAD_QUOTES: buf_appendf(problem, "%s: unbalanced quotes", place); break;
    case LINE_NO_VALUE:
        buf_appendf(problem, "%s: ", place);
        append_shown(problem, buf_slice(&name));
        buf_append_str(problem, ": a value is missing");
        break;
    case LINE_SETTING: {
        buf_appendf(&where, "%s: ", place);
        append_shown(&where, buf_slice(&name));
        buf_append(&where, slice_of("", 1));
        enum config_option option = option_find(buf_slice(&name));
        if (option == CONFIG_COUNT) {
            unknown_option(where.data, buf_slice(&name), problem);
        } else {
            is_good = apply(settings, SOURCE_FILE, where.data, option, buf_slice(&value), problem);
        }
        break;
    }
    }
    buf_fini(&where);
    buf_fini(&value);
    buf_fini(&name);
    return is_good;
}

bool settings_read_text(struct settings *settings, struct slice text, const char *path,
                        struct buf *problem)
{
    struct slice line;
    bool is_good = true;
    for (unsigned number = 1; is_good && text_next_line(&text, &line); number++) {
        char place[512];
        snprintf(place, sizeof place, "%s line %u", path, number);
        is_good = read_line(settings, line, place, problem);
    }
    return is_good;
}

static bool read_file(struct settings *settings, const char *path, struct buf *problem)
{
    struct buf text = {0};
    bool is_good = file_read(path, &text);
    if (!is_good) {
        buf_appendf(problem, "%s: cannot be read: %s", path, strerror(errno));
    } else {
        is_good = settings_read_text(settings, buf_slice(&text), path, problem);
    }
    buf_fini(&text);
    return is_good;
}

/* ---- the environment ---- */

void environment_name(const struct option_row *row, struct buf *out)
{
    buf_append_str(out, ENVIRONMENT_PREFIX);
    for (const char *c = row->name; *c != '\0'; c++) {
        char upper = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        buf_append(out, slice_of(&upper, 1));
    }
}

/* Variables that are no option are left alone unless they are near one: Kubernetes gives each pod
 * variables that begin with the names of services, and one of them may well be called fanfare. */
static bool read_variable(struct settings *settings, const char *variable, struct buf *problem)
{
    const char *equals = strchr(variable, '=');
    if (strncmp(variable, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0 || equals == NULL) {
        return true;
    }
    struct buf name = {0};
    for (const char *c = variable + strlen(ENVIRONMENT_PREFIX); c < equals; c++) {
        char lower = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        buf_append(&name, slice_of(&lower, 1));
    }
    char where[64];
    snprintf(where, sizeof where, "%.*s", (int)(equals - variable), variable);
    enum config_option option = option_find(buf_slice(&name));
    bool is_good = true;
    if (option != CONFIG_COUNT &&
        slice_equal(buf_slice(&name), slice_of_str(option_rows[option].name))) {
        is_good =
            apply(settings, SOURCE_ENVIRONMENT, where, option, slice_of_str(equals + 1), problem);
    } else if (option != CONFIG_COUNT || option_guess(buf_slice(&name)) != NULL) {
        const char *meant =
            option != CONFIG_COUNT ? option_rows[option].name : option_guess(buf_slice(&name));
        buf_appendf(problem, "%s: unknown option; did you mean ", where);
        environment_name(&option_rows[option_find(slice_of_str(meant))], problem);
        buf_append_str(problem, "?");
        is_good = false;
    }
    buf_fini(&name);
    return is_good;
}

/* ---- the command line ---- */

/* One argument: a flag with its value, or, if name is empty, something else. */
struct flag {
    struct slice name;
    struct slice value;
    bool has_value;
};

/* Read the argument at *at, and its value if that is the next one; move *at behind them. */
static struct flag flag_read(const struct command_line *line, int *at)
{
    struct flag flag = {0};
    const char *arg = line->argv[(*at)++];
    if (strncmp(arg, "--", 2) != 0) { return flag; }
    const char *equals = strchr(arg, '=');
    flag.name =
        equals != NULL ? slice_of(arg + 2, (size_t)(equals - arg - 2)) : slice_of_str(arg + 2);
    if (equals != NULL) {
        flag.value = slice_of_str(equals + 1);
        flag.has_value = true;
    } else if (*at < line->argc && strncmp(line->argv[*at], "--", 2) != 0) {
        flag.value = slice_of_str(line->argv[(*at)++]);
        flag.has_value = true;
    }
    return flag;
}

/* --help and its like, which take no value. */
static bool wish_read(struct command_line *line, const char *arg)
{
    const struct {
        const char *arg;
        bool *wish;
    } wishes[] = {
        {"--help", &line->wants_help},          {"-h", &line->wants_help},
        {"--version", &line->wants_version},    {"-v", &line->wants_version},
        {"--print-config", &line->wants_print},
    };
    for (unsigned i = 0; i < COUNT_OF(wishes); i++) {
        if (strcmp(arg, wishes[i].arg) == 0) {
            *wishes[i].wish = true;
            return true;
        }
    }
    return false;
}

/* Go through the arguments. Without settings: note the file and the wishes; with them: apply the
 * flags. */
static bool read_command_line(struct command_line *line, struct settings *settings,
                              struct buf *problem)
{
    for (int at = 1; at < line->argc;) {
        const char *arg = line->argv[at];
        if (wish_read(line, arg)) {
            at++;
            continue;
        }
        struct flag flag = flag_read(line, &at);
        if (flag.name.len == 0) {
            if (arg[0] == '-' || (line->file != NULL && settings == NULL)) {
                buf_appendf(
                    problem,
                    arg[0] == '-' ? "%s: unknown option" : "%s: there can be one config file", arg);
                return false;
            }
            line->file = arg;
            continue;
        }
        char where[64];
        snprintf(where, sizeof where, "--%.*s", SLICE_ARG(flag.name));
        enum config_option option = option_find(flag.name);
        if (option == CONFIG_COUNT) {
            unknown_option(where, flag.name, problem);
            return false;
        }
        if (!flag.has_value) {
            buf_appendf(problem, "%s: a value is missing; allowed: ", where);
            option_allowed(&option_rows[option], problem);
            return false;
        }
        if (settings != NULL && !apply(settings, SOURCE_FLAG, where, option, flag.value, problem)) {
            return false;
        }
    }
    return true;
}

/* What the machine decides where nobody else did. */
static void resolve_host_defaults(struct settings *settings)
{
    struct value *threads = &settings->value[CONFIG_threads];
    if (threads->number == 0) {
        int64_t cores = host_core_count();
        int64_t max = option_rows[CONFIG_threads].max;
        threads->number = cores < max ? cores : max;
    }
    if (settings->value[CONFIG_name].text.len == 0) {
        host_name(&settings->value[CONFIG_name].text);
    }
}

/* What single values cannot tell. */
static bool fits_together(const struct settings *settings, struct buf *problem)
{
    int64_t expect = settings->value[CONFIG_expect].number;
    int64_t node_timeout_ms = settings->value[CONFIG_cluster_node_timeout].number;
    if (expect > 1 && settings->value[CONFIG_join].text.len == 0) {
        buf_appendf(problem, "expect %lld needs join: where the nodes are to meet",
                    (long long)expect);
        return false;
    }
    if (settings->value[CONFIG_cluster_timeout].number < 2 * node_timeout_ms) {
        buf_appendf(problem,
                    "cluster-timeout must be at least twice cluster-node-timeout (%lld ms), or "
                    "commands fail before a lost node is replaced",
                    (long long)node_timeout_ms);
        return false;
    }
    return true;
}

bool settings_load(struct settings *settings, struct command_line *line, struct buf *problem)
{
    read_defaults(settings);
    if (!read_command_line(line, NULL, problem)) { return false; }
    if (line->wants_help || line->wants_version) { return true; }
    if (line->file != NULL && !read_file(settings, line->file, problem)) { return false; }
    for (char *const *variable = line->environment; *variable != NULL; variable++) {
        if (!read_variable(settings, *variable, problem)) { return false; }
    }
    if (!read_command_line(line, settings, problem)) { return false; }
    resolve_host_defaults(settings);
    return fits_together(settings, problem);
}
