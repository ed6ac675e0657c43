/* config_value: the rows of config.def, and how one value is parsed, checked and printed by its
 * kind. */
#include "config/config_int.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

enum {
    ADDRESS_COUNT_MAX = 16,
    PEER_COUNT_MAX = 64,
    HOST_BYTES_MAX = 255,
    UNIX_PATH_BYTES_MAX = 107,
    NAME_BYTES_MAX = 63,
};

#define MIB(n) ((int64_t)(n) << 20)
#define TIB(n) ((int64_t)(n) << 40)

/* The kinds as config.def writes them: kind, min, max, choices. */
#define NUMBER(min, max) KIND_NUMBER, (min), (max), ""
#define BYTES(min, max) KIND_BYTES, (min), (max), ""
#define YES_NO KIND_YES_NO, 0, 1, ""
#define CHOICE(words) KIND_CHOICE, 0, 0, words
#define FILE_MODE KIND_FILE_MODE, 0, 0777, ""
#define NAME KIND_NAME, 0, 0, ""
#define TEXT KIND_TEXT, 0, 0, ""
#define TEXT_OR_NONE KIND_TEXT_OR_NONE, 0, 0, ""
#define SECRET KIND_SECRET, 0, 0, ""
#define ADDRESSES KIND_ADDRESSES, 0, 0, ""
#define ADDRESS_OR_OFF KIND_ADDRESS_OR_OFF, 0, 0, ""
#define ADDRESS KIND_ADDRESS, 0, 0, ""
#define PEERS KIND_PEERS, 0, 0, ""
#define HOST KIND_HOST, 0, 0, ""
#define OUTPUT_LIMITS KIND_OUTPUT_LIMITS, 0, 0, ""
#define EVENTS KIND_EVENTS, 0, 0, ""
#define DATABASES KIND_DATABASES, 0, 0, ""
#define USERS KIND_USERS, 0, 0, ""

const struct option_row option_rows[CONFIG_COUNT] = {
#define OPTION(id, name, group, kind, fallback, change, alias, help) \
    {name, GROUP_##group, kind, fallback, CHANGE_##change, alias, help},
#include "config/config.def"
#undef OPTION
};

const char *const option_group_names[GROUP_COUNT] = {
    [GROUP_NETWORK] = "Network", [GROUP_TLS] = "TLS",         [GROUP_NODE] = "Node",
    [GROUP_DATA] = "Data",       [GROUP_CLUSTER] = "Cluster", [GROUP_SECURITY] = "Security",
    [GROUP_LIMITS] = "Limits",   [GROUP_LOGGING] = "Logging",
};

/* The classes as Redis orders and prints them. */
static const struct {
    const char *word;
    unsigned class;
} limit_classes[] = {
    {"normal", CONFIG_CLIENT_NORMAL},
    {"slave", LIMIT_REPLICA},
    {"pubsub", CONFIG_CLIENT_PUBSUB},
    {"replica", LIMIT_REPLICA}, /* a synonym: read, not printed */
};
enum { LIMIT_CLASSES_PRINTED = 3 };

void value_fini(struct value *value)
{
    buf_fini(&value->text);
}

static bool fail(struct buf *why, const char *reason)
{
    buf_append_str(why, reason);
    return false;
}

/* The next word of `text`, apart by blanks or, if `commas`, by commas. */
static bool word_next(struct slice *text, bool commas, struct slice *word)
{
    size_t from = 0;
    while (from < text->len &&
           (isspace((unsigned char)text->data[from]) || (commas && text->data[from] == ','))) {
        from++;
    }
    size_t to = from;
    while (to < text->len &&
           !(isspace((unsigned char)text->data[to]) || (commas && text->data[to] == ','))) {
        to++;
    }
    if (to == from) { return false; }
    *word = slice_of(text->data + from, to - from);
    *text = slice_of(text->data + to, text->len - to);
    return true;
}

bool config_list_next(struct slice *rest, struct slice *item, bool *is_optional)
{
    if (!word_next(rest, true, item)) { return false; }
    *is_optional = item->data[0] == '-';
    if (*is_optional) { *item = slice_of(item->data + 1, item->len - 1); }
    return true;
}

/* Redis's sizes: digits, then nothing, b, k, m or g (powers of 1000), kb, mb or gb (of 1024). */
static bool bytes_parse(struct slice text, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t bytes;
    } units[] = {
        {"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
        {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30},
    };
    size_t digits = 0;
    int64_t number = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text.data[digits] - '0', &number)) {
            return false;
        }
        digits++;
    }
    struct slice unit = slice_of(text.data + digits, text.len - digits);
    for (unsigned i = 0; digits > 0 && i < COUNT_OF(units); i++) {
        if (slice_equal_nocase(unit, slice_of_str(units[i].unit))) {
            return !__builtin_mul_overflow(number, units[i].bytes, out);
        }
    }
    return false;
}

