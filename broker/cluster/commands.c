/* commands: errands to this node's partitions. */
#include "cluster/commands.h"

#include "base/mem.h"
#include "cluster/errands.h"

struct commands {
    struct commands_opts opts;
    struct errands errands;
};

static uint64_t incarnation_of(void *arg)
{
    const struct commands *commands = arg;
    return commands->opts.incarnation;
}

static struct errand_place find(void *arg, uint32_t partition)
{
    const struct commands *commands = arg;
    uint64_t term = partition_leads(commands->opts.partitions, partition);
    return (struct errand_place){.where = term > 0 ? ERRAND_HERE : ERRAND_NOWHERE, .term = term};
}

static void ask_here(void *arg, struct partition_request *request)
{
    const struct commands *commands = arg;
    partition_ask(commands->opts.partitions, request);
}

static void unpark_here(void *arg, const struct partition_request *request)
{
    const struct commands *commands = arg;
    partition_unpark(commands->opts.partitions, request->partition, &request->origin);
}

static void on_lost(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition; /* it will be elected */
}

struct commands *commands_new(const struct commands_opts *opts)
{
    struct commands *commands = mem_new0(sizeof *commands);
    commands->opts = *opts;
    const struct errands_opts errands = {
        .worker = opts->worker,
        .mailbox = opts->mailbox,
        .timeout_ms = opts->timeout_ms,
        .node_id = opts->node_id,
        .incarnation = incarnation_of,
        .find = find,
        .ask_here = ask_here,
        .unpark_here = unpark_here,
        .on_lost = on_lost,
        .arg = commands,
    };
    errands_init(&commands->errands, &errands);
    return commands;
}

void commands_free(struct commands *commands)
{
    if (commands == NULL) { return; }
    errands_fini(&commands->errands);
    mem_free(commands);
}

void commands_ask(struct commands *commands, struct partition_request *request)
{
    errands_ask(&commands->errands, request);
}

bool commands_read(struct commands *commands, struct partition_request *request)
{
    const struct commands_opts *opts = &commands->opts;
    return partition_read(opts->partitions, opts->worker, request);
}

void commands_unpark(struct commands *commands, struct partition_request *request)
{
    errands_unpark(&commands->errands, request);
}

bool commands_are_congested(const struct commands *commands)
{
    const struct errands *errands = &commands->errands;
    return errands->waiting_count > COMMANDS_IN_FLIGHT_MAX || errands->bytes > COMMANDS_BYTES_MAX;
}

void commands_tick(struct commands *commands)
{
    errands_tick(&commands->errands);
}

void commands_stop(struct commands *commands)
{
    errands_stop(&commands->errands);
}
