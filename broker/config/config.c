/* config: the values in effect: loading, reading, CONFIG GET and SET, reload. */
#include "config/config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "config/config_int.h"
#include "config/config_state_int.h"

/* Make the settings visible to those who read without the lock. */
static void publish(struct config *config)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        const struct value *value = &config->settings.value[i];
        atomic_store_explicit(&config->number[i], value->number, memory_order_relaxed);
        atomic_store_explicit(&config->is_empty[i], value->text.len == 0, memory_order_relaxed);
    }
    for (unsigned i = 0; i < CONFIG_CLIENT_CLASSES; i++) {
        const struct config_output_limit *limit =
            &config->settings.value[CONFIG_output_buffer_limit].limit[i];
        atomic_store_explicit(&config->limit[i].hard_bytes, limit->hard_bytes,
                              memory_order_relaxed);
        atomic_store_explicit(&config->limit[i].soft_bytes, limit->soft_bytes,
                              memory_order_relaxed);
        atomic_store_explicit(&config->limit[i].soft_seconds, limit->soft_seconds,
                              memory_order_relaxed);
    }
    log_configure((enum log_level)config->settings.value[CONFIG_log_level].number,
                  (enum log_format)config->settings.value[CONFIG_log_format].number);
    atomic_fetch_add(&config->version, 1);
}

static void write_out(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n <= 0) { return; /* nobody is left to tell */ }
        text = slice_of(text.data + n, text.len - (size_t)n);
    }
}

enum config_action config_load(struct config **out, int argc, char *const *argv,
                               char *const *environment)
{
    struct config *config = mem_new0(sizeof *config);
    config->line = (struct command_line){.argc = argc, .argv = argv, .environment = environment};
    config->clients_max = option_rows[CONFIG_max_clients].max;
    CHECK(pthread_mutex_init(&config->lock, NULL) == 0);
    struct buf text = {0};
    enum config_action action = CONFIG_EXIT_OK;
    if (!settings_load(&config->settings, &config->line, &text)) {
        action = CONFIG_EXIT_USAGE;
    } else if (config->line.wants_help) {
        help_print(&text);
    } else if (config->line.wants_version) {
        buf_append_str(&text, "fanfare " FANFARE_VERSION "\n");
    } else if (config->line.wants_print) {
        settings_print(&config->settings, &text);
    } else {
        action = CONFIG_RUN;
    }
    if (action == CONFIG_RUN) {
        publish(config);
        *out = config;
    } else {
        if (action == CONFIG_EXIT_USAGE) {
            write_out(STDERR_FILENO, SLICE("fanfare: "));
            buf_append_str(&text, "\nfanfare --help lists all options.\n");
        }
        write_out(action == CONFIG_EXIT_OK ? STDOUT_FILENO : STDERR_FILENO, buf_slice(&text));
        config_free(config);
    }
    buf_fini(&text);
    return action;
}

void config_free(struct config *config)
{
    if (config == NULL) { return; }
    settings_fini(&config->settings);
    CHECK(pthread_mutex_destroy(&config->lock) == 0);
    mem_free(config);
}

int64_t config_number(const struct config *config, enum config_option option)
{
    return atomic_load_explicit(&config->number[option], memory_order_relaxed);
}

void config_text(struct config *config, enum config_option option, struct buf *out)
{
    pthread_mutex_lock(&config->lock);
    buf_append(out, buf_slice(&config->settings.value[option].text));
    pthread_mutex_unlock(&config->lock);
}

bool config_text_is_empty(const struct config *config, enum config_option option)
{
    return atomic_load_explicit(&config->is_empty[option], memory_order_relaxed);
}

struct config_output_limit config_output_limit(const struct config *config,
                                               enum config_client_class class)
{
    return (struct config_output_limit){
        atomic_load_explicit(&config->limit[class].hard_bytes, memory_order_relaxed),
        atomic_load_explicit(&config->limit[class].soft_bytes, memory_order_relaxed),
        atomic_load_explicit(&config->limit[class].soft_seconds, memory_order_relaxed),
    };
}

uint64_t config_version(const struct config *config)
{
    return atomic_load(&config->version);
}

const char *config_file(const struct config *config)
{
    return config->line.file != NULL ? config->line.file : "";
}

/* ---- CONFIG GET ---- */

/* Option names are lower case, so a lowered pattern ignores case. */
static void pattern_lower(struct slice pattern, struct buf *out)
{
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.data[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        buf_append(out, slice_of(&c, 1));
    }
}

static bool name_matches(const struct slice *pattern, uint32_t pattern_count, const char *name)
{
    bool matches = false;
    for (uint32_t i = 0; i < pattern_count && !matches; i++) {
        struct buf lowered = {0};
        pattern_lower(pattern[i], &lowered);
        matches = glob_match(buf_slice(&lowered), slice_of_str(name));
        buf_fini(&lowered);
    }
    return matches;
}

