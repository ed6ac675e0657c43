/* restore_notes: see the header. */
#include "backup/restore_notes.h"

#include <endian.h>

#include "rdb/rdb_in.h"

enum { ID_BYTES = 16 };

/* What it is about may be past its deadline by now. */
static enum target_state send_now(struct restore_notes *notes, struct import_write *write)
{
    return target_send(write->target, &notes->command, write->mark, TARGET_MAY_REFUSE);
}

static enum target_state script(struct restore_notes *notes, struct import_write *write)
{
    import_command_begin(&notes->command, "SCRIPT");
    import_command_str(&notes->command, "LOAD");
    import_command_word(&notes->command, write->file.value);
    notes->scripts++;
    return target_send(write->target, &notes->command, write->mark, 0);
}

/* In the database of the key that it is about. */
static enum target_state begin(struct restore_notes *notes, struct import_write *write,
                               const char *name)
{
    enum target_state state = target_select(write->target, write->file.db, write->mark);
    import_command_begin(&notes->command, name);
    return state;
}

static enum target_state idmp(struct restore_notes *notes, struct import_write *write)
{
    struct rdb_in in = rdb_in_of(write->file.value);
    struct slice key;
    uint64_t duration_s;
    uint64_t maxsize;
    if (!rdb_take_text(&in, &notes->text[0], &key) || !rdb_take_length(&in, &duration_s) ||
        !rdb_take_length(&in, &maxsize)) {
        return TARGET_GOOD;
    }
    enum target_state state = begin(notes, write, "XCFGSET");
    import_command_word(&notes->command, key);
    import_command_str(&notes->command, "IDMP-DURATION");
    import_command_number(&notes->command, duration_s);
    import_command_str(&notes->command, "IDMP-MAXSIZE");
    import_command_number(&notes->command, maxsize);
    return state == TARGET_GOOD ? send_now(notes, write) : state;
}

/* The consumer that held them for the file's sake goes. */
static enum target_state consumer_goes(struct restore_notes *notes, struct import_write *write,
                                       struct slice key, struct slice group)
{
    import_command_begin(&notes->command, "XGROUP");
    import_command_str(&notes->command, "DELCONSUMER");
    import_command_word(&notes->command, key);
    import_command_word(&notes->command, group);
    import_command_str(&notes->command, "fanfare:released");
    return send_now(notes, write);
}

static enum target_state released(struct restore_notes *notes, struct import_write *write)
{
    struct rdb_in in = rdb_in_of(write->file.value);
    uint8_t is_made_up;
    struct slice key;
    struct slice group;
    struct slice id;
    if (!rdb_take_u8(&in, &is_made_up) || !rdb_take_text(&in, &notes->text[0], &key) ||
        !rdb_take_text(&in, &notes->text[1], &group) || rdb_left(&in) < ID_BYTES) {
        return TARGET_GOOD;
    }
    enum target_state state = begin(notes, write, "XNACK");
    import_command_word(&notes->command, key);
    import_command_word(&notes->command, group);
    import_command_str(&notes->command, "FAIL"); /* how often they were delivered stays */
    import_command_str(&notes->command, "IDS");
    import_command_number(&notes->command, rdb_left(&in) / ID_BYTES);
    while (rdb_take(&in, ID_BYTES, &id)) {
        uint64_t word[2];
        memcpy(word, id.data, sizeof word);
        import_command_id(&notes->command, be64toh(word[0]), be64toh(word[1]));
    }
    if (state == TARGET_GOOD) { state = send_now(notes, write); }
    return state == TARGET_GOOD && is_made_up != 0 ? consumer_goes(notes, write, key, group)
                                                   : state;
}

enum target_state restore_note(void *arg, struct import_write *write)
{
    struct restore_notes *notes = arg;
    struct slice name = write->file.key;
    if (slice_equal(name, SLICE("fanfare-script"))) { return script(notes, write); }
    if (!write->key_is_in) { return TARGET_GOOD; }
    if (slice_equal(name, SLICE("fanfare-idmp"))) { return idmp(notes, write); }
    if (slice_equal(name, SLICE("fanfare-released"))) { return released(notes, write); }
    return TARGET_GOOD;
}

void restore_notes_fini(struct restore_notes *notes)
{
    buf_fini(&notes->command.words);
    buf_fini(&notes->text[0]);
    buf_fini(&notes->text[1]);
}
