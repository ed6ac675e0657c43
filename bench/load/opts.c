/* opts: the table of options and the reading of argv against it. Nothing here opens a socket. */
#include "opts.h"

#include "fatal.h"

enum kind { KIND_NUMBER, KIND_LIST, KIND_FLAG, KIND_WORD, KIND_TEXT };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;            /* of a uint32_t, const char * (KIND_TEXT) or struct list */
    uint32_t min, max;        /* KIND_NUMBER, KIND_LIST */
    const char *const *words; /* KIND_WORD: the value is the index */
    const char *help;
};

static const char *const proto_words[] = {"resp2", "resp3", "nats", NULL};
static const char *const layout_words[] = {"all", "spread", NULL};

#define AT(field) offsetof(struct opts, field)
#define NUMBER(name, field, min, max, help)                \
    {                                                      \
        name, KIND_NUMBER, AT(field), min, max, NULL, help \
    }
#define LIST(name, field, min, max, help)                \
    {                                                    \
        name, KIND_LIST, AT(field), min, max, NULL, help \
    }
#define FLAG(name, field, help)                      \
    {                                                \
        name, KIND_FLAG, AT(field), 0, 1, NULL, help \
    }
#define WORD(name, field, words, help)                \
    {                                                 \
        name, KIND_WORD, AT(field), 0, 0, words, help \
    }
#define TEXT(name, field, help)                      \
    {                                                \
        name, KIND_TEXT, AT(field), 0, 0, NULL, help \
    }

static const struct row rows[] = {
    WORD("proto", proto, proto_words, "protocol of the server"),
    TEXT("host", host, "IPv4 address of the server"),
    NUMBER("port", port, 1, 65535, "its port"),
    LIST("publish-ports", publish_ports, 1, 65535, "of several nodes, in turn; else --port"),
    LIST("subscribe-ports", subscribe_ports, 1, 65535, "likewise for the subscribers"),
    LIST("pid", pids, 1, UINT32_MAX, "its processes, for CPU time and memory; else not reported"),
    NUMBER("publishers", publisher_count, 0, 10000, "publishing connections"),
    NUMBER("subscribers", subscriber_count, 0, 200000, "subscribing connections"),
    NUMBER("slow", slow_count, 0, 200000, "of the subscribers, how many never read"),
    NUMBER("judge", judge_count, 1, UINT32_MAX,
           "judge so many, count the bytes of the rest (RESP)"),
    NUMBER("channels", channel_count, 1, 1000000, "channels; each publisher goes round them"),
    WORD("layout", layout, layout_words, "each subscriber has all channels, or its share of them"),
    NUMBER("shards", shard_count, 0, LIST_MAX,
           "sharded pub/sub, connection i has channels i modulo this (RESP); 0: plain"),
    TEXT("names", names_path, "file with the number that each channel is called by"),
    NUMBER("payload", payload_bytes, 16, 512U << 20, "bytes of one message"),
    NUMBER("batch", batch_count, 1, 100000, "PUBLISHes sent before waiting for their replies"),
    NUMBER("window", window_count, 0, 100000000, "publishes under way at most; 0: 2 batches each"),
    NUMBER("rate", rate_per_s, 0, 100000000, "open loop: publishes per second; 0: closed loop"),
    NUMBER("patterns-match", match_count, 0, 1000, "pattern subscriptions that match"),
    NUMBER("patterns-miss", miss_count, 0, 1000000, "pattern subscriptions that do not"),
    NUMBER("pattern-conns", pattern_conn_max, 1, 10000, "connections that share the patterns"),
    NUMBER("pause-ms", pause_ms, 0, 60000, "between subscribing and publishing"),
    NUMBER("warmup-ms", warmup_ms, 0, 600000, "load before measuring"),
    NUMBER("measure-ms", measure_ms, 1, 600000, "time measured"),
    NUMBER("messages", message_max, 0, UINT32_MAX, "stop after so many publishes; 0: by time"),
    FLAG("idle", idle, "publish nothing: memory per subscriber, once it stands still"),
    NUMBER("settle-ms", settle_ms, 0, 600000, "idle: longest wait for that"),
    FLAG("loose", loose, "a publish may count some receivers only, subscribers' orders may differ"),
    FLAG("handshakes", handshakes,
         "connect, ask once, leave, again and again; each counts as a publish"),
    FLAG("tls", tls, "encrypt every connection; the server's certificate is not looked at"),
    FLAG("json", json, "print a JSON object"),
    TEXT("label", label, "a name for the result"),
    FLAG("self-test", self_test, "check the checks with planted faults"),
};

static const size_t row_count = sizeof rows / sizeof rows[0];

static const struct opts defaults = {
    .proto = PROTO_RESP2,
    .layout = LAYOUT_ALL,
    .host = "127.0.0.1",
    .port = 6379,
    .publisher_count = 1,
    .subscriber_count = 1,
    .judge_count = UINT32_MAX,
    .channel_count = 1,
    .payload_bytes = 64,
    .batch_count = 1,
    .pattern_conn_max = 100,
    .warmup_ms = 300,
    .measure_ms = 1000,
    .settle_ms = 20000,
    .names_path = "",
    .label = "load",
};

static uint32_t *number_at(struct opts *opts, const struct row *row)
{
    return (uint32_t *)((char *)opts + row->offset);
}

static struct list *list_at(struct opts *opts, const struct row *row)
{
    return (struct list *)((char *)opts + row->offset);
}

static const char **text_at(struct opts *opts, const struct row *row)
{
    return (const char **)((char *)opts + row->offset);
}

