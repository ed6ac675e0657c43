/* limits: from options. */
#include "session/limits.h"

#include "session/backlog.h"

enum { INLINE_BYTES_MAX = 64 << 10 }; /* as in Redis */

static uint64_t lowest_limit(const struct config_output_limit *limit, uint64_t bytes)
{
    if (limit->hard_bytes > 0 && limit->hard_bytes < bytes) { bytes = limit->hard_bytes; }
    if (limit->soft_bytes > 0 && limit->soft_bytes < bytes) { bytes = limit->soft_bytes; }
    return bytes;
}

void limits_refresh(struct sessions *sessions)
{
    const struct config *config = sessions->config;
    struct session_limits *limits = &sessions->limits;
    uint64_t version = config_version(config);
    if (LIKELY(version == limits->config_version)) { return; }
    limits->config_version = version;
    limits->resp = (struct resp_limits){
        .inline_bytes_max = INLINE_BYTES_MAX,
        .bulk_bytes_max = (size_t)config_number(config, CONFIG_proto_max_bulk_len),
        .args_count_max = INT32_MAX,
    };
    limits->query_bytes_max = (uint64_t)config_number(config, CONFIG_query_buffer_limit);
    limits->lag_bytes = BACKLOG_LAG_BYTES;
    for (enum config_client_class class = 0; class < CONFIG_CLIENT_CLASSES; class ++) {
        limits->output[class] = config_output_limit(config, class);
        limits->lag_bytes = lowest_limit(&limits->output[class], limits->lag_bytes);
    }
}
