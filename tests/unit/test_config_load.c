/* Sources and their precedence, refusals, CONFIG GET and SET, reload and rewrite. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_int.h"

enum { ARGS_MAX = 8 };

/* Everything a load reads; unused ends are NULL. */
struct sources {
    const char *file_text; /* NULL: no file */
    const char *args[ARGS_MAX];
    const char *environment[ARGS_MAX];
};

struct fixture {
    char path[64];
    char *argv[ARGS_MAX + 3];
    char *environment[ARGS_MAX + 1];
    int argc;
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static struct fixture *fixture_new(const struct sources *sources)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->argv[f->argc++] = strdup("fanfare");
    for (unsigned i = 0; i < ARGS_MAX && sources->args[i] != NULL; i++) {
        f->argv[f->argc++] = strdup(sources->args[i]);
    }
    for (unsigned i = 0; i < ARGS_MAX && sources->environment[i] != NULL; i++) {
        f->environment[i] = strdup(sources->environment[i]);
    }
    if (sources->file_text != NULL) {
        snprintf(f->path, sizeof f->path, "/tmp/fanfare-config-XXXXXX");
        int fd = mkstemp(f->path);
        cr_assert_geq(fd, 0);
        close(fd);
        write_file(f->path, sources->file_text);
        f->argv[f->argc++] = strdup(f->path);
    }
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (unsigned i = 0; i < COUNT_OF(f->argv); i++) {
        free(f->argv[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(f->environment); i++) {
        free(f->environment[i]);
    }
    if (f->path[0] != '\0') { unlink(f->path); }
    free(f);
}

static struct config *load(struct fixture *f)
{
    struct config *config = NULL;
    cr_assert_eq(config_load(&config, f->argc, f->argv, f->environment), CONFIG_RUN);
    return config;
}

/* The line that a load of these sources is refused with. */
static void expect_refused(const struct sources *sources, const char *text)
{
    struct fixture *f = fixture_new(sources);
    struct settings settings = {0};
    struct command_line line = {.argc = f->argc, .argv = f->argv, .environment = f->environment};
    struct buf problem = {0};
    cr_expect_not(settings_load(&settings, &line, &problem), "%s", text);
    buf_append(&problem, slice_of("", 1));
    cr_expect_not_null(strstr(problem.data, text), "'%s' is not in '%s'", text, problem.data);
    buf_fini(&problem);
    settings_fini(&settings);
    fixture_free(f);
}

#define REFUSED(text, ...) expect_refused(&(struct sources){__VA_ARGS__}, text)

Test(config_load, later_sources_win)
{
    struct fixture *f = fixture_new(&(struct sources){
        .file_text = "max-clients 1\ntimeout 1\ntcp-keepalive 1\n",
        .environment = {"FANFARE_MAX_CLIENTS=2", "FANFARE_TIMEOUT=2", "PATH=/bin"},
        .args = {"--max-clients", "3"},
    });
    struct config *config = load(f);
    cr_expect_eq(config_number(config, CONFIG_max_clients), 3);
    cr_expect_eq(config_number(config, CONFIG_timeout), 2);
    cr_expect_eq(config_number(config, CONFIG_tcp_keepalive), 1);
    cr_expect_eq(config_number(config, CONFIG_slowlog_max_len), 128);
    cr_expect_str_eq(config_file(config), f->path);
    config_free(config);
    fixture_free(f);
}

Test(config_load, both_spellings_of_a_flag_and_redis_names_are_read)
{
    struct fixture *f = fixture_new(&(struct sources){
        .args = {"--timeout=7", "--maxclients", "8", "--client-output-buffer-limit",
                 "pubsub 1mb 0 0"},
    });
    struct config *config = load(f);
    cr_expect_eq(config_number(config, CONFIG_timeout), 7);
    cr_expect_eq(config_number(config, CONFIG_max_clients), 8);
    cr_expect_eq(config_output_limit(config, CONFIG_CLIENT_PUBSUB).hard_bytes, 1 << 20);
    cr_expect_eq(config_output_limit(config, CONFIG_CLIENT_NORMAL).hard_bytes, 0);
    config_free(config);
    fixture_free(f);
}

Test(config_load, a_refusal_names_place_option_value_and_range)
{
    REFUSED("--max-clients: bad value \"abc\"; allowed: a whole number from 1 to 4000000 (default "
            "10000)",
            .args = {"--max-clients", "abc"});
    REFUSED("FANFARE_THREADS: bad value \"65\"; allowed: a whole number from 0 to 64",
            .environment = {"FANFARE_THREADS=65"});
    REFUSED(" line 2: log-format: bad value \"xml\"; allowed: text, json",
            .file_text = "# comment\nlog-format xml\n");
    REFUSED("--query-buffer-limit: bad value \"1\"; allowed: a size (such as 512kb, 32mb, 1gb) "
            "from 1mb to 1024gb",
            .args = {"--query-buffer-limit=1"});
}

Test(config_load, unknown_options_are_refused_with_a_guess)
{
    REFUSED("--max-client: unknown option; did you mean max-clients?",
            .args = {"--max-client", "5"});
    REFUSED("--port: unknown option; addresses, ports and unix sockets are given with listen",
            .args = {"--port", "6379"});
    REFUSED("--frobnicate: unknown option", .args = {"--frobnicate=1"});
    REFUSED("-x: unknown option", .args = {"-x"});
    REFUSED("FANFARE_MAXCLIENTS: unknown option; did you mean FANFARE_MAX_CLIENTS?",
            .environment = {"FANFARE_MAXCLIENTS=5"});
    REFUSED(" line 1: lisen: unknown option; did you mean listen?", .file_text = "lisen a:1");
}

Test(config_load, incomplete_lines_and_files_are_refused)
{
    REFUSED("--listen: a value is missing", .args = {"--listen"});
    REFUSED("--listen: a value is missing", .args = {"--listen", "--timeout"});
    REFUSED(" line 1: listen: a value is missing", .file_text = "listen");
    REFUSED(" line 2: unbalanced quotes", .file_text = "\ndir 'a\n");
    REFUSED("/nonexistent/f.conf: cannot be read: No such file or directory",
            .args = {"/nonexistent/f.conf"});
    REFUSED("b: there can be one config file", .args = {"a", "b"});
}

Test(config_load, variables_of_kubernetes_services_are_left_alone)
{
    struct fixture *f = fixture_new(&(struct sources){
        .environment = {"FANFARE_PORT=tcp://10.0.0.1:6379", "FANFARE_SERVICE_HOST=10.0.0.1",
                        "FANFARE_SERVICE_PORT=6379", "FANFARE_PORT_6379_TCP_ADDR=10.0.0.1",
                        "FANFARE_VERSION=1"},
    });
    config_free(load(f));
    fixture_free(f);
}

Test(config_load, print_config_prints_a_file_that_reads_back_without_the_password)
{
    struct fixture *f = fixture_new(&(struct sources){
        .args = {"--dir", "/tmp/a b", "--requirepass", "swordfish", "--print-config", "--listen",
                 "a:1, b:2"},
    });
    struct settings settings = {0}, again = {0};
    struct command_line line = {.argc = f->argc, .argv = f->argv, .environment = f->environment};
    struct buf text = {0};
    cr_assert(settings_load(&settings, &line, &text));
    cr_expect(line.wants_print);
    settings_print(&settings, &text);
    buf_append(&text, slice_of("", 1));
    cr_expect_null(strstr(text.data, "swordfish"));
    cr_expect_not_null(strstr(text.data, "\ndir \"/tmp/a b\"\n"));
    text.len--;
    struct buf problem = {0};
    cr_assert(settings_read_text(&again, buf_slice(&text), "printed", &problem));
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        if (option_rows[i].kind != KIND_SECRET && option_rows[i].kind != KIND_OUTPUT_LIMITS) {
            cr_expect(value_equal(&option_rows[i], &settings.value[i], &again.value[i]), "%s",
                      option_rows[i].name);
        }
    }
    buf_fini(&problem);
    buf_fini(&text);
    settings_fini(&settings);
    settings_fini(&again);
    fixture_free(f);
}

Test(config_load, help_names_every_option_and_its_variable, .init = cr_redirect_stdout)
{
    struct fixture *f = fixture_new(&(struct sources){.args = {"--help"}});
    struct config *config = NULL;
    cr_assert_eq(config_load(&config, f->argc, f->argv, f->environment), CONFIG_EXIT_OK);
    cr_expect_null(config);
    struct buf help = {0};
    help_print(&help);
    buf_append(&help, slice_of("", 1));
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        struct buf name = {0};
        buf_appendf(&name, "--%s ", option_rows[i].name);
        buf_append(&name, slice_of("", 1));
        cr_expect_not_null(strstr(help.data, name.data), "%s", name.data);
        name.len = 0;
        environment_name(&option_rows[i], &name);
        buf_append(&name, slice_of("", 1));
        cr_expect_not_null(strstr(help.data, name.data), "%s", name.data);
        buf_fini(&name);
    }
    cr_expect_stdout_eq_str((help.data));
    buf_fini(&help);
    fixture_free(f);
}

