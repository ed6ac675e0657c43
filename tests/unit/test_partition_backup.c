/* Tests of reading a partition for a backup (partition/backup.h). */
#include "base/crc32c.h"
#include "base/metrics.h"
#include "partition/backup.h"
#include "partition_rig.h"
#include "rdb/rdb_file.h"

enum { HEAD_BYTES = 64, LARGE = 120 };

static struct rig rig;

static struct rig_node *start(void)
{
    metrics_thread_init();
    rig_init(&rig, 1, 1);
    rig_start(&rig.node[0]);
    rig_create(&rig.node[0]);
    rig_until_leads(&rig.node[0], 0);
    return &rig.node[0];
}

/* Begin. Gives: its id. */
static void begin(struct rig_node *node, char id[17])
{
    const char *reply = rig_read(node, "backup begin 0");
    cr_assert_eq(strncmp(reply, "*4\r\n$16\r\n", 9), 0, "%s", reply);
    snprintf(id, 17, "%.16s", reply + 9);
}

/* One READ. Gives: whether that was the end; the bytes are behind what is in `out`. */
static bool read_at(struct rig_node *node, const char *id, uint64_t at, uint32_t bytes,
                    struct buf *out)
{
    char text[96];
    char head[HEAD_BYTES + 1];
    struct rig_ask ask;
    unsigned is_end;
    unsigned crc;
    unsigned len;
    snprintf(text, sizeof text, "backup read 0 %s %lu %u", id, at, bytes);
    rig_begin(node->rig, &ask, PARTITION_READ, 0);
    rig_call(&ask, 0, text);
    rig_ask(node, &ask);
    rig_wait(node->rig, &ask);
    cr_assert_eq(ask.request.err, ERR_OK);
    const struct buf *reply = &ask.request.reply;
    size_t copied = reply->len < HEAD_BYTES ? reply->len : HEAD_BYTES;
    memcpy(head, reply->data, copied);
    head[copied] = 0;
    cr_assert_eq(sscanf(head, "*3\r\n:%u\r\n:%u\r\n$%u", &is_end, &crc, &len), 3, "%s", head);
    const char *from = strchr(head, '$');
    from = strchr(from, '\n') + 1;
    struct slice part = slice_of(reply->data + (from - head), len);
    cr_assert_eq(reply->len, (size_t)(from - head) + len + 2);
    cr_assert_leq(len, bytes);
    cr_assert_eq(crc32c(0, part.data, part.len), crc);
    buf_append(out, part);
    rig_free(&ask);
    return is_end == 1;
}

static void read_all(struct rig_node *node, const char *id, uint32_t bytes, struct buf *out)
{
    bool is_end = false;
    while (!is_end) {
        is_end = read_at(node, id, out->len, bytes, out);
    }
}

struct seen {
    uint64_t keys;
    uint64_t elements;
    uint64_t entries;
    uint64_t text_bytes;
    bool is_new; /* what was written later */
    uint64_t index;
};

static bool on_event(void *arg, const struct rdb_event *event)
{
    struct seen *seen = arg;
    seen->elements += event->kind == RDB_ELEMENT || event->kind == RDB_FIELD;
    seen->entries += event->kind == RDB_ENTRY;
    if (event->kind == RDB_TEXT) {
        seen->text_bytes += event->value.len;
        seen->is_new = seen->is_new || slice_equal(event->value, SLICE("later"));
    }
    return true;
}

static struct seen look(struct slice bytes)
{
    struct rdb_file file;
    struct seen seen = {.keys = 0};
    const struct rdb_sink sink = {on_event, &seen};
    cr_assert(rdb_file_begin(&file, bytes, true));
    for (enum rdb_step step; (step = rdb_file_next(&file)) != RDB_STEP_END;) {
        cr_assert_neq(step, RDB_STEP_BAD, "at %lu: %s", rdb_file_at(&file), file.in.why);
        int64_t number;
        if (step == RDB_STEP_NOTE && slice_equal(file.key, SLICE("fanfare-index")) &&
            slice_to_int64(file.value, &number)) {
            seen.index = (uint64_t)number;
        }
        if (step != RDB_STEP_KEY) { continue; }
        seen.keys++;
        cr_assert(rdb_value_read(&file.in, file.type, &sink), "%s", file.in.why);
    }
    cr_assert_eq(rdb_left(&file.in), 0);
    rdb_file_end(&file);
    return seen;
}