void config_each(struct config *config, const struct slice *pattern, uint32_t pattern_count,
                 void (*visit)(void *arg, struct slice name, struct slice value), void *arg)
{
    struct buf text = {0};
    pthread_mutex_lock(&config->lock);
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        const char *names[] = {row->name, row->alias};
        if (row->kind == KIND_USERS) { continue; }
        for (unsigned at = 0; at < COUNT_OF(names); at++) {
            if (names[at][0] == '\0' || !name_matches(pattern, pattern_count, names[at])) {
                continue;
            }
            text.len = 0;
            value_print(row, &config->settings.value[i], at > 0 ? PRINT_REDIS : PRINT_PLAIN, &text);
            visit(arg, slice_of_str(names[at]), buf_slice(&text));
        }
    }
    for (uint32_t i = 0; i < compat_row_count; i++) {
        if (name_matches(pattern, pattern_count, compat_rows[i].name)) {
            text.len = 0;
            compat_print(&compat_rows[i], &config->settings, &text);
            visit(arg, slice_of_str(compat_rows[i].name), buf_slice(&text));
        }
    }
    pthread_mutex_unlock(&config->lock);
    buf_fini(&text);
}

/* ---- CONFIG SET and reload ---- */

static void value_copy(struct value *to, const struct value *from)
{
    buf_fini(&to->text);
    *to = *from;
    to->text = (struct buf){0};
    buf_append(&to->text, buf_slice(&from->text));
}

static void settings_copy(struct settings *to, const struct settings *from)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        value_copy(&to->value[i], &from->value[i]);
        to->source[i] = from->source[i];
    }
}

static bool set_compat(const struct config *config, const struct compat_row *row, struct slice text,
                       struct buf *why)
{
    struct buf present = {0};
    compat_print(row, &config->settings, &present);
    bool is_same = slice_equal_nocase(buf_slice(&present), text);
    buf_fini(&present);
    if (!is_same) { buf_append_str(why, "can't set immutable config"); }
    return is_same;
}

static bool set_option(const struct config *config, enum config_option option, struct slice text,
                       struct settings *staged, struct buf *why)
{
    const struct option_row *row = &option_rows[option];
    if (row->change == CHANGE_AT_START) {
        struct buf present = {0};
        value_print(row, &staged->value[option], PRINT_PLAIN, &present);
        bool is_same = slice_equal(buf_slice(&present), text);
        buf_fini(&present);
        if (!is_same) { buf_append_str(why, "can't set immutable config"); }
        return is_same;
    }
    if (!value_parse(row, text, &staged->value[option], why)) { return false; }
    staged->source[option] = SOURCE_RUN_TIME;
    if (option == CONFIG_max_clients && staged->value[option].number > config->clients_max) {
        buf_appendf(why,
                    "The operating system is not able to handle the specified number of clients, "
                    "try with %lld",
                    (long long)config->clients_max);
        return false;
    }
    return true;
}

/* Stage one pair. On failure *why has the reason, without the name. */
static bool stage(const struct config *config, struct slice name, struct slice text,
                  bool *is_staged, struct settings *staged, struct buf *why)
{
    enum config_option option = option_find(name);
    if (option == CONFIG_COUNT) { return set_compat(config, compat_find(name), text, why); }
    if (is_staged[option]) {
        buf_append_str(why, "duplicate parameter");
        return false;
    }
    is_staged[option] = true;
    return set_option(config, option, text, staged, why);
}