Test(config_load, a_bad_option_ends_with_the_usage_action, .init = cr_redirect_stderr)
{
    struct fixture *f = fixture_new(&(struct sources){.args = {"--foo=1"}});
    struct config *config = NULL;
    cr_expect_eq(config_load(&config, f->argc, f->argv, f->environment), CONFIG_EXIT_USAGE);
    cr_expect_null(config);
    cr_expect_stderr_eq_str("fanfare: --foo: unknown option\nfanfare --help lists all options.\n");
    fixture_free(f);
}

/* ---- CONFIG GET and SET ---- */

static void append_pair(void *arg, struct slice name, struct slice value)
{
    buf_append(arg, name);
    buf_append_str(arg, "=");
    buf_append(arg, value);
    buf_append_str(arg, ";");
}

static void expect_get(struct config *config, const struct slice *pattern, uint32_t count,
                       const char *text)
{
    struct buf got = {0};
    config_each(config, pattern, count, append_pair, &got);
    cr_expect(slice_equal(buf_slice(&got), slice_of_str(text)), "got '%.*s', expected '%s'",
              SLICE_ARG(buf_slice(&got)), text);
    buf_fini(&got);
}

#define GET(config, text, ...)                              \
    expect_get(config, (const struct slice[]){__VA_ARGS__}, \
               sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice), text)

