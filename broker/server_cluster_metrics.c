/* server_cluster_metrics: the cluster on /metrics: this node's part in it, and one row per other member. */
#include <inttypes.h>
#include <stddef.h>

#include "admin/admin.h"
#include "base/mem.h"
#include "server_cluster.h"

static void print_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- the map ---- */

struct map_counts {
    uint64_t version, members, up, draining, voters, partitions, unowned;
};

static struct map_counts count_map(const struct pmap *map)
{
    struct map_counts counts = {.version = map->version, .partitions = map->partition_count};
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        counts.members += node->id != 0;
        counts.up += node->id != 0 && node->is_up;
        counts.draining += node->id != 0 && node->is_up && node->is_draining;
        counts.voters += node->id != 0 && node->is_voter;
    }
    for (uint32_t i = 0; i < map->partition_count; i++) {
        counts.unowned += map->partition[i].owner == PMAP_NOBODY;
    }
    return counts;
}

static void print_epochs(struct buf *out, const struct pmap *map, uint32_t self)
{
    for (uint32_t i = 0; i < map->partition_count; i++) {
        if (self != PMAP_NOBODY && map->partition[i].owner == self) {
            buf_appendf(out,
                        "fanfare_cluster_partition_epoch{partition=\"%" PRIu32 "\"} %" PRIu64 "\n",
                        i, map->partition[i].epoch);
        }
    }
}

/* `map` may be NULL: none yet. */
static void print_map(struct buf *out, const struct pmap *map, uint32_t self)
{
    struct map_counts counts = map != NULL ? count_map(map) : (struct map_counts){0};
    admin_print_gauge(out, "fanfare_cluster_map_version", "the map that this node follows",
                      counts.version);
    admin_print_gauge(out, "fanfare_cluster_members", "members, this node included",
                      counts.members);
    admin_print_gauge(out, "fanfare_cluster_members_up", "members that are up", counts.up);
    admin_print_gauge(out, "fanfare_cluster_members_draining",
                      "members that are up and hand over what they own", counts.draining);
    admin_print_gauge(out, "fanfare_cluster_voters", "members that vote in the control group",
                      counts.voters);
    admin_print_gauge(out, "fanfare_cluster_partitions", "partitions of the cluster",
                      counts.partitions);
    admin_print_gauge(out, "fanfare_cluster_partitions_unowned", "partitions that nobody owns",
                      counts.unowned);
    print_head(out, "fanfare_cluster_partition_epoch", "gauge",
               "epoch of each partition that this node owns");
    if (map != NULL) { print_epochs(out, map, self); }
}

/* ---- this node's part ---- */

static void print_own(struct buf *out, const struct cluster_status *status)
{
    const struct membership_status *m = &status->membership;
    uint64_t uncommitted = m->last > m->commit ? m->last - m->commit : 0;
    uint64_t unapplied = m->commit > m->applied ? m->commit - m->applied : 0;
    admin_print_gauge(out, "fanfare_raft_term", "term of the control group", m->term);
    admin_print_gauge(out, "fanfare_raft_commit_index", "last committed entry", m->commit);
    admin_print_gauge(out, "fanfare_raft_commit_lag", "entries in the log and not committed",
                      uncommitted);
    admin_print_gauge(out, "fanfare_raft_apply_lag", "entries committed and not applied",
                      unapplied);
    admin_print_gauge(out, "fanfare_raft_is_leader", "this node leads the control group",
                      m->is_leader);
    admin_print_gauge(out, "fanfare_raft_has_leader", "this node knows a leader",
                      m->leader[0] != '\0');
    admin_print_gauge(out, "fanfare_cluster_has_lease", "this node may order messages",
                      m->has_lease);
    admin_print_gauge(out, "fanfare_cluster_partitions_owned", "partitions of this node",
                      status->owned);
    admin_print_gauge(out, "fanfare_cluster_partitions_warming",
                      "partitions of this node that are not ready yet", status->warming);
    admin_print_gauge(out, "fanfare_partitions_unserved",
                      "partitions that this node cannot use for longer than cluster-timeout",
                      status->unserved);
    admin_print_gauge(out, "fanfare_partitions_unled",
                      "partitions of whose keys this node knows no leader that it can ask",
                      status->unled);
    admin_print_gauge(out, "fanfare_partitions_lost",
                      "partitions of whose keys no node has a replica any more", status->lost);
    admin_print_gauge(out, "fanfare_cluster_waiting_publishes",
                      "publishes that wait for an owner or for a full link",
                      status->waiting_publishes);
    print_head(out, "fanfare_cluster_warmup_seconds", "gauge",
               "how long the last partition took to get ready");
    buf_appendf(out, "fanfare_cluster_warmup_seconds %.6f\n", (double)status->last_warmup_us / 1e6);
}

/* ---- one row per other member ---- */

#define LINK(field) offsetof(struct cluster_link_status, field)

static const struct link_family {
    const char *name;
    const char *type;
    const char *help;
    size_t at; /* of a uint64_t */
} link_families[] = {
    {"fanfare_peer_queued_bytes", "gauge", "bytes queued for the node", LINK(queued_bytes)},
    {"fanfare_peer_sent_publishes_total", "counter", "publishes forwarded to the node as owner",
     LINK(sent_publishes)},
    {"fanfare_peer_sent_deliveries_total", "counter", "messages ordered here and sent to the node",
     LINK(sent_deliveries)},
    {"fanfare_peer_received_publishes_total", "counter", "publishes that the node forwarded here",
     LINK(received_publishes)},
    {"fanfare_peer_received_deliveries_total", "counter", "messages ordered there and sent here",
     LINK(received_deliveries)},
};

static uint64_t link_value(const struct cluster_link_status *link, size_t at)
{
    uint64_t value;
    memcpy(&value, (const char *)link + at, sizeof value);
    return value;
}

static void print_links(struct buf *out, const struct cluster_status *status)
{
    print_head(out, "fanfare_peer_up", "gauge", "the node is connected");
    for (uint32_t i = 0; i < status->link_count; i++) {
        buf_appendf(out, "fanfare_peer_up{peer=\"%s\"} %d\n", status->link[i].name,
                    status->link[i].is_up);
    }
    for (unsigned f = 0; f < COUNT_OF(link_families); f++) {
        const struct link_family *family = &link_families[f];
        print_head(out, family->name, family->type, family->help);
        for (uint32_t i = 0; i < status->link_count; i++) {
            buf_appendf(out, "%s{peer=\"%s\"} %" PRIu64 "\n", family->name, status->link[i].name,
                        link_value(&status->link[i], family->at));
        }
    }
}

void server_cluster_print_metrics(struct cluster *cluster, struct buf *out)
{
    struct cluster_status *status = mem_new0(sizeof *status);
    cluster_status(cluster, status);
    print_own(out, status);
    print_links(out, status);
    mem_free(status);
    uint32_t self;
    const struct pmap *map = cluster_map(cluster, &self);
    print_map(out, map, self);
    pmap_unref(map);
}
