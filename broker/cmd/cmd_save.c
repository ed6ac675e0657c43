/* cmd_save: SAVE, BGSAVE, LASTSAVE. A write is on the disks of a majority before it is answered, so there is nothing to be saved;
 * what SAVE adds is that those are asked: all partitions are led by nodes that a majority follows. */
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/caller.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"

static void finish(struct data_wait *wait, struct call *call)
{
    if (!data_wait_failed(wait, call->reply)) { reply_ok(call->reply); }
}

static void free_call(struct data_wait *wait)
{
    mem_free(wait->own);
}

void cmd_save(struct call *call)
{
    static const struct data_wait_ops ops = {.finish = finish, .free = free_call};
    static const struct slice read[] = {
        {"dbsize", 6}}; /* any that sees all that was acknowledged */
    uint32_t count = call->caller->broker->partition_count;
    if (!data_is_served(call)) { return; }
    struct data_wait *wait = data_wait_new(call, &ops, count);
    wait->own = data_call_copy(read, COUNT_OF(read), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct partition_request *request = &wait->part[i].request;
        request->ask = PARTITION_READ;
        request->partition = i;
        request->call = wait->own;
        request->call_count = 1;
    }
    data_wait_begin(call, wait);
}

void cmd_bgsave(struct call *call)
{
    bool is_good = call->argc == 1 ||
                   (call->argc == 2 && slice_equal_nocase(call->argv[1], SLICE("schedule")));
    if (!is_good) {
        reply_error(call->reply, "ERR syntax error");
    } else if (data_is_served(call)) {
        reply_status(call->reply, "Background saving started");
    }
}

/* It has ended by the time at which somebody asks. */
void cmd_lastsave(struct call *call)
{
    reply_int(call->reply, (int64_t)(clock_wall_us() / 1000000));
}