/* More than is held ready for a reader. */
static void fill(struct rig_node *node)
{
    char text[64];
    for (unsigned i = 0; i < LARGE; i++) {
        snprintf(text, sizeof text, "setrange large%u 65535 x", i);
        cr_assert_str_eq(rig_write(node, text), ":65536\r\n");
    }
}

Test(partition_backup, all_that_was_acknowledged_before_it_began_is_there_and_nothing_later)
{
    struct rig_node *node = start();
    struct buf out = {0};
    char id[17];
    fill(node);
    cr_assert_str_eq(rig_write(node, "rpush list a b c"), ":3\r\n");
    cr_assert_str_eq(rig_write(node, "hset hash f v g w"), ":2\r\n");
    for (unsigned i = 1; i <= 300; i++) {
        char text[64];
        snprintf(text, sizeof text, "xadd stream %u-1 field value", i);
        (void)rig_write(node, text);
    }
    cr_assert_str_eq(rig_write(node, "set key sooner"), "+OK\r\n");
    begin(node, id);
    cr_assert_str_eq(rig_write(node, "set key later"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "set other later"), "+OK\r\n");
    read_all(node, id, 100000, &out);
    struct seen seen = look(buf_slice(&out));
    cr_assert_eq(seen.keys, LARGE + 4);
    cr_assert_eq(seen.elements, 5);
    cr_assert_eq(seen.entries, 300);
    cr_assert_eq(seen.text_bytes, LARGE * 65536 + 6);
    cr_assert_not(seen.is_new);
    cr_assert_gt(seen.index, 0);
    char text[64];
    char expected[64];
    snprintf(text, sizeof text, "backup end 0 %s", id);
    snprintf(expected, sizeof expected, "*2\r\n:%u\r\n:%lu\r\n", LARGE + 4, out.len);
    cr_assert_str_eq(rig_read(node, text), expected);
    buf_fini(&out);
    rig_fini(&rig);
}

Test(partition_backup, what_was_read_last_can_be_asked_for_again_and_nothing_else)
{
    struct rig_node *node = start();
    struct buf out = {0};
    struct buf again = {0};
    char id[17];
    char text[96];
    fill(node);
    begin(node, id);
    (void)read_at(node, id, 0, 5000, &out);
    (void)read_at(node, id, 5000, 5000, &out);
    (void)read_at(node, id, 5000, 5000, &again);
    cr_assert(slice_equal(buf_slice(&again), slice_of(out.data + 5000, out.len - 5000)));
    snprintf(text, sizeof text, "backup read 0 %s 0 5000", id);
    cr_assert_str_eq(rig_read(node, text), "-ERR the offset is none that can be read next\r\n");
    read_all(node, id, 1 << 20, &out);
    cr_assert_eq(look(buf_slice(&out)).keys, LARGE);
    buf_fini(&out);
    buf_fini(&again);
    rig_fini(&rig);
}

Test(partition_backup, who_does_not_read_on_is_cut_off)
{
    rig.backup_idle_ms = 20;
    struct rig_node *node = start();
    char id[17];
    char text[64];
    fill(node);
    begin(node, id);
    RIG_UNTIL(&rig, metric_sum(METRIC_partition_backups_failed_total) == 1);
    snprintf(text, sizeof text, "backup read 0 %s 0 10", id);
    cr_assert_str_eq(rig_read(node, text), "-ERR no such backup here: it was ended, or another "
                                           "node leads the partition now\r\n");
    rig_fini(&rig);
}

Test(partition_backup, who_reads_so_slowly_that_the_file_grows_is_cut_off)
{
    rig.backup_growth_bytes = 1 << 20;
    struct rig_node *node = start();
    char id[17];
    fill(node);
    begin(node, id);
    RIG_UNTIL(&rig, (fill(node), metric_sum(METRIC_partition_backups_failed_total) == 1));
    rig_fini(&rig);
}

Test(partition_backup, so_many_at_a_time_and_no_more)
{
    struct rig_node *node = start();
    char id[17];
    char text[64];
    for (unsigned i = 0; i < BACKUPS_MAX; i++) {
        begin(node, id);
    }
    cr_assert_str_eq(rig_read(node, "backup begin 0"),
                     "-ERR too many backups are under way on the partition's node\r\n");
    snprintf(text, sizeof text, "backup end 0 %s", id);
    cr_assert_eq(*rig_read(node, text), '*');
    RIG_UNTIL(&rig, *rig_read(node, "backup begin 0") == '*');
    rig_fini(&rig); /* with those under way */
}
