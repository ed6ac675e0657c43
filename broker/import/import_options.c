/* import_options: arguments and URLs. */
#include "import/import_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"

static const char usage[] =
    "usage: fanfare import FILE.rdb [--to SERVER] [option ...]\n"
    "       fanfare import --from SERVER [--to SERVER] [option ...]\n"
    "SERVER is host:port or redis://[[user]:password@]host[:port][/db]; the default of --to is "
    "127.0.0.1:6379.\n"
    "  --dry-run          list what is there and what cannot come over, write nothing\n"
    "  --skip             go on without what cannot come over\n"
    "  --replace          the target need not be empty: keys of the same name are replaced\n"
    "  --follow           of --from: then execute what the source executes; SIGINT or SIGTERM\n"
    "                     ends it when the target has all of it, a second one at once\n"
    "  --until-caught-up  as --follow, but end, too, when the source has executed nothing\n"
    "                     for 3 s and the target has all of it\n"
    "  --spool DIR        where the transfer is kept meanwhile (default $TMPDIR, else /var/tmp)\n";

static bool bad(const char *what, const char *text)
{
    fprintf(stderr, "fanfare import: %s '%s'\n", what, text);
    return false;
}

/* %41 is A. False: the text is too long, or no such thing. */
static bool unescape(struct slice text, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            char digits[3] = {0};
            char *end;
            if (i + 2 >= text.len) { return false; }
            memcpy(digits, text.data + i + 1, 2);
            c = (char)strtol(digits, &end, 16);
            if (end != digits + 2) { return false; }
            i += 2;
        }
        if (n + 1 >= out_bytes) { return false; }
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

static bool credentials_read(struct import_server *server, struct slice text)
{
    const char *colon = memchr(text.data, ':', text.len);
    struct slice user = slice_of(text.data, colon != NULL ? (size_t)(colon - text.data) : 0);
    struct slice password = text;
    if (colon != NULL) { password = slice_of(colon + 1, text.len - user.len - 1); }
    return unescape(user, server->user, sizeof server->user) &&
           unescape(password, server->password, sizeof server->password);
}

static bool db_read(struct import_server *server, const char *text)
{
    char *end;
    if (*text == 0) { return true; }
    long db = strtol(text, &end, 10);
    server->db = (int)db;
    return *end == 0 && db >= 0 && db < 1 << 16;
}

static bool place_read(struct import_server *server, struct slice place)
{
    struct slice host;
    char with_port[300];
    server->port = 6379;
    if (!address_split(place, &host, &server->port)) {
        if (place.len + 6 >= sizeof with_port) { return false; }
        snprintf(with_port, sizeof with_port, "%.*s:6379", SLICE_ARG(place));
        if (!address_split(slice_of_str(with_port), &host, &server->port)) { return false; }
    }
    return host.len > 0 && unescape(host, server->host, sizeof server->host);
}

const char *import_server_read(struct import_server *server, const char *text)
{
    static const char *const schemes[] = {"redis://", "fanfare://"};
    const char *rest = NULL;
    *server = (struct import_server){.db = -1};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(text, schemes[i], len) == 0) { rest = text + len; }
    }
    if (strncmp(text, "rediss://", 9) == 0) { return "TLS is not spoken"; }
    if (rest == NULL) {
        return place_read(server, slice_of_str(text)) ? NULL : "it is neither host:port nor a URL";
    }
    size_t place_len = strcspn(rest, "/?");
    const char *at = memrchr(rest, '@', place_len);
    bool is_good = rest[place_len] != '?';
    if (at != NULL) {
        is_good = is_good && credentials_read(server, slice_of(rest, (size_t)(at - rest)));
        place_len -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    is_good = is_good && place_read(server, slice_of(rest, place_len));
    if (is_good && rest[place_len] == '/') { is_good = db_read(server, rest + place_len + 1); }
    return is_good ? NULL : "its URL is not redis://[[user]:password@]host[:port][/db]";
}

/* The text has a password perhaps: it is not shown. */
static bool server_read(struct import_server *server, const char *text)
{
    const char *why = import_server_read(server, text);
    if (why != NULL) {
        fprintf(stderr, "fanfare import: a server cannot be understood: %s\n", why);
    }
    return why == NULL;
}

/* A word without a value. */
static bool *flag_of(struct import_options *options, const char *word)
{
    if (strcmp(word, "--dry-run") == 0) { return &options->is_dry; }
    if (strcmp(word, "--skip") == 0) { return &options->skips; }
    if (strcmp(word, "--replace") == 0) { return &options->replaces; }
    if (strcmp(word, "--follow") == 0) { return &options->follows; }
    if (strcmp(word, "--until-caught-up") == 0) { return &options->until_caught_up; }
    return NULL;
}

static bool option_read(struct import_options *options, const char *word, const char *value)
{
    if (strcmp(word, "--from") == 0) {
        options->has_source = true;
        return server_read(&options->source, value);
    }
    if (strcmp(word, "--to") == 0) { return server_read(&options->target, value); }
    if (strcmp(word, "--spool") == 0) {
        options->spool_dir = value;
        return true;
    }
    return bad("unknown option", word);
}

bool import_options_read(struct import_options *options, int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    *options = (struct import_options){.spool_dir = tmp != NULL && *tmp != 0 ? tmp : "/var/tmp"};
    bool is_good = server_read(&options->target, "127.0.0.1:6379");
    for (int i = 2; is_good && i < argc; i++) {
        bool *flag = flag_of(options, argv[i]);
        if (flag != NULL) {
            *flag = true;
        } else if (argv[i][0] != '-' && options->file == NULL) {
            options->file = argv[i];
        } else if (i + 1 < argc && argv[i][0] == '-') {
            is_good = option_read(options, argv[i], argv[i + 1]);
            i++;
        } else {
            is_good = bad("what is", argv[i]);
        }
    }
    options->follows = options->follows || options->until_caught_up;
    bool has_one = (options->file != NULL) != options->has_source;
    if (is_good && has_one && (options->has_source || !options->follows)) { return true; }
    fputs(usage, stderr);
    return false;
}