/* NULL: it must work. */
static void expect_set(struct config *config, const struct slice *pairs, uint32_t pair_count,
                       const char *why)
{
    struct slice name[8], value[8];
    for (uint32_t i = 0; i < pair_count; i++) {
        name[i] = pairs[2 * i];
        value[i] = pairs[2 * i + 1];
    }
    struct buf got = {0};
    cr_expect_eq(config_set(config, name, value, pair_count, &got), why == NULL);
    cr_expect(slice_equal(buf_slice(&got), slice_of_str(why != NULL ? why : "")), "got '%.*s'",
              SLICE_ARG(buf_slice(&got)));
    buf_fini(&got);
}

#define SET(config, why, ...)                               \
    expect_set(config, (const struct slice[]){__VA_ARGS__}, \
               sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice) / 2, why)

Test(config_get, options_aliases_and_fixed_answers_match_globs_of_any_case_once)
{
    struct fixture *f = fixture_new(&(struct sources){
        .args = {"--listen", "127.0.0.1:7000 -[::1]:7000 unix:/run/f.sock", "--requirepass", "pw"},
    });
    struct config *config = load(f);
    GET(config, "maxclients=10000;", SLICE("maxclients"));
    GET(config, "max-clients=10000;maxclients=10000;", SLICE("MAX*CLIENTS"), SLICE("maxclients"));
    GET(config, "bind=127.0.0.1 -::1;port=7000;unixsocket=/run/f.sock;", SLICE("bind"),
        SLICE("port"), SLICE("unixsocket"));
    GET(config, "save=;", SLICE("save"));
    GET(config, "requirepass=pw;", SLICE("requirepas?"));
    GET(config,
        "client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 "
        "8388608 60;",
        SLICE("client-output-buffer-limit"));
    GET(config, "output-buffer-limit=normal 0 0 0 pubsub 33554432 8388608 60;",
        SLICE("output-buffer-limit"));
    GET(config, "", SLICE("foo"));
    config_free(config);
    fixture_free(f);
}

