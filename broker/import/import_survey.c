/* import_survey: what an RDB file has, and what of it cannot come over. */
#include "import/import_survey.h"

#include "rdb/rdb_file.h"

enum { NAMES_BYTES = 160, NAME_BYTES = 48, TURN_BYTES = 8 << 20 };

/* ---- one value ---- */

static bool on_event(void *arg, const struct rdb_event *event)
{
    bool *is_large = arg;
    size_t bytes = event->name.len + event->value.len;
    for (uint32_t i = 0; i < event->part_count; i++) {
        bytes += event->part[i].len;
    }
    /* A string comes in parts, whatever its length. */
    if (event->kind != RDB_TEXT && bytes > IMPORT_ELEMENT_BYTES_MAX) { *is_large = true; }
    return true;
}

enum import_reason import_value_reason(struct rdb_in *in, uint8_t type, bool *is_bad)
{
    bool is_large = false;
    const struct rdb_sink sink = {on_event, &is_large};
    char module[RDB_MODULE_NAME_BYTES];
    if (type == RDB_TYPE_MODULE_2) {
        *is_bad = !rdb_module_skip(in, module);
        return REASON_MODULE;
    }
    *is_bad = !rdb_value_read(in, type, &sink);
    return is_large ? REASON_LARGE : REASONS;
}

/* ---- all of them ---- */

static void note(struct import_survey *survey, enum import_reason reason, struct slice name)
{
    struct buf *names = &survey->names[reason];
    survey->left_out[reason]++;
    if (names->len > NAMES_BYTES) { return; }
    if (names->len > 0) { buf_append_str(names, ", "); }
    for (size_t i = 0; i < name.len && i < NAME_BYTES; i++) {
        bool is_plain = name.data[i] > 32 && name.data[i] < 127;
        buf_appendf(names, is_plain ? "%c" : "\\x%02x", (unsigned char)name.data[i]);
    }
    if (name.len > NAME_BYTES) { buf_append_str(names, "..."); }
}

/* The name of a library of functions stands in its first line. */
static struct slice library_name(struct slice source)
{
    const char *at = memmem(source.data, source.len, "name=", 5);
    if (at == NULL) { return SLICE("?"); }
    at += 5;
    size_t len = 0;
    while (at + len < source.data + source.len && at[len] > 32) {
        len++;
    }
    return slice_of(at, len);
}

/* False: it cannot be read. */
static bool survey_key(struct import_survey *survey, struct rdb_file *file)
{
    bool is_bad;
    char name[RDB_MODULE_NAME_BYTES + NAME_BYTES + 8];
    struct rdb_in before = file->in;
    enum import_reason reason = import_value_reason(&file->in, file->type, &is_bad);
    if (is_bad && file->in.why == rdb_empty) {
        file->in.why = NULL;
        survey->empty++;
        return true;
    }
    if (is_bad) { return false; }
    survey->keys++;
    survey->kinds[rdb_kind_of(file->type)]++;
    survey->expiring += file->expire_ms != 0;
    if (file->db < IMPORT_DATABASES) {
        survey->keys_of[file->db]++;
    } else {
        note(survey, REASON_DATABASE, file->key);
        return true;
    }
    if (reason == REASON_MODULE) {
        char module[RDB_MODULE_NAME_BYTES];
        if (!rdb_module_skip(&before, module)) { return false; }
        int len = file->key.len < NAME_BYTES ? (int)file->key.len : NAME_BYTES;
        snprintf(name, sizeof name, "%.*s(%s)", len, file->key.data, module);
        note(survey, reason, slice_of_str(name));
    } else if (reason != REASONS) {
        note(survey, reason, file->key);
    }
    return true;
}

