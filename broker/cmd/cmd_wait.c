/* cmd_wait: WAIT and WAITAOF. A write is on the disks of a majority of its partition's replicas when it is answered, and
 * is counted by nobody later: so there is an answer at once, which no waiting would change. */
#include "cmd/caller.h"

/* Other nodes that certainly hold what this session has had acknowledged in its database. */
static uint32_t others_holding(const struct call *call)
{
    (void)call; /* a node alone has nobody else */
    return 0;
}

static bool arg_timeout_ms(struct call *call, uint32_t at)
{
    int64_t timeout_ms;
    if (!slice_to_int64(call->argv[at], &timeout_ms)) {
        reply_error(call->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(call->reply, "ERR timeout is negative");
    } else {
        return true;
    }
    return false;
}

static bool arg_count(struct call *call, uint32_t at)
{
    int64_t count;
    if (slice_to_int64(call->argv[at], &count)) { return true; }
    reply_error(call->reply, "ERR value is not an integer or out of range");
    return false;
}

void cmd_wait(struct call *call)
{
    if (arg_count(call, 1) && arg_timeout_ms(call, 2)) {
        reply_int(call->reply, others_holding(call));
    }
}

void cmd_waitaof(struct call *call)
{
    int64_t local;
    if (!arg_count(call, 1) || !arg_count(call, 2) || !arg_timeout_ms(call, 3)) { return; }
    if (slice_to_int64(call->argv[1], &local) && (local < 0 || local > 1)) {
        reply_error(call->reply, "ERR value is out of range, must be between 0 and 1");
        return;
    }
    reply_array(call->reply, 2);
    reply_int(call->reply, 1);
    reply_int(call->reply, others_holding(call));
}
