/* calls: see the header. */
#include "partition/calls.h"

#include "base/metrics.h"
#include "base/slot.h"

static bool is_sharded(const struct partitions *all, uint16_t db)
{
    return db < 64 && (all->opts.sharded_databases >> db & 1) != 0;
}

static bool arity_fits(const struct data_command *command, uint32_t argc)
{
    return command->arity >= 0 ? argc == (uint32_t)command->arity
                               : argc >= (uint32_t)-command->arity;
}

static void run_handler(const struct call_place *place, const struct data_command *command,
                        struct data_call *run)
{
    if (LIKELY(!data_runs_scripts(command)) || place->scripting == NULL) {
        command->handler(run);
        return;
    }
    atomic_uint *running = &place->all->scripts_running;
    atomic_fetch_add_explicit(running, 1, memory_order_relaxed);
    command->handler(run);
    atomic_fetch_sub_explicit(running, 1, memory_order_relaxed);
    data_publishes_seal(place->scripting, run->reply->out);
}

bool call_run(const struct call_place *place, const struct partition_call *call, struct buf *out)
{
    const struct data_command *command = data_command_find(call->argv[0]);
    struct reply reply = {.out = out, .version = place->resp_version == 3 ? 3 : 2};
    if (command == NULL) {
        reply_errorf(&reply, "ERR unknown command '%.*s'", (int)(call->argv[0].len % 128),
                     call->argv[0].data);
        return true;
    }
    if (!arity_fits(command, call->argc)) {
        reply_errorf(&reply, "ERR wrong number of arguments for '%s' command", command->name);
        return true;
    }
    struct data_call run = {
        .argc = call->argc,
        .argv = call->argv,
        .db = call->db,
        .is_sharded = is_sharded(place->all, call->db),
        .may_park = place->may_park,
        .txn = place->txn,
        .reply = &reply,
        .listener = place->listener,
        .scripting = place->scripting,
    };
    run_handler(place, command, &run);
    if (place->tally != NULL && command->access == DATA_READ) {
        place->tally->hits += run.hits;
        place->tally->misses += run.misses;
    }
    return !run.is_parked;
}

void call_count_keys(const struct call_tally *tally)
{
    metric_add(METRIC_redis_keyspace_hits_total, tally->hits);
    metric_add(METRIC_redis_keyspace_misses_total, tally->misses);
}

bool call_object(const struct call_place *place, uint16_t db, struct slice key,
                 struct store_object *out)
{
    const struct store_ref ref = {db, is_sharded(place->all, db) ? slot_of(key) : 0, key};
    return store_key_find(place->txn, &ref, out);
}

uint64_t call_version(const struct call_place *place, const struct partition_check *check)
{
    struct store_object object;
    return call_object(place, check->db, check->key, &object) ? object.version : 0;
}
