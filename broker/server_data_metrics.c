/* server_data_metrics: the keys on /metrics: how many, how much they take, how far their replicas on this node are.
 * What happens to them is counted where it happens (base/metrics.def). */
#include <inttypes.h>

#include "admin/admin.h"
#include "cmd/data_sum.h"
#include "server_data.h"

static void print_databases(struct buf *out, const char *name, const char *help,
                            const uint64_t count[DATA_SUM_DATABASES])
{
    buf_appendf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
    for (unsigned db = 0; db < DATA_SUM_DATABASES; db++) {
        if (db == 0 || count[db] > 0) {
            buf_appendf(out, "%s{db=\"db%u\"} %" PRIu64 "\n", name, db, count[db]);
        }
    }
}

static void print_stores(struct buf *out, const struct data_sum *sum, uint64_t map_bytes)
{
    admin_print_gauge(out, "fanfare_store_used_bytes", "what the keys of this node's replicas take",
                      sum->used_bytes);
    admin_print_gauge(out, "fanfare_store_used_bytes_max", "that of the largest replica",
                      sum->used_bytes_max);
    admin_print_gauge(out, "fanfare_store_file_bytes",
                      "the files of the stores, with room that is free inside", sum->file_bytes);
    admin_print_gauge(out, "fanfare_store_map_bytes",
                      "the option store-map-bytes: the most for one replica", map_bytes);
    admin_print_gauge(out, "fanfare_store_reader_lag_max",
                      "transactions that the oldest reader of a store is behind; it keeps their "
                      "pages from being used again",
                      sum->reader_lag_max);
}

static void print_replicas(struct buf *out, const struct data_sum *sum)
{
    admin_print_gauge(out, "fanfare_replicas", "replicas of partitions that are open here",
                      sum->open);
    admin_print_gauge(out, "fanfare_replicas_damaged",
                      "replicas here that differ from the others or are corrupt, until they are "
                      "made anew",
                      sum->damaged);
    admin_print_gauge(out, "fanfare_partition_apply_lag_max",
                      "entries committed and not applied, of the replica that is furthest behind",
                      sum->apply_lag_max);
    admin_print_gauge(out, "fanfare_partition_apply_lag", "the same of all replicas together",
                      sum->apply_lag);
    admin_print_gauge(out, "fanfare_partition_proposed_bytes",
                      "bytes of writes at this node's partitions on their way to being applied",
                      sum->proposed_bytes);
}

void server_data_print_metrics(const struct broker *broker, struct partitions *partitions,
                               struct config *config, struct buf *out)
{
    struct data_sum sum;
    data_sum(&sum, partitions, broker->partition_count);
    print_databases(out, "redis_db_keys", "keys in the replicas on this node", sum.keys);
    print_databases(out, "redis_db_keys_expiring", "of these, those with a time to live",
                    sum.expiring);
    admin_print_gauge(
        out, "fanfare_keys_led",
        "keys of the partitions that this node leads: their sum over all nodes counts "
        "each key once",
        sum.keys_led);
    print_replicas(out, &sum);
    print_stores(out, &sum, (uint64_t)config_number(config, CONFIG_store_map_bytes));
}