Test(config_set, all_pairs_or_none)
{
    struct fixture *f = fixture_new(&(struct sources){0});
    struct config *config = load(f);
    uint64_t version = config_version(config);
    SET(config,
        "CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 "
        "and 2147483647 inclusive",
        SLICE("maxclients"), SLICE("5"), SLICE("timeout"), SLICE("-1"));
    cr_expect_eq(config_number(config, CONFIG_max_clients), 10000);
    cr_expect_eq(config_version(config), version);
    SET(config, NULL, SLICE("maxclients"), SLICE("5"), SLICE("Timeout"), SLICE("6"));
    cr_expect_eq(config_number(config, CONFIG_max_clients), 5);
    cr_expect_eq(config_number(config, CONFIG_timeout), 6);
    cr_expect_gt(config_version(config), version);
    config_free(config);
    fixture_free(f);
}

Test(config_set, refusals_have_redis_words)
{
    struct fixture *f = fixture_new(&(struct sources){0});
    struct config *config = load(f);
    SET(config, "Unknown option or number of arguments for CONFIG SET - 'foo'", SLICE("foo"),
        SLICE("bar"));
    SET(config,
        "CONFIG SET failed (possibly related to argument 'listen') - can't set immutable config",
        SLICE("listen"), SLICE("a:1"));
    SET(config,
        "CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter",
        SLICE("max-clients"), SLICE("1"), SLICE("maxclients"), SLICE("2"));
    SET(config,
        "CONFIG SET failed (possibly related to argument 'appendonly') - can't set immutable "
        "config",
        SLICE("appendonly"), SLICE("no"));
    SET(config, NULL, SLICE("appendonly"), SLICE("yes"), SLICE("save"), SLICE(""));
    config_free(config);
    fixture_free(f);
}

Test(config_set, the_password_appears_and_goes)
{
    struct fixture *f = fixture_new(&(struct sources){0});
    struct config *config = load(f);
    cr_expect(config_text_is_empty(config, CONFIG_requirepass));
    SET(config, NULL, SLICE("requirepass"), SLICE("a\0b"));
    cr_expect_not(config_text_is_empty(config, CONFIG_requirepass));
    struct buf text = {0};
    config_text(config, CONFIG_requirepass, &text);
    cr_expect(slice_equal(buf_slice(&text), SLICE("a\0b")));
    buf_fini(&text);
    SET(config, NULL, SLICE("requirepass"), SLICE(""));
    cr_expect(config_text_is_empty(config, CONFIG_requirepass));
    config_free(config);
    fixture_free(f);
}

Test(config_set, max_clients_keeps_under_the_cap)
{
    struct fixture *f = fixture_new(&(struct sources){0});
    struct config *config = load(f);
    cr_expect_not(config_cap_clients(config, 20000));
    cr_expect_eq(config_number(config, CONFIG_max_clients), 10000);
    cr_expect(config_cap_clients(config, 100));
    cr_expect_eq(config_number(config, CONFIG_max_clients), 100);
    SET(config,
        "CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is "
        "not able to "
        "handle the specified number of clients, try with 100",
        SLICE("maxclients"), SLICE("101"));
    cr_expect_eq(config_reload(config), ERR_OK);
    cr_expect_eq(config_number(config, CONFIG_max_clients), 100);
    config_free(config);
    fixture_free(f);
}

/* ---- reload and rewrite ---- */

Test(config_reload, mutable_options_follow_the_file_and_others_stay, .init = cr_redirect_stderr)
{
    struct fixture *f = fixture_new(&(struct sources){
        .file_text = "timeout 1\ntcp-backlog 100\n",
        .args = {"--tcp-keepalive", "9"},
    });
    struct config *config = load(f);
    write_file(f->path, "timeout 2\ntcp-backlog 200\ntcp-keepalive 1\n");
    cr_expect_eq(config_reload(config), ERR_OK);
    cr_expect_eq(config_number(config, CONFIG_timeout), 2);
    cr_expect_eq(config_number(config, CONFIG_tcp_backlog), 100);
    cr_expect_eq(config_number(config, CONFIG_tcp_keepalive), 9);
    write_file(f->path, "timeout 3\nfoo bar\n");
    cr_expect_eq(config_reload(config), ERR_INVALID);
    cr_expect_eq(config_number(config, CONFIG_timeout), 2);
    config_free(config);
    fixture_free(f);
}

