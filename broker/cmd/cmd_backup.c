/* cmd_backup: BACKUP LAYOUT, BEGIN, READ, END: what `fanfare backup` reads; a partition's leader answers (partition/backup.h). */
#include "base/mem.h"
#include "base/slot.h"
#include "cmd/caller.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"

void cmd_backup_layout(struct call *call)
{
    const struct broker *broker = call->caller->broker;
    struct buf databases = {0};
    for (uint32_t db = 0; db < 64; db++) {
        if ((broker->sharded_databases >> db & 1) == 0) { continue; }
        if (databases.len > 0) { buf_append_str(&databases, ","); }
        buf_append_uint(&databases, db);
    }
    reply_map(call->reply, 4);
    reply_bulk_str(call->reply, "partitions");
    reply_int(call->reply, broker->partition_count);
    reply_bulk_str(call->reply, "sharded-databases");
    reply_bulk(call->reply, buf_slice(&databases));
    reply_bulk_str(call->reply, "node");
    reply_bulk_str(call->reply, broker->name);
    reply_bulk_str(call->reply, "version");
    reply_bulk_str(call->reply, FANFARE_VERSION);
    buf_fini(&databases);
}

static void finish(struct data_wait *wait, struct call *call)
{
    if (!data_wait_failed(wait, call->reply)) {
        buf_append(call->reply->out, buf_slice(&wait->part[0].request.reply));
    }
}

static void free_call(struct data_wait *wait)
{
    mem_free(wait->own);
}

void cmd_backup_part(struct call *call)
{
    static const struct data_wait_ops ops = {.finish = finish, .free = free_call};
    int64_t partition;
    bool is_good = slice_to_int64(call->argv[2], &partition) && partition >= 0 &&
                   partition < (int64_t)call->caller->broker->partition_count;
    if (!data_is_served(call)) { return; }
    if (!is_good) {
        reply_error(call->reply, "ERR there is no such partition");
        return;
    }
    struct data_wait *wait = data_wait_new(call, &ops, 1);
    struct partition_request *request = &wait->part[0].request;
    wait->own = data_call_copy(call->argv, call->argc, 0);
    request->ask = PARTITION_READ;
    request->partition = (uint32_t)partition;
    request->call = wait->own;
    request->call_count = 1;
    data_wait_begin(call, wait);
}
