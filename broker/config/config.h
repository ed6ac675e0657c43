/* config: every option of the program, from config.def: flags, environment, file, CONFIG GET and
 * SET.
 * Later sources win: defaults < config file < FANFARE_... environment < command line < CONFIG SET.
 * Owns: the values; the process-wide log level and format (base/log) follow them.
 * Thread: config_load and config_free: main, while no other thread runs. Everything else: any.
 * Numbers are relaxed atomics; texts are copied out under the config's own lock (they are read at
 * connect and reload, never per message). */
#ifndef FANFARE_CONFIG_CONFIG_H
#define FANFARE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

struct config;

enum config_option {
#define OPTION(id, ...) CONFIG_##id,
#include "config/config.def"
#undef OPTION
    CONFIG_COUNT
};

/* What main should do after loading. */
enum config_action {
    CONFIG_RUN,
    CONFIG_EXIT_OK,    /* --help, --version, --print-config: the text is on stdout */
    CONFIG_EXIT_USAGE, /* unknown or bad option: the message is on stderr; exit 64 (EX_USAGE) */
};

/* Read the sources. `environment` as in environ(7). Sets *out only for CONFIG_RUN.
 * Borrows argv and environment until config_free: a reload reads them again. */
MUST_USE enum config_action config_load(struct config **out, int argc, char *const *argv,
                                        char *const *environment);
void config_free(struct config *config); /* NULL is allowed */

/* notify-keyspace-events as a number: bits, in the order of Redis's letters g $ l s h z t x n (enum data_event), then e d m,
 * which nothing here raises, and: */
enum { CONFIG_EVENT_KEYSPACE = 1 << 12, CONFIG_EVENT_KEYEVENT = 1 << 13 };

/* The value of a number, size, duration (in the unit of its row), boolean (0, 1), choice (its
 * index), or set (bits). */
int64_t config_number(const struct config *config, enum config_option option);

/* Append a copy of a text option's value. */
void config_text(struct config *config, enum config_option option, struct buf *out);

/* Is the text empty? Without a lock: for the question "is a password required". */
bool config_text_is_empty(const struct config *config, enum config_option option);

/* The next item of a list value (listen): set *item, without a leading '-', and *is_optional if
 * there was one; shorten *rest.
 * False at the end. */
bool config_list_next(struct slice *rest, struct slice *item, bool *is_optional);

/* Take `scheme` ("tls://") off the start of *address. False: it has none, and is plain as it is. */
bool config_address_plain(struct slice *address, struct slice scheme);

/* Split "host", "[ipv6]", or one of them with ":port", as in advertise and join; without a port *port is
 * 0. False if it is none of them. */
MUST_USE bool config_host_split(struct slice text, struct slice *host, uint16_t *port);

/* The classes of client that output-buffer-limit knows. */
enum config_client_class { CONFIG_CLIENT_NORMAL, CONFIG_CLIENT_PUBSUB, CONFIG_CLIENT_CLASSES };
struct config_output_limit {
    uint64_t hard_bytes; /* 0: none */
    uint64_t soft_bytes;
    uint64_t soft_seconds;
};
struct config_output_limit config_output_limit(const struct config *config,
                                               enum config_client_class class);

/* CONFIG GET: call visit once with the name and printed value of every option, Redis alias and
 * compatibility answer that matches one of the globs (case ignored). The slices are valid for the
 * call, which happens under the lock. */
void config_each(struct config *config, const struct slice *pattern, uint32_t pattern_count,
                 void (*visit)(void *arg, struct slice name, struct slice value), void *arg);

/* CONFIG SET: all pairs or none. On failure *why says what, in Redis's words, without "ERR ". Those
 * that cannot change while running are refused. */
MUST_USE bool config_set(struct config *config, const struct slice *name, const struct slice *value,
                         uint32_t count, struct buf *why);

/* Seam: the one who must be able to work by the options of the group TLS before they take effect. `take` is called by
 * config_set when it names one of them, and by every config_reload, under the config's lock, with what the values are to
 * be, which it reads by settings_text and settings_number. False: nothing changes, and *why has the reason appended.
 * Thread of `take`: any. config_guard calls it at once, with what the values are, and returns what it does; thread: main, before
 * the workers start. */
struct settings;
struct slice settings_text(const struct settings *settings, enum config_option option);
int64_t settings_number(const struct settings *settings, enum config_option option);
typedef bool config_take(void *arg, const struct settings *settings, struct buf *why);
MUST_USE bool config_guard(struct config *config, config_take *take, void *arg, struct buf *why);

/* Is the value of the option of this name a secret, not to be shown to anybody? Thread: any. */
bool config_is_secret(struct slice name);

/* max-clients never passes `count` from now on; one that is set above is lowered. True: it was. */
bool config_cap_clients(struct config *config, uint64_t count);

/* SIGHUP: read all sources again, as a start would; mutable options take effect, so CONFIG SETs
 * that were not rewritten are gone.
 * Others that differ are logged as needing a restart.
 * Errors: ERR_INVALID, logged, nothing changed. */
MUST_USE enum err config_reload(struct config *config);

/* CONFIG REWRITE: put what CONFIG SET changed into the config file; comments and all other lines
 * stay.
 * Errors: ERR_INVALID if there is no file, ERR_SYSTEM with errno if it cannot be read or replaced.
 * */
MUST_USE enum err config_rewrite(struct config *config);

/* The lines of users that config_rewrite is to write, in the form of an ACL file, instead of those that the options name. */
void config_set_users(struct config *config, struct slice lines);

/* The config file's path as given; "" if none. */
const char *config_file(const struct config *config);

/* Incremented by each successful set or reload: for those who cache. */
uint64_t config_version(const struct config *config);

#endif
