/* opts: the table of options and the reading of argv against it. Nothing here opens a socket. */
#include "opts.h"

#include "fatal.h"

enum kind { KIND_NUMBER, KIND_FLAG, KIND_WORD, KIND_TEXT };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;            /* of a uint32_t, or of a const char * for KIND_TEXT */
    uint32_t min, max;        /* KIND_NUMBER */
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
    NUMBER("pid", pid, 0, UINT32_MAX, "its process, for CPU time and memory; 0: not reported"),
    NUMBER("publishers", publisher_count, 0, 10000, "publishing connections"),
    NUMBER("subscribers", subscriber_count, 0, 200000, "subscribing connections"),
    NUMBER("slow", slow_count, 0, 200000, "of the subscribers, how many never read"),
    NUMBER("judge", judge_count, 1, UINT32_MAX,
           "judge so many, count the bytes of the rest (RESP)"),
    NUMBER("channels", channel_count, 1, 1000000, "channels; each publisher goes round them"),
    WORD("layout", layout, layout_words, "each subscriber has all channels, or its share of them"),
    NUMBER("payload", payload_bytes, 16, 512U << 20, "bytes of one message"),
    NUMBER("batch", batch_count, 1, 100000, "PUBLISHes sent before waiting for their replies"),
    NUMBER("window", window_count, 0, 100000000, "publishes under way at most; 0: 2 batches each"),
    NUMBER("rate", rate_per_s, 0, 100000000, "open loop: publishes per second; 0: closed loop"),
    NUMBER("patterns-match", match_count, 0, 1000, "pattern subscriptions that match"),
    NUMBER("patterns-miss", miss_count, 0, 1000000, "pattern subscriptions that do not"),
    NUMBER("pattern-conns", pattern_conn_max, 1, 10000, "connections that share the patterns"),
    NUMBER("warmup-ms", warmup_ms, 0, 600000, "load before measuring"),
    NUMBER("measure-ms", measure_ms, 1, 600000, "time measured"),
    NUMBER("messages", message_max, 0, UINT32_MAX, "stop after so many publishes; 0: by time"),
    FLAG("idle", idle, "publish nothing: memory per subscriber, once it stands still"),
    NUMBER("settle-ms", settle_ms, 0, 600000, "idle: longest wait for that"),
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
    .label = "load",
};

static uint32_t *number_at(struct opts *opts, const struct row *row)
{
    return (uint32_t *)((char *)opts + row->offset);
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
    if (row->kind == KIND_NUMBER) {
        fprintf(stderr, "load: --%s %s: a number from %u to %u\n", row->name, value, row->min,
                row->max);
    } else {
        fprintf(stderr, "load: --%s %s: not one of its words, see --help\n", row->name, value);
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
}

const char *opts_proto_name(enum proto proto)
{
    return proto_words[proto];
}