static bool stage_all(const struct config *config, const struct slice *name,
                      const struct slice *text, uint32_t count, struct settings *staged,
                      struct buf *why)
{
    bool is_staged[CONFIG_COUNT] = {false};
    for (uint32_t i = 0; i < count; i++) {
        enum config_option option = option_find(name[i]);
        bool is_line = option != CONFIG_COUNT && option_rows[option].kind == KIND_USERS;
        if (is_line || (option == CONFIG_COUNT && compat_find(name[i]) == NULL)) {
            buf_append_str(why, "Unknown option or number of arguments for CONFIG SET - '");
            buf_append(why, name[i]);
            buf_append_str(why, "'");
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct buf reason = {0};
        bool is_good = stage(config, name[i], text[i], is_staged, staged, &reason);
        if (!is_good) {
            buf_append_str(why, "CONFIG SET failed (possibly related to argument '");
            buf_append(why, name[i]);
            buf_append_str(why, "') - ");
            buf_append(why, buf_slice(&reason));
        }
        buf_fini(&reason);
        if (!is_good) { return false; }
    }
    return true;
}

struct slice settings_text(const struct settings *settings, enum config_option option)
{
    return buf_slice(&settings->value[option].text);
}

int64_t settings_number(const struct settings *settings, enum config_option option)
{
    return settings->value[option].number;
}

bool config_guard(struct config *config, config_take *take, void *arg, struct buf *why)
{
    config->take = take;
    config->take_arg = arg;
    pthread_mutex_lock(&config->lock);
    bool is_good = take(arg, &config->settings, why);
    pthread_mutex_unlock(&config->lock);
    return is_good;
}

/* Can the one who lives by the options of the group TLS do so, if one of these is to be set? */
static bool is_taken(struct config *config, const struct slice *name, uint32_t count,
                     const struct settings *staged, struct buf *why)
{
    for (uint32_t i = 0; config->take != NULL && i < count; i++) {
        enum config_option option = option_find(name[i]);
        if (option == CONFIG_COUNT || option_rows[option].group != GROUP_TLS) { continue; }
        struct buf reason = {0};
        bool is_good = config->take(config->take_arg, staged, &reason);
        if (!is_good) {
            buf_append_str(why, "CONFIG SET failed (possibly related to argument '");
            buf_append(why, name[i]);
            buf_append_str(why, "') - Unable to update TLS configuration: ");
            buf_append(why, buf_slice(&reason));
        }
        buf_fini(&reason);
        return is_good;
    }
    return true;
}

bool config_set(struct config *config, const struct slice *name, const struct slice *value,
                uint32_t count, struct buf *why)
{
    struct settings staged = {0};
    pthread_mutex_lock(&config->lock);
    settings_copy(&staged, &config->settings);
    bool is_good = stage_all(config, name, value, count, &staged, why) &&
                   is_taken(config, name, count, &staged, why);
    if (is_good) {
        settings_fini(&config->settings);
        config->settings = staged;
        publish(config);
    } else {
        settings_fini(&staged);
    }
    pthread_mutex_unlock(&config->lock);
    return is_good;
}

bool config_is_secret(struct slice name)
{
    enum config_option option = option_find(name);
    if (slice_equal_nocase(name, SLICE("masterauth"))) { return true; } /* of a redis.conf */
    return option != CONFIG_COUNT &&
           (option_rows[option].kind == KIND_SECRET || option_rows[option].kind == KIND_USERS);
}

void config_set_users(struct config *config, struct slice lines)
{
    pthread_mutex_lock(&config->lock);
    struct buf *text = &config->settings.value[CONFIG_user].text;
    if (text->len > 0 || lines.len > 0) {
        buf_fini(text);
        buf_append(text, lines);
        config->settings.source[CONFIG_user] = SOURCE_RUN_TIME;
    }
    pthread_mutex_unlock(&config->lock);
}

bool config_cap_clients(struct config *config, uint64_t count)
{
    pthread_mutex_lock(&config->lock);
    struct value *value = &config->settings.value[CONFIG_max_clients];
    config->clients_max = count < INT64_MAX ? (int64_t)count : INT64_MAX;
    bool is_lowered = value->number > config->clients_max;
    if (is_lowered) {
        value->number = config->clients_max;
        publish(config);
    }
    pthread_mutex_unlock(&config->lock);
    return is_lowered;
}

/* What cannot change while running keeps its value in `loaded`. */
static void keep_fixed(const struct config *config, struct settings *loaded)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        const struct value *present = &config->settings.value[i];
        if (row->change == CHANGE_AT_START && !value_equal(row, present, &loaded->value[i])) {
            LOG_WARN("option changed, takes effect after a restart", LOG_STR("option", row->name));
            value_copy(&loaded->value[i], present);
        }
    }
    struct value *clients = &loaded->value[CONFIG_max_clients];
    if (clients->number > config->clients_max) {
        LOG_WARN("max-clients lowered to what the file limit allows",
                 LOG_INT("asked", clients->number), LOG_INT("max_clients", config->clients_max));
        clients->number = config->clients_max;
    }
}

enum err config_reload(struct config *config)
{
    struct settings loaded = {0};
    struct command_line line = config->line;
    line.file = NULL;
    struct buf problem = {0};
    enum err err = ERR_OK;
    pthread_mutex_lock(&config->lock);
    bool is_good = settings_load(&loaded, &line, &problem);
    if (is_good) {
        keep_fixed(config, &loaded);
        is_good = config->take == NULL || config->take(config->take_arg, &loaded, &problem);
    }
    if (is_good) {
        settings_fini(&config->settings);
        config->settings = loaded;
        publish(config);
    } else {
        LOG_ERROR("reload refused, nothing changed", LOG_SLICE("problem", buf_slice(&problem)));
        settings_fini(&loaded);
        err = ERR_INVALID;
    }
    pthread_mutex_unlock(&config->lock);
    buf_fini(&problem);
    return err;
}
