/* config_int: the option rows, single values and the set of them, shared by the files of this
 * folder and its tests.
 * Owns: nothing. Thread: any; the callers hold what they pass. */
#ifndef FANFARE_CONFIG_CONFIG_INT_H
#define FANFARE_CONFIG_CONFIG_INT_H

#include "base/address.h"
#include "config/config.h"

enum option_group {
    GROUP_NETWORK,
    GROUP_TLS,
    GROUP_NODE,
    GROUP_DATA,
    GROUP_CLUSTER,
    GROUP_SECURITY,
    GROUP_LIMITS,
    GROUP_LOGGING,
    GROUP_COUNT
};

enum option_kind {
    KIND_NUMBER,
    KIND_BYTES,
    KIND_YES_NO,
    KIND_CHOICE,
    KIND_FILE_MODE,
    KIND_NAME,
    KIND_TEXT,
    KIND_TEXT_OR_NONE,
    KIND_SECRET,
    KIND_ADDRESSES,
    KIND_ADDRESS_OR_OFF,
    KIND_ADDRESS,
    KIND_PEERS,
    KIND_HOST,
    KIND_OUTPUT_LIMITS,
    KIND_EVENTS, /* these two are bits in the number */
    KIND_DATABASES,
    KIND_USERS, /* lines of an ACL file, each with its end */
};

enum option_change { CHANGE_AT_START, CHANGE_AT_RUN_TIME };

struct option_row {
    const char *name;
    enum option_group group;
    enum option_kind kind;
    int64_t min; /* of numbers and sizes */
    int64_t max;
    const char *choices;  /* words apart by a space, one per value; synonyms after a comma */
    const char *fallback; /* the default, as a user would write it */
    enum option_change change;
    const char *alias; /* Redis's name, or "" */
    const char *help;
};

extern const struct option_row option_rows[CONFIG_COUNT];
extern const char *const option_group_names[GROUP_COUNT];

/* The option with that name or alias (case ignored); CONFIG_COUNT if there is none. */
enum config_option option_find(struct slice name);

/* The name that `name` is probably meant to be; NULL if none is near. */
const char *option_guess(struct slice name);

/* ---- config_value.c: one value ---- */

/* Redis's classes; the last one has no meaning here, but clients set it and read it back. */
enum { LIMIT_CLASSES = CONFIG_CLIENT_CLASSES + 1, LIMIT_REPLICA = CONFIG_CLIENT_CLASSES };

/* A zeroed struct is empty; what a row's kind does not use stays zero. */
struct value {
    int64_t number;
    struct buf text;
    struct config_output_limit limit[LIMIT_CLASSES];
};

void value_fini(struct value *value);

/* Replace *value by what `text` says. Output limits that the text does not name stay as they were.
 * False: *value is unchanged and *why has the reason appended, in Redis's words. */
MUST_USE bool value_parse(const struct option_row *row, struct slice text, struct value *value,
                          struct buf *why);

/* PRINT_PLAIN: as CONFIG GET answers. PRINT_REDIS: the same for the alias of a row. PRINT_FILE: as
 * a line of the file has it. */
enum print_style { PRINT_PLAIN, PRINT_REDIS, PRINT_FILE };
void value_print(const struct option_row *row, const struct value *value, enum print_style style,
                 struct buf *out);

bool value_equal(const struct option_row *row, const struct value *a, const struct value *b);

/* What the row accepts, for people: "a whole number from 1 to 65535". */
void option_allowed(const struct option_row *row, struct buf *out);

/* ---- config_sets.c ---- */

/* As value_parse and value_print, of the kinds EVENTS and DATABASES. */
MUST_USE bool events_parse(struct slice text, int64_t *out, struct buf *why);
void events_print(int64_t bits, struct buf *out);
MUST_USE bool databases_parse(struct slice text, int64_t *out, struct buf *why);
void databases_print(int64_t bits, struct buf *out);

/* ---- config_source.c: where values come from ---- */

enum source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG, SOURCE_RUN_TIME };

struct settings {
    struct value value[CONFIG_COUNT];
    enum source source[CONFIG_COUNT];
};

void settings_fini(struct settings *settings);

/* What the command line asks for besides options. */
struct command_line {
    int argc;
    char *const *argv;
    char *const *environment;
    const char *file; /* NULL: none */
    bool wants_help;
    bool wants_version;
    bool wants_print;
};

/* Fill zeroed settings from all sources; note the file and the wishes in *line, whose argc, argv
 * and environment are set.
 * False: *problem has a line of text for people. */
MUST_USE bool settings_load(struct settings *settings, struct command_line *line,
                            struct buf *problem);

/* Read the text of a config file into the settings; `path` is for messages. Errors as in
 * settings_load. */
MUST_USE bool settings_read_text(struct settings *settings, struct slice text, const char *path,
                                 struct buf *problem);

/* Append the content of the file. False: errno. */
MUST_USE bool file_read(const char *path, struct buf *out);

/* Take the next line, without its end, from *text. False at the end. */
bool text_next_line(struct slice *text, struct slice *line);

/* Split a line into its name and its value: further words joined by one space, quotes and escapes
 * resolved.
 * LINE_EMPTY for blanks and comments; both bufs are replaced. */
enum line_status { LINE_EMPTY, LINE_SETTING, LINE_NO_VALUE, LINE_BAD_QUOTES };
enum line_status line_split(struct slice line, struct buf *name, struct buf *value);

/* Append "name value", quoted so that line_split reads it back. */
void line_print(const char *name, const struct option_row *row, const struct value *value,
                struct buf *out);

/* ---- config_help.c ---- */

void help_print(struct buf *out);
void settings_print(const struct settings *settings, struct buf *out);
void environment_name(const struct option_row *row, struct buf *out);

/* ---- config_host.c: what the machine says ---- */

uint32_t host_core_count(void);
void host_name(struct buf *out);

/* ---- config_compat.c: settings of Redis that are fixed here ---- */

struct compat_row {
    const char *name;
    const char *value; /* or NULL, and: */
    void (*print)(const struct settings *settings, struct buf *out);
};
extern const struct compat_row compat_rows[];
extern const uint32_t compat_row_count;

/* NULL if there is none of that name. */
const struct compat_row *compat_find(struct slice name);
void compat_print(const struct compat_row *row, const struct settings *settings, struct buf *out);

#endif