static bool survey_step(struct import_survey *survey, struct rdb_file *file, enum rdb_step step)
{
    switch (step) {
    case RDB_STEP_KEY: return survey_key(survey, file);
    case RDB_STEP_FUNCTION: note(survey, REASON_FUNCTION, library_name(file->value)); return true;
    case RDB_STEP_MODULE_DATA: note(survey, REASON_MODULE_DATA, file->key); return true;
    case RDB_STEP_NOTE:
        if (slice_equal(file->key, SLICE("redis-ver")) ||
            slice_equal(file->key, SLICE("valkey-ver"))) {
            buf_appendf(&survey->made_by, "%.*s %.*s", (int)file->key.len - 4, file->key.data,
                        SLICE_ARG(file->value));
        }
        return true;
    case RDB_STEP_DB:
    case RDB_STEP_END: return true;
    case RDB_STEP_BAD: break;
    }
    return false;
}

bool import_survey_add(struct import_survey *survey, const struct import_survey_opts *opts,
                       const char **why, uint64_t *at)
{
    struct rdb_file file;
    struct import_survey ignored = {.keys = 0};
    bool is_good = rdb_file_begin(&file, opts->file, true);
    enum rdb_step step = RDB_STEP_BAD;
    uint64_t turn_at = TURN_BYTES;
    survey->version = file.version;
    while (is_good && step != RDB_STEP_END) {
        step = rdb_file_next(&file);
        bool is_other =
            step == RDB_STEP_KEY && opts->only_db >= 0 && file.db != (uint32_t)opts->only_db;
        is_good = survey_step(is_other ? &ignored : survey, &file, step);
        if (is_good && rdb_file_at(&file) >= turn_at) {
            turn_at = rdb_file_at(&file) + TURN_BYTES;
            is_good = opts->on_turn(opts->arg) || rdb_fail(&file.in, rdb_stopped);
        }
    }
    *why = file.in.why;
    *at = rdb_file_at(&file);
    rdb_file_end(&file);
    import_survey_fini(&ignored);
    return is_good;
}

bool import_survey_read(struct import_survey *survey, const struct import_survey_opts *opts,
                        const char **why, uint64_t *at)
{
    *survey = (struct import_survey){.keys = 0};
    return import_survey_add(survey, opts, why, at);
}

void import_survey_fini(struct import_survey *survey)
{
    buf_fini(&survey->made_by);
    for (size_t i = 0; i < REASONS; i++) {
        buf_fini(&survey->names[i]);
    }
}

uint64_t import_survey_left_out(const struct import_survey *survey)
{
    uint64_t count = 0;
    for (size_t i = 0; i < REASONS; i++) {
        count += survey->left_out[i];
    }
    return count;
}

void import_survey_print(const struct import_survey *survey, FILE *out)
{
    static const char *const kinds[] = {"unknown",     "strings", "lists",   "sets",
                                        "sorted sets", "hashes",  "streams", "of modules"};
    static const char *const reasons[REASONS] = {
        "keys with values of modules", "keys with an element above 15 MiB",
        "keys in databases above 15", "libraries of functions", "modules' data beside the keys"};
    fprintf(out, "RDB version %u%s%.*s: %lu keys, %lu with a deadline\n", survey->version,
            survey->made_by.len > 0 ? ", of " : "", SLICE_ARG(buf_slice(&survey->made_by)),
            survey->keys, survey->expiring);
    for (size_t i = 0; i < IMPORT_DATABASES; i++) {
        if (survey->keys_of[i] > 0) {
            fprintf(out, "  database %zu: %lu\n", i, survey->keys_of[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (survey->kinds[i] > 0) { fprintf(out, "  %s: %lu\n", kinds[i], survey->kinds[i]); }
    }
    if (survey->empty > 0) { fprintf(out, "  empty, not loaded: %lu\n", survey->empty); }
    if (import_survey_left_out(survey) > 0) { fprintf(out, "cannot come over:\n"); }
    for (size_t i = 0; i < REASONS; i++) {
        if (survey->left_out[i] == 0) { continue; }
        fprintf(out, "  %lu %s: %.*s%s\n", survey->left_out[i], reasons[i],
                SLICE_ARG(buf_slice(&survey->names[i])),
                survey->names[i].len > NAMES_BYTES ? ", ..." : "");
    }
}
