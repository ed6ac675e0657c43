/* spec: the table of options and the reading of argv against it. */
#include "spec.h"

#include <getopt.h>

#include "load/fatal.h"
#include "rows.h"

struct option_row {
    const char *name;
    size_t offset; /* of a uint32_t, or of a struct list */
    uint32_t min, max;
    bool is_list;
    const char *help;
};

#define AT(field) offsetof(struct spec, field)

static const struct option_row rows[] = {
    {"port", AT(ports), 1, 65535, true, "of the server's nodes, in turn"},
    {"pid", AT(pids), 1, UINT32_MAX, true, "its processes, for CPU time"},
    {"connections", AT(connections), 1, CONNECTIONS_MAX, false, "connections"},
    {"depth", AT(depth), 1, DEPTH_MAX, false, "requests of a connection that are under way"},
    {"databases", AT(databases), 1, DATABASES_MAX, false, "databases (streams), in turn"},
    {"payload", AT(payload_bytes), 8, 1 << 20, false, "bytes of one element"},
    {"fill", AT(fill_count), 200, 1000000, false, "elements in each database before, to be read"},
    {"replicas", AT(replicas), 1, 5, false, "of a stream (NATS)"},
    {"warmup-ms", AT(warmup_ms), 0, 60000, false, "before measuring"},
    {"measure-ms", AT(measure_ms), 1, 600000, false, "how long"},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

__attribute__((noreturn)) static void refuse(const char *name, const char *value)
{
    fprintf(stderr, "data: --%s %s: not allowed, see --help\n", name, value);
    exit(EXIT_BAD_OPTION);
}

static uint32_t number_of(const struct option_row *row, const char *text, char **end)
{
    errno = 0;
    unsigned long value = strtoul(text, end, 10);
    if (*end == text || errno != 0 || value < row->min || value > row->max) {
        refuse(row->name, text);
    }
    return (uint32_t)value;
}

static void take(struct spec *spec, const struct option_row *row, const char *text)
{
    char *at = (char *)spec + row->offset;
    char *end = NULL;
    if (!row->is_list) {
        uint32_t value = number_of(row, text, &end);
        if (*end != '\0') { refuse(row->name, text); }
        memcpy(at, &value, sizeof value);
        return;
    }
    struct list list = {0};
    for (const char *next = text;; next = end + 1) {
        if (list.count == LIST_MAX) { refuse(row->name, text); }
        list.number[list.count++] = number_of(row, next, &end);
        if (*end == '\0') { break; }
        if (*end != ',') { refuse(row->name, text); }
    }
    memcpy(at, &list, sizeof list);
}

static void help(void)
{
    puts("data --row ROW --port LIST [--nats] [--label TEXT] [--host ADDRESS] ...");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        printf("  --%-12s %s (%u to %u)\n", rows[i].name, rows[i].help, rows[i].min, rows[i].max);
    }
    printf("rows:");
    rows_print();
    exit(EXIT_SUCCESS);
}

void spec_parse(struct spec *spec, int argc, char **argv)
{
    enum { OPT_ROW = 1000, OPT_NATS, OPT_LABEL, OPT_HOST, OPT_HELP };
    *spec = (struct spec){.host = "127.0.0.1",
                          .connections = 1,
                          .depth = 1,
                          .databases = 1,
                          .payload_bytes = 100,
                          .fill_count = 10000,
                          .replicas = 1,
                          .warmup_ms = 200,
                          .measure_ms = 1000,
                          .label = "data"};
    struct option options[ROW_COUNT + 6] = {{"row", required_argument, NULL, OPT_ROW},
                                            {"nats", no_argument, NULL, OPT_NATS},
                                            {"label", required_argument, NULL, OPT_LABEL},
                                            {"host", required_argument, NULL, OPT_HOST},
                                            {"help", no_argument, NULL, OPT_HELP}};
    for (size_t i = 0; i < ROW_COUNT; i++) {
        options[5 + i] = (struct option){rows[i].name, required_argument, NULL, (int)i};
    }
    for (int found; (found = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (found) {
        case OPT_ROW: spec->row = row_find(optarg); break;
        case OPT_NATS: spec->is_nats = true; break;
        case OPT_LABEL: spec->label = optarg; break;
        case OPT_HOST: spec->host = optarg; break;
        case OPT_HELP: help(); break;
        case '?': exit(EXIT_BAD_OPTION);
        default: take(spec, &rows[found], optarg);
        }
    }
    if (spec->row == NULL || spec->ports.count == 0 || optind != argc) {
        refuse("row, --port", "are needed, nothing else is");
    }
    if (spec->is_nats && !row_is_for_nats(spec->row)) { refuse("nats", "for this row"); }
}
