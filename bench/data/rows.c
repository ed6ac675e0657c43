/* rows: the table. A row that reads has a kind of filling; the keys are the same in every database. */
#include "rows.h"

#include "load/fatal.h"

enum fill { FILL_NONE, FILL_STREAM, FILL_LIST, FILL_ZSET, FILL_KEYS, FILL_GROUP };

struct row {
    const char *name;
    enum fill fill;
    void (*request)(struct maker *maker, struct slot *slot, struct buffer *out);
    bool is_for_nats;
};

static uint64_t draw(struct maker *maker, uint64_t below)
{
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 7;
    maker->random ^= maker->random << 17;
    return maker->random % below;
}

static void payload(struct maker *maker, struct buffer *out)
{
    buffer_print(out, "$%u\r\n", maker->spec->payload_bytes);
    buffer_add(out, maker->payload, maker->spec->payload_bytes);
    buffer_add(out, "\r\n", 2);
}

static void word(struct buffer *out, const char *text)
{
    buffer_print(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void word_number(struct buffer *out, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    word(out, text);
}

/* ---- requests ---- */

static void append(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    buffer_print(out, "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nv\r\n");
    payload(maker, out);
}

static void range(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    char from[32];
    snprintf(from, sizeof from, "%llu-0",
             (unsigned long long)draw(maker, maker->spec->fill_count - RANGE_COUNT) + 1);
    buffer_print(out, "*6\r\n$6\r\nXRANGE\r\n$1\r\ns\r\n");
    word(out, from);
    buffer_print(out, "$1\r\n+\r\n$5\r\nCOUNT\r\n$3\r\n100\r\n");
}

static void queue(struct maker *maker, struct slot *slot, struct buffer *out)
{
    if (slot->turn++ % 2 == 0) {
        buffer_print(out, "*3\r\n$5\r\nRPUSH\r\n$1\r\nq\r\n");
        payload(maker, out);
    } else {
        buffer_print(out, "*2\r\n$4\r\nLPOP\r\n$1\r\nq\r\n");
    }
}

static void schedule(struct maker *maker, struct slot *slot, struct buffer *out)
{
    if (slot->turn++ % 2 == 0) {
        char member[64];
        snprintf(member, sizeof member, "job:%u:%llu", maker->connection,
                 (unsigned long long)maker->made);
        buffer_print(out, "*4\r\n$4\r\nZADD\r\n$1\r\nd\r\n");
        word_number(out, draw(maker, 1000000000));
        word(out, member);
    } else {
        buffer_print(out, "*2\r\n$7\r\nZPOPMIN\r\n$1\r\nd\r\n");
    }
}

static void key(struct maker *maker, struct buffer *out)
{
    char name[32];
    snprintf(name, sizeof name, "key:%08llu",
             (unsigned long long)draw(maker, maker->spec->fill_count));
    word(out, name);
}

static void set(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    buffer_print(out, "*3\r\n$3\r\nSET\r\n");
    key(maker, out);
    payload(maker, out);
}

static void get(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    buffer_print(out, "*2\r\n$3\r\nGET\r\n");
    key(maker, out);
}

static void by_index(struct maker *maker, const char *command, const char *name, struct buffer *out)
{
    uint64_t from = draw(maker, maker->spec->fill_count - RANGE_COUNT);
    buffer_print(out, "*4\r\n");
    word(out, command);
    word(out, name);
    word_number(out, from);
    word_number(out, from + RANGE_COUNT - 1);
}

static void list_range(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    by_index(maker, "LRANGE", "l", out);
}

static void zset_range(struct maker *maker, struct slot *slot, struct buffer *out)
{
    (void)slot;
    by_index(maker, "ZRANGE", "z", out);
}

/* Turn 0: take; 1: acknowledge what was taken; 2: nothing was left, begin again. */
static void group(struct maker *maker, struct slot *slot, struct buffer *out)
{
    if (slot->turn == 0) {
        buffer_print(out, "*9\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n");
        word_number(out, maker->connection);
        buffer_print(out, "$5\r\nCOUNT\r\n$2\r\n10\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n>\r\n");
    } else if (slot->turn == 1) {
        buffer_print(out, "*%u\r\n$4\r\nXACK\r\n$1\r\ns\r\n$1\r\ng\r\n", 3 + slot->expected);
        buffer_add(out, maker->ids.bytes, maker->ids.end);
    } else {
        buffer_print(out, "*5\r\n$6\r\nXGROUP\r\n$5\r\nSETID\r\n$1\r\ns\r\n$1\r\ng\r\n$1\r\n0\r\n");
    }
}

static const struct row rows[] = {
    {"append", FILL_NONE, append, true},      {"read", FILL_STREAM, range, true},
    {"group", FILL_GROUP, group, true},       {"queue", FILL_NONE, queue, false},
    {"schedule", FILL_NONE, schedule, false}, {"set", FILL_NONE, set, false},
    {"get", FILL_KEYS, get, false},           {"lrange", FILL_LIST, list_range, false},
    {"zrange", FILL_ZSET, zset_range, false},
};

const struct row *row_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) { return &rows[i]; }
    }
    fprintf(stderr, "data: --row %s: unknown, see --help\n", name);
    exit(EXIT_BAD_OPTION);
}

bool row_is_for_nats(const struct row *row)
{
    return row->is_for_nats;
}

void rows_print(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf(" %s", rows[i].name);
    }
    putchar('\n');
}

/* ---- before ---- */