static bool number_in_range(const struct option_row *row, int64_t number, struct buf *why)
{
    if (number < row->min || number > row->max) {
        buf_appendf(why, "argument must be between %" PRId64 " and %" PRId64 " inclusive", row->min,
                    row->max);
        return false;
    }
    return true;
}

static bool number_parse(const struct option_row *row, struct slice text, int64_t *out,
                         struct buf *why)
{
    int64_t number;
    if (row->kind == KIND_BYTES) {
        if (!bytes_parse(text, &number)) { return fail(why, "argument must be a memory value"); }
    } else if (!slice_to_int64(text, &number)) {
        return fail(why, "argument couldn't be parsed into an integer");
    }
    if (!number_in_range(row, number, why)) { return false; }
    *out = number;
    return true;
}

static bool mode_parse(const struct option_row *row, struct slice text, int64_t *out,
                       struct buf *why)
{
    int64_t mode = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '7' || i > 3) {
            return fail(why, "argument couldn't be parsed as an octal number");
        }
        mode = mode * 8 + (text.data[i] - '0');
    }
    if (text.len == 0 || mode > row->max) {
        return fail(why, "argument must be between 0 and 777 inclusive");
    }
    *out = mode;
    return true;
}

static bool yes_no_parse(struct slice text, int64_t *out, struct buf *why)
{
    bool is_yes = slice_equal_nocase(text, SLICE("yes"));
    if (!is_yes && !slice_equal_nocase(text, SLICE("no"))) {
        return fail(why, "argument must be 'yes' or 'no'");
    }
    *out = is_yes;
    return true;
}

/* The first word of each choice, with `between` between them. */
static void choices_print(const struct option_row *row, const char *between, struct buf *out)
{
    struct slice rest = slice_of_str(row->choices);
    struct slice choice;
    for (bool is_first = true; word_next(&rest, false, &choice); is_first = false) {
        struct slice word = choice;
        word_next(&choice, true, &word);
        buf_append_str(out, is_first ? "" : between);
        buf_append(out, word);
    }
}

static bool choice_parse(const struct option_row *row, struct slice text, int64_t *out,
                         struct buf *why)
{
    struct slice rest = slice_of_str(row->choices);
    struct slice choice;
    for (int64_t index = 0; word_next(&rest, false, &choice); index++) {
        struct slice word;
        while (word_next(&choice, true, &word)) {
            if (slice_equal_nocase(word, text)) {
                *out = index;
                return true;
            }
        }
    }
    buf_append_str(why, "argument(s) must be one of the following: ");
    choices_print(row, ", ", why);
    return false;
}

bool config_address_plain(struct slice *address, struct slice scheme)
{
    if (!slice_starts_with(*address, scheme)) { return false; }
    *address = slice_of(address->data + scheme.len, address->len - scheme.len);
    return true;
}

static bool address_is_valid(struct slice address)
{
    if (slice_starts_with(address, SLICE("unix:"))) {
        size_t path_len = address.len - strlen("unix:");
        return path_len > 0 && path_len <= UNIX_PATH_BYTES_MAX;
    }
    struct slice host;
    uint16_t port;
    (void)config_address_plain(&address, SLICE("tls://"));
    return address_split(address, &host, &port);
}

