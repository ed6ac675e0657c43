/* cmd_latency: LATENCY: the histograms of commands; single events are not recorded. */
#include <string.h>

#include "base/mem.h"
#include "cmd/ask_workers.h"
#include "cmd/caller.h"
#include "cmd/cmd_command_int.h"
#include "cmd/latency.h"

/* ---- HISTOGRAM ---- */

struct question {
    struct latency sum;
    bool is_asked[COMMAND_COUNT];
};

static void visit(void *arg, struct service *service)
{
    struct question *question = arg;
    latency_sum(&question->sum, &service->latency);
}

static uint64_t calls_of(const struct question *question, uint32_t id)
{
    uint64_t calls = 0;
    for (uint32_t bucket = 0; question->is_asked[id] && bucket < LATENCY_BUCKETS; bucket++) {
        calls += question->sum.calls[id][bucket];
    }
    return calls;
}

/* As in Redis: where each bucket that has calls ends, and how many calls took so long or less. */
static void write_histogram(struct reply *reply, const uint64_t *calls)
{
    uint32_t used = 0;
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        used += calls[bucket] > 0;
    }
    reply_map(reply, used);
    uint64_t sum = 0;
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        if (calls[bucket] == 0) { continue; }
        sum += calls[bucket];
        reply_int(reply, (int64_t)latency_bucket_us(bucket));
        reply_int(reply, (int64_t)sum);
    }
}

static void finish(void *arg, struct call *call)
{
    const struct question *question = arg;
    size_t count = 0;
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        count += calls_of(question, id) > 0;
    }
    reply_map(call->reply, count);
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        uint64_t calls = calls_of(question, id);
        if (calls == 0) { continue; }
        reply_bulk_str(call->reply, command_full_names[id]);
        reply_map(call->reply, 2);
        reply_bulk_str(call->reply, "calls");
        reply_int(call->reply, (int64_t)calls);
        reply_bulk_str(call->reply, "histogram_usec");
        write_histogram(call->reply, question->sum.calls[id]);
    }
}

/* A container stands for its subcommands; what is no command is passed over. */
static void select_command(struct question *question, const struct command *command)
{
    if (command == NULL) { return; }
    uint32_t id = command_id(command);
    memset(question->is_asked + id, true, 1 + command_subcommand_count(command));
}

void cmd_latency_histogram(struct call *call)
{
    static const struct ask_ops ops = {visit, finish, mem_free};
    struct question *question = mem_new0(sizeof *question);
    if (call->argc == 2) { memset(question->is_asked, true, sizeof question->is_asked); }
    for (uint32_t i = 2; i < call->argc; i++) {
        select_command(question, command_find_full(call->caller->broker->commands, call->argv[i]));
    }
    ask_workers(call, &ops, question);
}

/* ---- single events ---- */

void cmd_latency_latest(struct call *call)
{
    reply_array(call->reply, 0);
}

void cmd_latency_history(struct call *call)
{
    reply_array(call->reply, 0);
}

void cmd_latency_reset(struct call *call)
{
    reply_int(call->reply, 0);
}

void cmd_latency_graph(struct call *call)
{
    reply_errorf(call->reply, "ERR No samples available for event '%.*s'",
                 (int)(call->argv[2].len < 128 ? call->argv[2].len : 128), call->argv[2].data);
}

void cmd_latency_doctor(struct call *call)
{
    reply_verbatim(call->reply,
                   SLICE("Single events are not recorded here. SLOWLOG GET lists slow commands, "
                         "LATENCY HISTOGRAM tells\nhow long each command takes, and the histogram "
                         "fanfare_loop_turn_seconds of the metrics page\nhow long clients wait for "
                         "a worker.\n"));
}
