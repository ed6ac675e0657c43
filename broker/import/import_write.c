/* import_write: the keys of an RDB file, one after the other. */
#include "import/import_write.h"

#include "base/clock.h"
#include "import/import_parts.h"
#include "import/import_survey.h"
#include "rdb/rdb_write.h"

bool import_write_begin(struct import_write *write, struct slice file, struct import_target *target,
                        int only_db)
{
    *write = (struct import_write){.target = target, .only_db = only_db};
    return rdb_file_begin(&write->file, file, false);
}

void import_write_end(struct import_write *write)
{
    rdb_file_end(&write->file);
    buf_fini(&write->command.words);
    buf_fini(&write->payload);
}

/* ---- how large is it? ---- */

struct measure {
    uint64_t elements;
    uint64_t bytes;
};

static bool on_measure(void *arg, const struct rdb_event *event)
{
    struct measure *measure = arg;
    measure->elements += 1 + event->part_count / 8;
    measure->bytes += event->name.len + event->value.len;
    for (uint32_t i = 0; i < event->part_count; i++) {
        measure->bytes += event->part[i].len;
    }
    return measure->elements <= WRITE_WHOLE_ELEMENTS && measure->bytes <= WRITE_WHOLE_BYTES;
}

/* True: the value is small, and *end is where it ends. */
static bool is_small(const struct rdb_file *file, const char **end)
{
    struct measure measure = {.elements = 0};
    const struct rdb_sink sink = {on_measure, &measure};
    struct rdb_in in = file->in;
    bool is_read = rdb_value_read(&in, file->type, &sink);
    *end = in.at;
    return is_read && (size_t)(in.at - file->in.at) <= WRITE_WHOLE_BYTES;
}

/* ---- one key ---- */

static enum target_state write_whole(struct import_write *write, const char *end)
{
    struct rdb_file *file = &write->file;
    struct import_command *command = &write->command;
    write->payload.len = 0;
    rdb_put_u8(&write->payload, file->type);
    buf_append(&write->payload, slice_of(file->in.at, (size_t)(end - file->in.at)));
    rdb_payload_end(&write->payload, (uint16_t)file->version);
    import_command_begin(command, "RESTORE");
    import_command_word(command, file->key);
    import_command_number(command, file->expire_ms);
    import_command_word(command, buf_slice(&write->payload));
    import_command_str(command, "REPLACE");
    import_command_str(command, "ABSTTL");
    file->in.at = end;
    return target_send(write->target, command, write->mark, 0);
}

/* Does it stay behind? Then the file is behind it. */
static bool is_left_out(struct import_write *write)
{
    struct rdb_file *file = &write->file;
    struct rdb_in in = file->in;
    bool is_other = write->only_db >= 0 && file->db != (uint32_t)write->only_db;
    bool is_over = file->expire_ms != 0 && file->expire_ms <= clock_wall_us() / 1000;
    bool is_there = file->db < IMPORT_DATABASES;
    bool looks = write->looks && file->type != RDB_TYPE_STRING;
    if (is_there && !is_other && !is_over && !looks) { return false; }
    bool is_bad;
    enum import_reason reason = import_value_reason(&in, file->type, &is_bad);
    bool is_empty = is_bad && in.why == rdb_empty;
    bool is_left = is_other || is_over || is_empty || reason != REASONS || !is_there;
    CHECK(!is_bad || is_empty); /* the survey has read it */
    if (is_left) { file->in.at = in.at; }
    return is_left;
}

static enum target_state write_key(struct import_write *write)
{
    const char *end;
    write->key_is_in = !is_left_out(write);
    if (!write->key_is_in) { return TARGET_GOOD; }
    enum target_state state = target_select(write->target, write->file.db, write->mark);
    if (state != TARGET_GOOD) { return state; }
    bool is_whole = is_small(&write->file, &end);
    state = is_whole ? write_whole(write, end) : import_parts_write(write);
    write->keys++;
    return state;
}

/* Where the file is: the beginning of a key, or of what is before it. */
static struct import_mark mark_here(const struct import_write *write)
{
    return (struct import_mark){rdb_file_at(&write->file), write->keys, write->file.db};
}

/* Until the end, or until the target is not good. */
static enum target_state write_on(struct import_write *write)
{
    for (;;) {
        write->mark = mark_here(write);
        enum rdb_step step = rdb_file_next(&write->file);
        CHECK(step != RDB_STEP_BAD); /* the survey has read it */
        if (step == RDB_STEP_END) { return target_drain(write->target); }
        enum target_state state = TARGET_GOOD;
        if (step == RDB_STEP_KEY) {
            state = write_key(write);
        } else if (step == RDB_STEP_NOTE && write->on_note != NULL) {
            state = write->on_note(write->arg, write);
        }
        if (state != TARGET_GOOD) { return state; }
    }
}

enum target_state import_write_all(struct import_write *write)
{
    struct import_target *target = write->target;
    enum target_state state;
    while ((state = write_on(write)) == TARGET_LOST) {
        struct import_mark from = target->lost_at.at != UINT64_MAX ? target->lost_at : write->mark;
        write->file.in.at = write->file.bytes.data + from.at;
        write->file.in.why = NULL;
        write->file.db = from.db;
        write->key_is_in = true;
        write->keys = from.number;
        if (!target_connect(target)) { break; }
    }
    return target->state;
}