static bool addresses_check(struct slice text, struct buf *why)
{
    struct slice item;
    bool is_optional;
    unsigned count = 0;
    while (config_list_next(&text, &item, &is_optional)) {
        if (!address_is_valid(item) || count == ADDRESS_COUNT_MAX) {
            return fail(why, "argument must be a list of at most 16 addresses");
        }
        count++;
    }
    return count > 0 || fail(why, "argument must be a list of at most 16 addresses");
}

bool config_host_split(struct slice text, struct slice *host, uint16_t *port)
{
    if (text.len > 0 && address_split(text, host, port)) { return host->len <= HOST_BYTES_MAX; }
    bool is_ipv6 = text.len > 2 && text.data[0] == '[' && text.data[text.len - 1] == ']';
    *host = is_ipv6 ? slice_of(text.data + 1, text.len - 2) : text;
    *port = 0;
    return host->len > 0 && host->len <= HOST_BYTES_MAX &&
           (is_ipv6 || memchr(host->data, ':', host->len) == NULL);
}

/* Something that others can connect to: no wildcard, no blanks or control characters. */
static bool host_is_valid(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (!isgraph((unsigned char)host.data[i]) || host.data[i] == '*') { return false; }
    }
    return host.len <= HOST_BYTES_MAX && !slice_equal(host, SLICE("0.0.0.0")) &&
           !slice_equal(host, SLICE("::"));
}

static bool host_check(struct slice text, struct buf *why)
{
    struct slice host;
    uint16_t port;
    return text.len == 0 || (config_host_split(text, &host, &port) && host_is_valid(host)) ||
           fail(why, "argument must be a host that others can reach, with or without a port");
}

static bool peers_check(struct slice text, struct buf *why)
{
    struct slice item, host;
    uint16_t port;
    unsigned count = 0;
    while (word_next(&text, true, &item)) {
        bool is_good = address_split(item, &host, &port) && host_is_valid(host) && port > 0;
        if (!is_good || item.data[0] == '-' || count == PEER_COUNT_MAX) {
            return fail(why, "argument must be a list of at most 64 host:port");
        }
        count++;
    }
    return true;
}

static bool name_check(struct slice text, struct buf *why)
{
    bool is_good = text.len <= NAME_BYTES_MAX;
    for (size_t i = 0; i < text.len && is_good; i++) {
        is_good = isalnum((unsigned char)text.data[i]) || strchr("._-", text.data[i]) != NULL;
    }
    return is_good || fail(why, "argument must be at most 63 letters, digits, '.', '_' or '-'");
}

static bool address_or_off_check(struct slice text, struct buf *why)
{
    struct slice host;
    uint16_t port;
    bool is_off = slice_equal(text, SLICE("off"));
    (void)config_address_plain(&text, SLICE("https://"));
    return is_off || address_split(text, &host, &port) ||
           fail(why, "argument must be an address or 'off'");
}

static bool text_check(const struct option_row *row, struct slice text, struct buf *why)
{
    struct slice host;
    uint16_t port;
    if (row->kind != KIND_SECRET && row->kind != KIND_USERS && text.len > 0 &&
        memchr(text.data, '\0', text.len) != NULL) {
        return fail(why, "argument contains a NUL byte");
    }
    switch (row->kind) {
    case KIND_ADDRESSES: return addresses_check(text, why);
    case KIND_ADDRESS_OR_OFF: return address_or_off_check(text, why);
    case KIND_ADDRESS:
        return (address_split(text, &host, &port) && port > 0) ||
               fail(why, "argument must be an address");
    case KIND_PEERS: return peers_check(text, why);
    case KIND_HOST: return host_check(text, why);
    case KIND_NAME: return name_check(text, why);
    case KIND_TEXT: return text.len > 0 || fail(why, "argument can't be empty");
    case KIND_TEXT_OR_NONE:
    case KIND_USERS:
    case KIND_SECRET: return true;
    case KIND_NUMBER:
    case KIND_BYTES:
    case KIND_YES_NO:
    case KIND_CHOICE:
    case KIND_FILE_MODE:
    case KIND_EVENTS:
    case KIND_DATABASES:
    case KIND_OUTPUT_LIMITS: break;
    }
    UNREACHABLE();
}