static void fill_one(struct maker *maker, enum fill fill, uint32_t number, struct buffer *out)
{
    switch (fill) {
    case FILL_NONE: break;
    case FILL_STREAM:
    case FILL_GROUP:
        buffer_print(out, "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n");
        char id[32];
        snprintf(id, sizeof id, "%u-0", number + 1);
        word(out, id);
        buffer_print(out, "$1\r\nv\r\n");
        payload(maker, out);
        break;
    case FILL_LIST:
        buffer_print(out, "*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n");
        payload(maker, out);
        break;
    case FILL_ZSET:
        buffer_print(out, "*4\r\n$4\r\nZADD\r\n$1\r\nz\r\n");
        word_number(out, draw(maker, 1000000000));
        word_number(out, number);
        break;
    case FILL_KEYS:
        buffer_print(out, "*3\r\n$3\r\nSET\r\n$12\r\nkey:%08u\r\n", number);
        payload(maker, out);
        break;
    }
}

void row_fill(struct maker *maker, struct buffer *out, uint32_t *count)
{
    const struct row *row = maker->spec->row;
    *count = row->fill == FILL_NONE ? 0 : maker->spec->fill_count;
    for (uint32_t i = 0; i < *count; i++) {
        fill_one(maker, row->fill, i, out);
    }
    if (row->fill == FILL_GROUP) {
        buffer_print(out,
                     "*5\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n$1\r\ns\r\n$1\r\ng\r\n$1\r\n0\r\n");
        *count += 1;
    }
}

/* ---- requests and their replies ---- */

void row_request(struct maker *maker, struct slot *slot, struct buffer *out)
{
    maker->made++;
    maker->spec->row->request(maker, slot, out);
}

/* The ids of XREADGROUP's reply: the only bulk strings that are digits, a minus sign, digits. */
static uint32_t collect_ids(struct maker *maker, const char *reply, size_t size)
{
    uint32_t count = 0;
    const char *end = reply + size;
    maker->ids.begin = maker->ids.end = 0;
    for (const char *at = reply; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (line == NULL) { break; }
        if (*at != '$') {
            at = line + 1;
            continue;
        }
        size_t length = strtoul(at + 1, NULL, 10);
        const char *text = line + 1;
        const char *dash = memchr(text, '-', length);
        if (dash != NULL && length < 40 && strspn(text, "0123456789-") >= length) {
            buffer_add(&maker->ids, at, (size_t)(text - at) + length + 2);
            count++;
        }
        at = text + length + 2;
    }
    return count;
}

uint32_t row_reply(struct maker *maker, struct slot *slot, const char *reply, size_t size)
{
    if (maker->spec->row->request != group) { return 1; }
    if (slot->turn == 0) {
        slot->expected = collect_ids(maker, reply, size);
        slot->turn = slot->expected > 0 ? 1 : 2;
        return 0;
    }
    uint32_t done = slot->turn == 1 ? slot->expected : 0;
    slot->turn = 0;
    return done;
}

/* ---- NATS ---- */

void row_nats_request(struct maker *maker, struct slot *slot, struct buffer *out)
{
    const struct spec *spec = maker->spec;
    slot->is_due = false;
    slot->expected = 1;
    slot->operations = 1;
    if (spec->row->request == append) {
        buffer_print(out, "PUB s%u.x _INBOX.%u.%u %u\r\n", maker->database, maker->connection,
                     slot->number, spec->payload_bytes);
        buffer_add(out, maker->payload, spec->payload_bytes);
        buffer_add(out, "\r\n", 2);
        return;
    }
    bool is_group = spec->row->request == group;
    slot->expected = is_group ? GROUP_COUNT : RANGE_COUNT;
    char body[64];
    int size = snprintf(body, sizeof body, "{\"batch\":%u,\"no_wait\":true}", slot->expected);
    if (is_group) {
        buffer_print(out, "PUB $JS.API.CONSUMER.MSG.NEXT.S%u.g _INBOX.%u.%u %d\r\n%s\r\n",
                     maker->database, maker->connection, slot->number, size, body);
    } else { /* each connection reads by itself */
        buffer_print(out, "PUB $JS.API.CONSUMER.MSG.NEXT.S%u.r%u _INBOX.%u.%u %d\r\n%s\r\n",
                     maker->database, maker->connection, maker->connection, slot->number, size,
                     body);
    }
}

uint32_t row_nats_message(struct maker *maker, struct slot *slot, const char *answer_to,
                          size_t answer_to_size, struct buffer *out)
{
    if (maker->spec->row->request == append) {
        slot->is_due = true;
        return 1;
    }
    bool is_ack = slot->turn == 1; /* the answer to the acknowledgement of the last one */
    if (is_ack) {
        slot->turn = 0;
        slot->is_due = true;
        return GROUP_COUNT;
    }
    slot->expected--;
    if (maker->spec->row->request != group) {
        slot->is_due = slot->expected == 0;
        return slot->expected == 0;
    }
    if (answer_to_size == 0) { fatal("a message without a subject to acknowledge"); }
    if (slot->expected > 0) {
        buffer_print(out, "PUB %.*s 0\r\n\r\n", (int)answer_to_size, answer_to);
    } else { /* it is told when this, and so all before it, has been taken */
        slot->turn = 1;
        buffer_print(out, "PUB %.*s _INBOX.%u.%u 0\r\n\r\n", (int)answer_to_size, answer_to,
                     maker->connection, slot->number);
    }
    return 0;
}
