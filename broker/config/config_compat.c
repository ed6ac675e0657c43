/* config_compat: settings of Redis that have one answer here. Clients and applications ask for them
 * with CONFIG GET, and some set them to the value they already have. */
#include "config/config_int.h"

#include <inttypes.h>

/* The hosts of listen's plain addresses, as Redis's bind shows them. */
static void bind_print(const struct settings *settings, struct buf *out)
{
    struct slice rest = buf_slice(&settings->value[CONFIG_listen].text);
    struct slice item, host;
    bool is_optional;
    uint16_t port;
    const char *between = "";
    while (config_list_next(&rest, &item, &is_optional)) {
        if (address_split(item, &host, &port)) {
            buf_appendf(out, "%s%s%.*s", between, is_optional ? "-" : "", SLICE_ARG(host));
            between = " ";
        }
    }
}

/* The port of the first plain TCP address; 0 if there is none. */
static void port_print(const struct settings *settings, struct buf *out)
{
    struct slice rest = buf_slice(&settings->value[CONFIG_listen].text);
    struct slice item, host;
    bool is_optional;
    uint16_t port = 0;
    while (config_list_next(&rest, &item, &is_optional) && !address_split(item, &host, &port)) {}
    buf_append_uint(out, port);
}

/* The path of the first unix socket. */
static void unix_socket_print(const struct settings *settings, struct buf *out)
{
    struct slice rest = buf_slice(&settings->value[CONFIG_listen].text);
    struct slice item;
    bool is_optional;
    while (config_list_next(&rest, &item, &is_optional)) {
        if (slice_starts_with(item, SLICE("unix:"))) {
            buf_append(out, slice_of(item.data + strlen("unix:"), item.len - strlen("unix:")));
            return;
        }
    }
}

const struct compat_row compat_rows[] = {
    {"bind", NULL, bind_print},
    {"port", NULL, port_print},
    {"unixsocket", NULL, unix_socket_print},
    {"appendfsync", "always", NULL},
    {"appendonly", "yes", NULL},
    {"cluster-enabled", "yes", NULL},
    {"daemonize", "no", NULL},
    {"databases", "16", NULL},
    {"hash-max-listpack-entries", "128", NULL}, /* what OBJECT ENCODING goes by */
    {"hash-max-listpack-value", "64", NULL},
    {"hash-max-ziplist-entries", "128", NULL},
    {"hash-max-ziplist-value", "64", NULL},
    {"latency-monitor-threshold", "0", NULL},
    {"lazyfree-lazy-user-flush", "no", NULL},
    {"list-compress-depth", "0", NULL},
    {"list-max-listpack-size", "-2", NULL},
    {"list-max-ziplist-size", "-2", NULL},
    {"logfile", "", NULL},
    {"masterauth", "", NULL},
    {"maxmemory", "0", NULL},
    {"maxmemory-policy", "noeviction", NULL},
    {"pidfile", "", NULL},
    {"replica-read-only", "yes", NULL},
    {"replicaof", "", NULL},
    {"save", "", NULL},
    {"set-max-intset-entries", "512", NULL},
    {"set-max-listpack-entries", "128", NULL},
    {"set-max-listpack-value", "64", NULL},
    {"slave-read-only", "yes", NULL},
    {"slaveof", "", NULL},
    {"zset-max-listpack-entries", "128", NULL},
    {"zset-max-listpack-value", "64", NULL},
    {"zset-max-ziplist-entries", "128", NULL},
    {"zset-max-ziplist-value", "64", NULL},
};
const uint32_t compat_row_count = COUNT_OF(compat_rows);

const struct compat_row *compat_find(struct slice name)
{
    for (uint32_t i = 0; i < compat_row_count; i++) {
        if (slice_equal_nocase(name, slice_of_str(compat_rows[i].name))) { return &compat_rows[i]; }
    }
    return NULL;
}

void compat_print(const struct compat_row *row, const struct settings *settings, struct buf *out)
{
    if (row->print != NULL) {
        row->print(settings, out);
    } else {
        buf_append_str(out, row->value);
    }
}