static bool limit_parse(const struct slice *word, struct config_output_limit *limit)
{
    int64_t hard, soft, seconds;
    if (!bytes_parse(word[0], &hard) || !bytes_parse(word[1], &soft) ||
        !slice_to_int64(word[2], &seconds) || seconds < 0) {
        return false;
    }
    *limit = (struct config_output_limit){(uint64_t)hard, (uint64_t)soft, (uint64_t)seconds};
    return true;
}

/* "class hard soft seconds", any number of times; the last one of a class wins. */
static bool limits_parse(struct slice text, struct value *value, struct buf *why)
{
    struct config_output_limit limit[LIMIT_CLASSES];
    memcpy(limit, value->limit, sizeof limit);
    struct slice word[4];
    while (word_next(&text, false, &word[0])) {
        if (!word_next(&text, false, &word[1]) || !word_next(&text, false, &word[2]) ||
            !word_next(&text, false, &word[3])) {
            return fail(why, "Wrong number of arguments in buffer limit configuration.");
        }
        unsigned at = 0;
        while (at < COUNT_OF(limit_classes) &&
               !slice_equal_nocase(word[0], slice_of_str(limit_classes[at].word))) {
            at++;
        }
        if (at == COUNT_OF(limit_classes)) {
            return fail(why, "Invalid client class specified in buffer limit configuration.");
        }
        if (!limit_parse(&word[1], &limit[limit_classes[at].class])) {
            return fail(why, "Error in hard, soft or soft_seconds setting in buffer limit "
                             "configuration.");
        }
    }
    memcpy(value->limit, limit, sizeof limit);
    return true;
}

bool value_parse(const struct option_row *row, struct slice text, struct value *value,
                 struct buf *why)
{
    if (text.data == NULL) { text = SLICE(""); }
    switch (row->kind) {
    case KIND_NUMBER:
    case KIND_BYTES: return number_parse(row, text, &value->number, why);
    case KIND_FILE_MODE: return mode_parse(row, text, &value->number, why);
    case KIND_YES_NO: return yes_no_parse(text, &value->number, why);
    case KIND_CHOICE: return choice_parse(row, text, &value->number, why);
    case KIND_OUTPUT_LIMITS: return limits_parse(text, value, why);
    case KIND_EVENTS: return events_parse(text, &value->number, why);
    case KIND_DATABASES: return databases_parse(text, &value->number, why);
    case KIND_NAME:
    case KIND_TEXT:
    case KIND_TEXT_OR_NONE:
    case KIND_SECRET:
    case KIND_ADDRESSES:
    case KIND_ADDRESS_OR_OFF:
    case KIND_ADDRESS:
    case KIND_PEERS:
    case KIND_USERS:
    case KIND_HOST:
        if (!text_check(row, text, why)) { return false; }
        buf_fini(&value->text);
        buf_append(&value->text, text);
        return true;
    }
    UNREACHABLE();
}

static void bytes_print(int64_t bytes, enum print_style style, struct buf *out)
{
    static const char *const unit[] = {"", "kb", "mb", "gb"};
    unsigned at = 0;
    while (style == PRINT_FILE && bytes != 0 && bytes % 1024 == 0 && at + 1 < COUNT_OF(unit)) {
        bytes /= 1024;
        at++;
    }
    buf_appendf(out, "%" PRId64 "%s", bytes, unit[at]);
}

static void limits_print(const struct value *value, enum print_style style, struct buf *out)
{
    for (unsigned i = 0; i < LIMIT_CLASSES_PRINTED; i++) {
        if (limit_classes[i].class == LIMIT_REPLICA && style != PRINT_REDIS) { continue; }
        const struct config_output_limit *limit = &value->limit[limit_classes[i].class];
        buf_appendf(out, "%s%s ", i > 0 ? " " : "", limit_classes[i].word);
        bytes_print((int64_t)limit->hard_bytes, style, out);
        buf_append_str(out, " ");
        bytes_print((int64_t)limit->soft_bytes, style, out);
        buf_appendf(out, " %" PRIu64, limit->soft_seconds);
    }
}