static void print_help(void)
{
    struct opts opts = defaults;
    puts(
        "load [--option value ...]: publish and subscribe, check every message, report the cost\n");
    for (size_t i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        printf("  --%-15s %s", row->name, row->help);
        switch (row->kind) {
        case KIND_NUMBER:
            printf(" (%u to %u, default %u)", row->min, row->max, *number_at(&opts, row));
            break;
        case KIND_WORD:
            for (size_t w = 0; row->words[w] != NULL; w++) {
                printf("%s%s", w == 0 ? " (" : "|", row->words[w]);
            }
            putchar(')');
            break;
        case KIND_LIST: printf(" (each %u to %u)", row->min, row->max); break;
        case KIND_TEXT: printf(" (default %s)", *text_at(&opts, row)); break;
        case KIND_FLAG: break;
        }
        putchar('\n');
    }
    printf("\nExit: 0 measured, %d a message lost, repeated, reordered or damaged, %d cannot run, "
           "%d bad option\n",
           EXIT_VIOLATION, EXIT_CANNOT_RUN, EXIT_BAD_OPTION);
}

__attribute__((noreturn)) static void refuse_value(const struct row *row, const char *value)
{
    const char *name = row->name;
    if (row->kind == KIND_NUMBER) {
        fprintf(stderr, "load: --%s %s: a number from %u to %u\n", name, value, row->min, row->max);
    } else if (row->kind == KIND_LIST) {
        fprintf(stderr, "load: --%s %s: up to %u numbers from %u to %u, by comma\n", name, value,
                LIST_MAX, row->min, row->max);
    } else {
        fprintf(stderr, "load: --%s %s: not one of its words, see --help\n", name, value);
    }
    exit(EXIT_BAD_OPTION);
}

static uint32_t read_number(const struct row *row, const char *value)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    bool is_number = value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
    if (!is_number || number < row->min || number > row->max) { refuse_value(row, value); }
    return (uint32_t)number;
}

static struct list read_list(const struct row *row, const char *value)
{
    struct list list = {0};
    const char *at = value;
    do {
        char *end = NULL;
        errno = 0;
        unsigned long long number = strtoull(at, &end, 10);
        bool is_number = *at >= '0' && *at <= '9' && (*end == ',' || *end == '\0') && errno == 0;
        if (!is_number || number < row->min || number > row->max || list.count == LIST_MAX) {
            refuse_value(row, value);
        }
        list.number[list.count++] = (uint32_t)number;
        at = *end == ',' ? end + 1 : end;
    } while (*at != '\0');
    return list;
}

static uint32_t read_word(const struct row *row, const char *value)
{
    for (uint32_t w = 0; row->words[w] != NULL; w++) {
        if (strcmp(row->words[w], value) == 0) { return w; }
    }
    refuse_value(row, value);
}

static void set_value(struct opts *opts, const struct row *row, const char *value)
{
    switch (row->kind) {
    case KIND_NUMBER: *number_at(opts, row) = read_number(row, value); break;
    case KIND_LIST: *list_at(opts, row) = read_list(row, value); break;
    case KIND_WORD: *number_at(opts, row) = read_word(row, value); break;
    case KIND_TEXT: *text_at(opts, row) = value; break;
    case KIND_FLAG: *number_at(opts, row) = 1; break;
    }
}

static const struct row *find_row(const char *arg)
{
    for (size_t i = 0; i < row_count; i++) {
        if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, rows[i].name) == 0) { return &rows[i]; }
    }
    fprintf(stderr, "load: %s: no such option, see --help\n", arg);
    exit(EXIT_BAD_OPTION);
}

static void require(bool holds, const char *rule)
{
    if (!holds) {
        fprintf(stderr, "load: %s\n", rule);
        exit(EXIT_BAD_OPTION);
    }
}

/* The options that only make sense together. */
static void check_together(const struct opts *opts)
{
    require(opts->slow_count <= opts->subscriber_count, "--slow counts among --subscribers");
    require(opts->rate_per_s == 0 || opts->payload_bytes >= 32,
            "--rate needs a --payload of 32 or more: the message carries its time");
    require(opts->rate_per_s == 0 || opts->batch_count == 1, "--rate sends one by one: no --batch");
    require(opts->idle || opts->publisher_count > 0,
            "without --publishers only --idle makes sense");
    require(opts->proto != PROTO_NATS || opts->judge_count == UINT32_MAX,
            "--judge counts bytes, which NATS mixes with others");
    require(opts->shard_count == 0 || (opts->proto != PROTO_NATS && opts->layout == LAYOUT_ALL &&
                                       opts->channel_count % opts->shard_count == 0),
            "--shards is for RESP and --layout all, and divides --channels");
    uint64_t command_bytes = (uint64_t)opts->payload_bytes * opts->batch_count;
    require(command_bytes <= 1U << 30, "--payload times --batch passes 1 GiB");
}

void opts_default(struct opts *opts)
{
    *opts = defaults;
}

void opts_parse(struct opts *opts, int argc, char **argv)
{
    *opts = defaults;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            exit(EXIT_SUCCESS);
        }
        const struct row *row = find_row(argv[i]);
        const char *value = "";
        if (row->kind != KIND_FLAG) {
            require(i + 1 < argc, "the last option lacks its value");
            value = argv[++i];
        }
        set_value(opts, row, value);
    }
    check_together(opts);
    if (opts->names_path[0] != '\0') {
        opts->names = names_read(opts->names_path, opts->channel_count);
    }
}

const char *opts_proto_name(enum proto proto)
{
    return proto_words[proto];
}
