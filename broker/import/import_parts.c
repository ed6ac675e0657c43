/* import_parts: RPUSH, SADD, ZADD, HSET, APPEND, and for streams XADD, XSETID, XGROUP and XCLAIM. */
#include "import/import_parts.h"

#include <stdio.h>

struct parts {
    struct import_write *write;
    struct slice key;
    uint32_t elements; /* in the command at hand; 0: there is none */
    uint64_t entries;
    struct buf group;
    struct buf consumer;
    uint64_t delivered_ms; /* of what is being claimed */
    uint64_t delivered_count;
};

static bool is_good(const struct parts *parts)
{
    return parts->write->target->state == TARGET_GOOD;
}

static struct import_command *begin(struct parts *parts, const char *name)
{
    struct import_command *command = &parts->write->command;
    import_command_begin(command, name);
    import_command_word(command, parts->key);
    return command;
}

static bool send_now(struct parts *parts, uint32_t expected)
{
    return target_send(parts->write->target, &parts->write->command, parts->write->mark,
                       expected) == TARGET_GOOD;
}

/* ---- collections ---- */

static bool elements_end(struct parts *parts)
{
    bool any = parts->elements > 0;
    parts->elements = 0;
    return !any || send_now(parts, 0);
}

/* One more of them: `name` is the command's that takes them. */
static bool element(struct parts *parts, const char *name, const struct slice *word, uint32_t count)
{
    if (parts->elements == 0) { (void)begin(parts, name); }
    struct import_command *command = &parts->write->command;
    for (uint32_t i = 0; i < count; i++) {
        import_command_word(command, word[i]);
    }
    parts->elements++;
    bool is_full = command->words.len >= WRITE_PART_BYTES || parts->elements >= WRITE_PART_ELEMENTS;
    return !is_full || elements_end(parts);
}

static bool field(struct parts *parts, const struct rdb_event *event)
{
    const struct slice word[] = {event->name, event->value};
    if (event->expire_ms == 0) { return element(parts, "HSET", word, 2); }
    if (!elements_end(parts)) { return false; }
    struct import_command *command = begin(parts, "HSETEX");
    import_command_str(command, "PXAT");
    import_command_number(command, event->expire_ms);
    import_command_str(command, "FIELDS");
    import_command_number(command, 1);
    import_command_word(command, event->name);
    import_command_word(command, event->value);
    return send_now(parts, 0);
}

static bool scored(struct parts *parts, const struct rdb_event *event)
{
    char score[40];
    snprintf(score, sizeof score, "%.17g", event->score);
    const struct slice word[] = {slice_of_str(score), event->name};
    return element(parts, "ZADD", word, 2);
}

static bool text(struct parts *parts, struct slice whole)
{
    const char *name = "SET";
    for (size_t at = 0; at < whole.len; at += WRITE_TEXT_BYTES) {
        size_t len = whole.len - at < WRITE_TEXT_BYTES ? whole.len - at : WRITE_TEXT_BYTES;
        import_command_word(begin(parts, name), slice_of(whole.data + at, len));
        if (!send_now(parts, 0)) { return false; }
        name = "APPEND";
    }
    return true;
}

/* ---- streams ---- */

static bool entry(struct parts *parts, const struct rdb_event *event)
{
    struct import_command *command = begin(parts, "XADD");
    import_command_id(command, event->id.ms, event->id.seq);
    for (uint32_t i = 0; i < event->part_count; i++) {
        import_command_word(command, event->part[i]);
    }
    return send_now(parts, 0);
}

static bool counters(struct parts *parts, const struct rdb_event *event)
{
    struct import_command *command;
    if (event->entries ==
        0) { /* there is no command that makes an empty one but this, and it makes a group, too */
        command = &parts->write->command;
        import_command_begin(command, "XGROUP");
        import_command_str(command, "CREATE");
        import_command_word(command, parts->key);
        import_command_str(command, "fanfare-import");
        import_command_str(command, "0");
        import_command_str(command, "MKSTREAM");
        if (!send_now(parts, 0)) { return false; }
        import_command_begin(command, "XGROUP");
        import_command_str(command, "DESTROY");
        import_command_word(command, parts->key);
        import_command_str(command, "fanfare-import");
        if (!send_now(parts, 0)) { return false; }
    }
    command = begin(parts, "XSETID");
    import_command_id(command, event->id.ms, event->id.seq);
    import_command_str(command, "ENTRIESADDED");
    import_command_number(command, event->added);
    import_command_str(command, "MAXDELETEDID");
    import_command_id(command, event->max_deleted.ms, event->max_deleted.seq);
    return send_now(parts, 0);
}

