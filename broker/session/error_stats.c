/* error_stats: the codes and their counters. */
#include "session/error_stats.h"

#include "base/metrics.h"

const char *const error_code_words[ERROR_CODES] = {
    "ERR",    "EXECABORT",   "NOAUTH",  "NOPROTO", "WRONGPASS",
    "DENIED", "CLUSTERDOWN", "INDOUBT", "OTHER",
};

void error_stats_begin(void)
{
    metrics_family_labels(METRIC_FAMILY_redis_errors_total, error_code_words, ERROR_CODES);
}

void error_stats_add(struct slice reply, uint32_t count)
{
    uint32_t code = 0;
    for (; code < ERROR_CODES - 1; code++) {
        struct slice word = slice_of_str(error_code_words[code]);
        bool begins = reply.len > word.len + 1 && memcmp(reply.data + 1, word.data, word.len) == 0;
        if (begins && reply.data[word.len + 1] == ' ') { break; }
    }
    metric_add(METRIC_redis_total_error_replies, count);
    metric_family_add(METRIC_FAMILY_redis_errors_total, code, count);
}

uint64_t error_stats_count(uint32_t code)
{
    return metric_family_sum(METRIC_FAMILY_redis_errors_total, code);
}