static void expect_file(const char *path, const char *text)
{
    struct buf got = {0};
    cr_assert(file_read(path, &got));
    cr_expect(slice_equal(buf_slice(&got), slice_of_str(text)), "got '%.*s'",
              SLICE_ARG(buf_slice(&got)));
    buf_fini(&got);
}

Test(config_rewrite, only_what_was_set_changes_and_comments_stay)
{
    struct fixture *f = fixture_new(&(struct sources){
        .file_text = "# head\nmaxclients 5\n\nlog-level   info\n# middle\nmax-clients 6\ntimeout 1",
    });
    cr_assert_eq(chmod(f->path, 0640), 0);
    struct config *config = load(f);
    SET(config, NULL, SLICE("maxclients"), SLICE("7"), SLICE("requirepass"), SLICE("a b"));
    cr_expect_eq(config_rewrite(config), ERR_OK);
    const char *expected = "# head\nmax-clients 7\n\nlog-level   info\n# middle\ntimeout 1\n"
                           "\n# Set while running, by CONFIG REWRITE\nrequirepass \"a b\"\n";
    expect_file(f->path, expected);
    cr_expect_eq(config_rewrite(config), ERR_OK);
    expect_file(f->path, expected);
    cr_expect_eq(config_reload(config), ERR_OK);
    cr_expect_eq(config_number(config, CONFIG_max_clients), 7);
    cr_expect_not(config_text_is_empty(config, CONFIG_requirepass));
    struct stat st;
    cr_assert_eq(stat(f->path, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0640);
    config_free(config);
    fixture_free(f);
}

Test(config_rewrite, without_a_file_it_is_refused)
{
    struct fixture *f = fixture_new(&(struct sources){0});
    struct config *config = load(f);
    cr_expect_eq(config_rewrite(config), ERR_INVALID);
    config_free(config);
    fixture_free(f);
}

Test(config_rewrite, a_file_that_went_away_is_an_error_with_errno)
{
    struct fixture *f = fixture_new(&(struct sources){.file_text = "timeout 1\n"});
    struct config *config = load(f);
    unlink(f->path);
    cr_expect_eq(config_rewrite(config), ERR_SYSTEM);
    cr_expect_eq(errno, ENOENT);
    config_free(config);
    fixture_free(f);
}

/* ---- who must be able to work by the options ---- */

/* Takes any file but "bad". */
static bool take(void *arg, const struct settings *settings, struct buf *why)
{
    unsigned *asked = arg;
    (*asked)++;
    bool is_good = !slice_equal(settings_text(settings, CONFIG_tls_cert_file), SLICE("bad"));
    if (!is_good) { buf_append_str(why, "it is bad"); }
    return is_good;
}

Test(config_guard, options_of_tls_take_effect_only_when_they_can_be_worked_by)
{
    struct fixture *f = fixture_new(&(struct sources){.file_text = "tls-cert-file good\n"});
    struct config *config = load(f);
    struct buf why = {0};
    unsigned asked = 0;
    cr_assert(config_guard(config, take, &asked, &why));
    cr_expect_eq(asked, 1);
    SET(config, NULL, SLICE("timeout"), SLICE("3"));
    cr_expect_eq(asked, 1, "it is not about those");
    SET(config,
        "CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS "
        "configuration: it is bad",
        SLICE("timeout"), SLICE("4"), SLICE("tls-cert-file"), SLICE("bad"));
    cr_expect_eq(asked, 2);
    cr_expect_eq(config_number(config, CONFIG_timeout), 3, "all pairs or none");
    GET(config, "tls-cert-file=good;", SLICE("tls-cert-file"));
    write_file(f->path, "tls-cert-file bad\ntimeout 9\n");
    cr_expect_eq(config_reload(config), ERR_INVALID);
    GET(config, "tls-cert-file=good;", SLICE("tls-cert-file"));
    cr_expect_eq(config_number(config, CONFIG_timeout), 3);
    write_file(f->path, "tls-cert-file better\n");
    cr_expect_eq(config_reload(config), ERR_OK);
    GET(config, "tls-cert-file=better;", SLICE("tls-cert-file"));
    cr_expect_eq(asked, 4);
    buf_fini(&why);
    config_free(config);
    fixture_free(f);
}