static void name_keep(struct buf *out, struct slice name)
{
    out->len = 0;
    buf_append(out, name);
}

static bool group(struct parts *parts, const struct rdb_event *event)
{
    struct import_command *command = &parts->write->command;
    name_keep(&parts->group, event->name);
    import_command_begin(command, "XGROUP");
    import_command_str(command, "CREATE");
    import_command_word(command, parts->key);
    import_command_word(command, event->name);
    import_command_id(command, event->id.ms, event->id.seq);
    if (event->read != RDB_READ_UNKNOWN) {
        import_command_str(command, "ENTRIESREAD");
        import_command_number(command, event->read);
    }
    return send_now(parts, 0);
}

static bool consumer(struct parts *parts, const struct rdb_event *event)
{
    struct import_command *command = &parts->write->command;
    name_keep(&parts->consumer, event->name);
    import_command_begin(command, "XGROUP");
    import_command_str(command, "CREATECONSUMER");
    import_command_word(command, parts->key);
    import_command_word(command, buf_slice(&parts->group));
    import_command_word(command, event->name);
    return send_now(parts, 0);
}

/* What is claimed in one command was delivered at one time, so many times. An entry that is deleted cannot be claimed. */
static bool claim_end(struct parts *parts)
{
    struct import_command *command = &parts->write->command;
    uint32_t ids = parts->elements;
    parts->elements = 0;
    if (ids == 0) { return true; }
    import_command_str(command, "TIME");
    import_command_number(command, parts->delivered_ms);
    import_command_str(command, "RETRYCOUNT");
    import_command_number(command, parts->delivered_count);
    import_command_str(command, "FORCE");
    import_command_str(command, "JUSTID");
    return send_now(parts, ids);
}

static bool pending(struct parts *parts, const struct rdb_event *event)
{
    bool is_like_before = parts->elements > 0 && parts->elements < WRITE_PART_ELEMENTS &&
                          parts->delivered_ms == event->delivered_ms &&
                          parts->delivered_count == event->delivered_count;
    if (!is_like_before) {
        if (!claim_end(parts)) { return false; }
        struct import_command *command = begin(parts, "XCLAIM");
        import_command_word(command, buf_slice(&parts->group));
        import_command_word(command, buf_slice(&parts->consumer));
        import_command_str(command, "0");
        parts->delivered_ms = event->delivered_ms;
        parts->delivered_count = event->delivered_count;
    }
    import_command_id(&parts->write->command, event->id.ms, event->id.seq);
    parts->elements++;
    return true;
}

static bool on_event(void *arg, const struct rdb_event *event)
{
    struct parts *parts = arg;
    switch (event->kind) {
    case RDB_TEXT: return text(parts, event->value);
    case RDB_ELEMENT: return element(parts, "RPUSH", &event->value, 1);
    case RDB_MEMBER: return element(parts, "SADD", &event->name, 1);
    case RDB_SCORED: return scored(parts, event);
    case RDB_FIELD: return field(parts, event);
    case RDB_ENTRY: return entry(parts, event);
    case RDB_STREAM: return counters(parts, event);
    case RDB_GROUP: return claim_end(parts) && group(parts, event);
    case RDB_CONSUMER: return claim_end(parts) && consumer(parts, event);
    case RDB_PENDING: return pending(parts, event);
    }
    return false;
}

enum target_state import_parts_write(struct import_write *write)
{
    struct rdb_file *file = &write->file;
    struct parts parts = {.write = write, .key = file->key};
    const struct rdb_sink sink = {on_event, &parts};
    (void)begin(&parts, "DEL");
    bool is_sent = send_now(&parts, 0) && rdb_value_read(&file->in, file->type, &sink);
    bool is_stream = rdb_kind_of(file->type) == RDB_KIND_STREAM;
    is_sent = is_sent && (is_stream ? claim_end(&parts) : elements_end(&parts));
    if (is_sent && file->expire_ms != 0) {
        import_command_number(begin(&parts, "PEXPIREAT"), file->expire_ms);
        is_sent = send_now(&parts, 0);
    }
    CHECK(is_sent || !is_good(&parts)); /* the survey has read it */
    buf_fini(&parts.group);
    buf_fini(&parts.consumer);
    return write->target->state;
}
