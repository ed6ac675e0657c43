/* wal_check: tells an operator what a node's log holds, without touching it.
 * Owns: nothing. Thread: any; blocks. Always: it reads with the very code that a starting node
 * reads with. */
#include "consensus/log/wal_check.h"

#include <inttypes.h>

#include "consensus/disk/disk_uv.h"
#include "consensus/log/wal.h"

static void on_group(void *arg, uint64_t group, const struct wal_log *log)
{
    const struct manifest *snapshot = wal_log_snapshot(log);
    fprintf(arg,
            "group=%" PRIu64 " replica=%" PRIu64 " term=%" PRIu64 " vote=%" PRIu64 " first=%" PRIu64
            " last=%" PRIu64 " bytes=%" PRIu64,
            group, wal_log_self(log), wal_log_ballot(log).term, wal_log_ballot(log).vote,
            wal_log_first_index(log), wal_log_last_index(log), wal_log_live_bytes(log));
    if (snapshot != NULL) {
        fprintf(arg,
                " snapshot_index=%" PRIu64 " snapshot_term=%" PRIu64 " snapshot_bytes=%" PRIu64,
                snapshot->index, snapshot->term, snapshot->bytes);
    }
    if (snapshot != NULL && snapshot->file != 0) {
        fprintf(arg, " snapshot_file=snap-%" PRIu64, snapshot->file);
    }
    fprintf(arg, "\n");
}

int wal_check_print(const char *dir, FILE *out)
{
    struct disk_uv disk;
    struct wal_report report;
    if (disk_uv_init(&disk, NULL, dir) != ERR_OK) { return 2; }
    enum err err = wal_check(&disk.disk, &report, on_group, out);
    disk_uv_fini(&disk);
    fprintf(out,
            "segments=%" PRIu64 " records=%" PRIu64 " entries=%" PRIu64 " groups=%" PRIu64
            " torn_bytes=%" PRIu64 " state=%s\n",
            report.segment_count, report.record_count, report.entry_count, report.group_count,
            report.torn_bytes, err == ERR_OK ? "whole" : err_word(err));
    if (err == ERR_CORRUPT) {
        fprintf(out, "damage: %s; this replica must be rebuilt from its peers\n", report.damage);
        return 1;
    }
    return err == ERR_OK ? 0 : 2;
}
