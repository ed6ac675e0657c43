/* cmd_memory: MEMORY DOCTOR, MALLOC-STATS, PURGE, STATS: what is known without counting
 * every allocation. */
#include "base/heap.h"
#include "base/metrics.h"
#include "base/process_stat.h"
#include "cmd/caller.h"
#include "cmd/data_sum.h"

void cmd_memory_stats(struct call *call)
{
    struct process_memory memory = process_memory();
    struct broker *broker = call->caller->broker;
    uint64_t clients = atomic_load(&broker->client_count);
    struct data_sum sum;
    data_sum(&sum, broker_partitions(broker), broker->partition_count);
    uint64_t keys = data_sum_keys(&sum);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"peak.allocated", broker_peak_memory(broker, memory.used_bytes)},
        {"total.allocated", memory.used_bytes},
        {"clients.count", clients},
        {"clients.normal", metric_sum(METRIC_backlog_bytes)},
        {"keys.count", keys},
        {"keys.bytes-per-key", keys > 0 ? sum.used_bytes / keys : 0}, /* on disk */
        {"dataset.bytes", sum.used_bytes},
        {"allocator.resident", memory.resident_bytes},
    };
    reply_map(call->reply, COUNT_OF(rows));
    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        reply_bulk_str(call->reply, rows[i].name);
        reply_int(call->reply, (int64_t)rows[i].value);
    }
}

void cmd_memory_doctor(struct call *call)
{
    struct process_memory memory = process_memory();
    struct buf text = {0};
    buf_appendf(
        &text,
        "Keys are on disk: the memory is that of clients, of what waits to be sent to them, and of "
        "the log.\n"
        "Used now: %llu bytes, of which %llu wait for clients that do not read fast enough.\n"
        "The option output-buffer-limit bounds what may wait.\n",
        (unsigned long long)memory.used_bytes,
        (unsigned long long)metric_sum(METRIC_backlog_bytes));
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
}

void cmd_memory_malloc_stats(struct call *call)
{
    struct buf text = {0};
    heap_report(&text);
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
}

void cmd_memory_purge(struct call *call)
{
    heap_purge();
    reply_ok(call->reply);
}