static void choice_print(const struct option_row *row, int64_t index, struct buf *out)
{
    struct slice rest = slice_of_str(row->choices);
    struct slice choice = {0};
    for (int64_t i = 0; i <= index; i++) {
        CHECK(word_next(&rest, false, &choice));
    }
    struct slice word = choice;
    word_next(&choice, true, &word);
    buf_append(out, word);
}

void value_print(const struct option_row *row, const struct value *value, enum print_style style,
                 struct buf *out)
{
    switch (row->kind) {
    case KIND_NUMBER: buf_appendf(out, "%" PRId64, value->number); return;
    case KIND_BYTES: bytes_print(value->number, style, out); return;
    case KIND_YES_NO: buf_append_str(out, value->number != 0 ? "yes" : "no"); return;
    case KIND_CHOICE: choice_print(row, value->number, out); return;
    case KIND_FILE_MODE: buf_appendf(out, "%03" PRIo64, value->number); return;
    case KIND_OUTPUT_LIMITS: limits_print(value, style, out); return;
    case KIND_EVENTS: events_print(value->number, out); return;
    case KIND_DATABASES: databases_print(value->number, out); return;
    case KIND_NAME:
    case KIND_TEXT:
    case KIND_TEXT_OR_NONE:
    case KIND_SECRET:
    case KIND_ADDRESSES:
    case KIND_ADDRESS_OR_OFF:
    case KIND_ADDRESS:
    case KIND_PEERS:
    case KIND_USERS:
    case KIND_HOST: buf_append(out, buf_slice(&value->text)); return;
    }
}

bool value_equal(const struct option_row *row, const struct value *a, const struct value *b)
{
    if (row->kind == KIND_OUTPUT_LIMITS) {
        return memcmp(a->limit, b->limit, sizeof a->limit) == 0;
    }
    return a->number == b->number && slice_equal(buf_slice(&a->text), buf_slice(&b->text));
}

void option_allowed(const struct option_row *row, struct buf *out)
{
    switch (row->kind) {
    case KIND_NUMBER:
        buf_appendf(out, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        return;
    case KIND_BYTES:
        buf_append_str(out, "a size (such as 512kb, 32mb, 1gb) from ");
        bytes_print(row->min, PRINT_FILE, out);
        buf_append_str(out, " to ");
        bytes_print(row->max, PRINT_FILE, out);
        return;
    case KIND_YES_NO: buf_append_str(out, "yes or no"); return;
    case KIND_CHOICE: choices_print(row, ", ", out); return;
    case KIND_FILE_MODE: buf_append_str(out, "an octal number from 000 to 777"); return;
    case KIND_OUTPUT_LIMITS:
        buf_append_str(out, "sets of 'normal|pubsub HARD SOFT SECONDS', sizes such as 32mb");
        return;
    case KIND_NAME: buf_append_str(out, "at most 63 letters, digits, '.', '_' and '-'"); return;
    case KIND_TEXT:
    case KIND_TEXT_OR_NONE:
    case KIND_SECRET: buf_append_str(out, "a text"); return;
    case KIND_USERS: buf_append_str(out, "NAME rule ..."); return;
    case KIND_ADDRESSES:
        buf_append_str(out, "up to 16 of host:port, [ipv6]:port, *:port, these also behind "
                            "tls://, unix:/path; ports 0 to 65535");
        return;
    case KIND_ADDRESS_OR_OFF:
        buf_append_str(out, "host:port, [ipv6]:port, *:port with a port from 0 to 65535, also "
                            "behind https://; or off");
        return;
    case KIND_ADDRESS:
        buf_append_str(out, "host:port, [ipv6]:port, *:port with a port from 1 to 65535");
        return;
    case KIND_PEERS: buf_append_str(out, "up to 64 of host:port, [ipv6]:port"); return;
    case KIND_HOST: buf_append_str(out, "host, [ipv6], either with :port, or empty"); return;
    case KIND_EVENTS:
        buf_append_str(out, "K, E, g, $, l, s, h, z, t, x, n, A for all of them, or empty");
        return;
    case KIND_DATABASES: buf_append_str(out, "numbers from 0 to 15, or empty"); return;
    }
}
