/* backup_options: arguments. */
#include "backup/backup_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_MAX = 1 << 20 }; /* MB/s */

static const char backup_usage[] =
    "usage: fanfare backup [--from SERVER] [--to FILE] [--rate MB/s] [> FILE]\n"
    "SERVER is host:port or fanfare://[[user]:password@]host[:port], any node of the cluster; the\n"
    "default is 127.0.0.1:6379.\n"
    "  --to FILE    not standard output: the file has its name only when it is whole and on the "
    "disk\n"
    "  --rate N     read at most N MB a second\n";

static const char restore_usage[] =
    "usage: fanfare restore [FILE] [--to SERVER] [option ...] [< FILE]\n"
    "SERVER is host:port or fanfare://[[user]:password@]host[:port], any node of the cluster; the\n"
    "default is 127.0.0.1:6379.\n"
    "  --dry-run    check all of the file, and write nothing\n"
    "  --replace    the target need not be empty: keys of the same name are replaced\n"
    "  --skip       go on without what cannot be restored\n"
    "  --users      make the cluster's users anew, too, the default one and the one that is used "
    "among them;\n"
    "               others that are there stay\n"
    "  --spool DIR  where standard input is kept meanwhile (default $TMPDIR, else /var/tmp)\n";

struct words {
    const char *program;
    const char *server; /* the option that names it */
    const char *usage;
    bool (*word)(struct backup_options *options, const char *word); /* one without a value */
    bool (*option)(struct backup_options *options, const char *word, const char *value);
};

static bool read_all(struct backup_options *options, const struct words *words, int argc,
                     char **argv)
{
    const char *tmp = getenv("TMPDIR");
    const char *why = import_server_read(&options->server, "127.0.0.1:6379");
    options->spool_dir = tmp != NULL && *tmp != 0 ? tmp : "/var/tmp";
    for (int i = 2; why == NULL && i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (words->word(options, argv[i])) { continue; }
        if (value == NULL) {
            why = "an argument is not known, or has no value";
        } else if (strcmp(argv[i], words->server) == 0) {
            why = import_server_read(&options->server, value);
        } else if (!words->option(options, argv[i], value)) {
            why = "an argument is not known, or its value is no good";
        }
        i++;
    }
    if (why == NULL) { return true; }
    fprintf(stderr, "fanfare %s: %s\n%s", words->program, why, words->usage);
    return false;
}

static bool backup_word(struct backup_options *options, const char *word)
{
    (void)options;
    (void)word;
    return false;
}

static bool backup_option(struct backup_options *options, const char *word, const char *value)
{
    char *end;
    if (strcmp(word, "--to") == 0) {
        options->file = value;
        return true;
    }
    long rate = strtol(value, &end, 10);
    options->bytes_per_s = (uint64_t)rate * 1000 * 1000;
    return strcmp(word, "--rate") == 0 && end != value && *end == 0 && rate > 0 && rate <= RATE_MAX;
}

bool backup_options_read(struct backup_options *options, int argc, char **argv)
{
    static const struct words words = {"backup", "--from", backup_usage, backup_word,
                                       backup_option};
    *options = (struct backup_options){.file = NULL};
    return read_all(options, &words, argc, argv);
}

static bool restore_word(struct backup_options *options, const char *word)
{
    if (strcmp(word, "--dry-run") == 0) {
        options->is_dry = true;
    } else if (strcmp(word, "--replace") == 0) {
        options->replaces = true;
    } else if (strcmp(word, "--users") == 0) {
        options->with_users = true;
    } else if (strcmp(word, "--skip") == 0) {
        options->skips = true;
    } else if (*word != '-' && options->file == NULL) {
        options->file = word;
    } else {
        return false;
    }
    return true;
}

static bool restore_option(struct backup_options *options, const char *word, const char *value)
{
    options->spool_dir = value;
    return strcmp(word, "--spool") == 0;
}

bool restore_options_read(struct backup_options *options, int argc, char **argv)
{
    static const struct words words = {"restore", "--to", restore_usage, restore_word,
                                       restore_option};
    *options = (struct backup_options){.file = NULL};
    return read_all(options, &words, argc, argv);
}
