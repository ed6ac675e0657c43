/* cmd_cluster_text: the cluster as text: CLUSTER INFO, NODES and PARTITIONS, and the section of INFO. */
#include "cmd/cmd_cluster_text.h"

#include <inttypes.h>

#include "acl/acl.h"
#include "base/mem.h"
#include "base/slot.h"
#include "cluster/cluster.h"
#include "cmd/agreed.h"
#include "cmd/caller.h"
#include "cmd/cluster_view.h"

static const struct cluster_link_status *link_of(const struct cluster_status *status, uint64_t id)
{
    for (uint32_t i = 0; i < status->link_count; i++) {
        if (status->link[i].node_id == id) { return &status->link[i]; }
    }
    return NULL;
}

/* All zero for a node that is alone. */
static struct cluster_status *status_new(const struct call *call)
{
    struct cluster_status *status = mem_new0(sizeof *status);
    if (call->caller->broker->cluster != NULL) {
        cluster_status(call->caller->broker->cluster, status);
    }
    return status;
}

static const char *yes_or_no(bool is_so)
{
    return is_so ? "yes" : "no";
}

/* ---- INFO ---- */

void cmd_cluster_info(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    struct cluster_status *status = status_new(call);
    struct cluster_counts counts = cluster_view_count(&view);
    uint64_t sent = 0, received = 0;
    for (uint32_t i = 0; i < status->link_count; i++) {
        sent += status->link[i].sent_publishes + status->link[i].sent_deliveries;
        received += status->link[i].received_publishes + status->link[i].received_deliveries;
    }
    struct buf text = {0};
    buf_appendf(&text, "cluster_state:%s\r\n", counts.unowned == 0 ? "ok" : "fail");
    buf_appendf(&text, "cluster_slots_assigned:%" PRIu32 "\r\n", counts.slots);
    buf_appendf(&text, "cluster_slots_ok:%" PRIu32 "\r\n", counts.slots);
    buf_append_str(&text, "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n");
    buf_appendf(&text, "cluster_known_nodes:%" PRIu32 "\r\n", counts.members);
    buf_appendf(&text, "cluster_size:%" PRIu32 "\r\n", counts.owners);
    buf_appendf(&text, "cluster_current_epoch:%" PRIu64 "\r\n", counts.epoch);
    buf_appendf(&text, "cluster_my_epoch:%" PRIu64 "\r\n", cluster_view_epoch(&view, view.self));
    buf_appendf(&text, "cluster_stats_messages_sent:%" PRIu64 "\r\n", sent);
    buf_appendf(&text, "cluster_stats_messages_received:%" PRIu64 "\r\n", received);
    buf_append_str(&text, "total_cluster_links_buffer_limit_exceeded:0\r\n");
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
    mem_free(status);
    cluster_view_close(&view);
}

static void append_membership(struct buf *out, const struct cluster_status *status,
                              const char *unready_because)
{
    const struct membership_status *m = &status->membership;
    buf_appendf(out, "fanfare_cluster_id:%016" PRIx64 "\r\n", m->cluster_id);
    buf_appendf(out, "fanfare_cluster_ready:%s\r\n",
                unready_because == NULL ? "yes" : unready_because);
    buf_appendf(out, "fanfare_raft_role:%s\r\n", m->is_leader ? "leader" : "follower");
    buf_appendf(out, "fanfare_raft_leader:%s\r\n", m->leader);
    buf_appendf(out, "fanfare_raft_term:%" PRIu64 "\r\n", m->term);
    buf_appendf(out, "fanfare_raft_commit:%" PRIu64 "\r\n", m->commit);
    buf_appendf(out, "fanfare_raft_applied:%" PRIu64 "\r\n", m->applied);
    buf_appendf(out, "fanfare_raft_last:%" PRIu64 "\r\n", m->last);
    buf_appendf(out, "fanfare_cluster_lease:%s\r\n", yes_or_no(m->has_lease));
    buf_appendf(out, "fanfare_cluster_owned:%" PRIu32 "\r\n", status->owned);
    buf_appendf(out, "fanfare_cluster_warming:%" PRIu32 "\r\n", status->warming);
    buf_appendf(out, "fanfare_cluster_last_warmup_usec:%" PRIu64 "\r\n", status->last_warmup_us);
    buf_appendf(out, "fanfare_cluster_waiting_publishes:%" PRIu64 "\r\n",
                status->waiting_publishes);
    buf_appendf(out, "fanfare_partitions_unled:%" PRIu32 "\r\n", status->unled);
    buf_appendf(out, "fanfare_partitions_lost:%" PRIu32 "\r\n", status->lost);
}

/* Whose users are in force: the node's own, the cluster's, or, where this node is cut off, what it knew of them. */
static void append_users(struct buf *out, const struct call *call,
                         const struct cluster_status *status)
{
    bool is_agreed = acl_is_agreed(call->caller->broker->acl);
    bool is_cut_off = !status->membership.has_lease;
    struct roster *roster = agreed_roster(call->caller->broker->agreed);
    buf_appendf(out, "fanfare_users:%s\r\n", !is_agreed ? "own" : is_cut_off ? "kept" : "cluster");
    buf_appendf(out, "fanfare_users_version:%" PRIu64 "\r\n", roster != NULL ? roster->version : 0);
    roster_unref(roster);
}

static void append_link(struct buf *out, uint32_t index, const struct cluster_link_status *link)
{
    char id[NODE_NAME_BYTES];
    node_name_print(link->node_id, id);
    buf_appendf(out,
                "fanfare_link%" PRIu32 ":name=%s,id=%s,state=%s,queued_bytes=%" PRIu64
                ",sent_publishes=%" PRIu64 ",sent_deliveries=%" PRIu64
                ",received_publishes=%" PRIu64 ",received_deliveries=%" PRIu64 "\r\n",
                index, link->name, id, link->is_up ? "connected" : "disconnected",
                link->queued_bytes, link->sent_publishes, link->sent_deliveries,
                link->received_publishes, link->received_deliveries);
}

void cluster_info_append(struct buf *out, const struct call *call)
{
    buf_append_str(out, "cluster_enabled:1\r\n");
    if (call->caller->broker->cluster == NULL) { return; }
    struct cluster_view view;
    cluster_view_open(&view, call);
    struct cluster_counts counts = cluster_view_count(&view);
    struct cluster_status *status = status_new(call);
    buf_appendf(out, "fanfare_cluster_state:%s\r\n", counts.unowned == 0 ? "ok" : "fail");
    append_membership(out, status, cluster_unready_because(call->caller->broker->cluster));
    append_users(out, call, status);
    buf_appendf(out, "fanfare_cluster_members:%" PRIu32 "\r\n", counts.members);
    buf_appendf(out, "fanfare_cluster_members_up:%" PRIu32 "\r\n", counts.up);
    buf_appendf(out, "fanfare_cluster_voters:%" PRIu32 "\r\n", counts.voters);
    buf_appendf(out, "fanfare_cluster_owners:%" PRIu32 "\r\n", counts.owners);
    buf_appendf(out, "fanfare_cluster_partitions:%" PRIu32 "\r\n", view.map->partition_count);
    buf_appendf(out, "fanfare_cluster_partitions_unowned:%" PRIu32 "\r\n", counts.unowned);
    buf_appendf(out, "fanfare_cluster_map_version:%" PRIu64 "\r\n", view.map->version);
    buf_appendf(out, "fanfare_cluster_epoch:%" PRIu64 "\r\n", counts.epoch);
    for (uint32_t i = 0; i < status->link_count; i++) {
        append_link(out, i, &status->link[i]);
    }
    mem_free(status);
    cluster_view_close(&view);
}

/* ---- NODES ---- */

/* As Redis's tools read them. A member that the cluster takes for up and this node cannot reach is
 * suspected. */
static const char *flags_of(const struct pmap_node *node, bool is_self, bool is_linked)
{
    if (is_self) { return "myself,master"; }
    if (!node->is_up) { return "master,fail"; }
    return is_linked ? "master" : "master,fail?";
}

static void append_node(struct buf *out, const struct cluster_view *view, uint32_t index,
                        const struct cluster_status *status)
{
    const struct pmap_node *node = &view->map->node[index];
    const struct cluster_link_status *link = link_of(status, node->id);
    bool is_self = index == view->self;
    bool is_linked = is_self || (link != NULL && link->is_up);
    char id[NODE_NAME_BYTES];
    node_name_print(node->id, id);
    buf_appendf(out, "%s %s:%u@%u %s - 0 0 %" PRIu64 " %s", id, node->client.host,
                node->client.port, node->peer.port, flags_of(node, is_self, is_linked),
                cluster_view_epoch(view, index), is_linked ? "connected" : "disconnected");
    struct slot_range range = {0};
    for (uint32_t at = 0; cluster_view_range(view, index, at, &range); at = range.next_partition) {
        buf_appendf(out, " %" PRIu32 "-%" PRIu32, range.first, range.last);
    }
    buf_append_str(out, "\n");
}

void cmd_cluster_nodes(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    struct cluster_status *status = status_new(call);
    struct buf text = {0};
    for (uint32_t i = cluster_view_next(&view, 0); i != PMAP_NOBODY;
         i = cluster_view_next(&view, i + 1)) {
        append_node(&text, &view, i, status);
    }
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
    mem_free(status);
    cluster_view_close(&view);
}

/* ---- PARTITIONS ---- */

static const char *name_of(const struct pmap *map, uint32_t node)
{
    return node != PMAP_NOBODY ? map->node[node].name : "-";
}

static void append_member(struct buf *out, const struct cluster_view *view, uint32_t index)
{
    const struct pmap_node *node = &view->map->node[index];
    uint32_t owned = 0;
    for (uint32_t i = 0; i < view->map->partition_count; i++) {
        owned += view->map->partition[i].owner == index;
    }
    buf_appendf(out,
                "node %s zone=%s state=%s incarnation=%" PRIu64 " voter=%s partitions=%" PRIu32
                " client=%s:%u peer=%s:%u raft=%s:%u%s\n",
                node->name, node->zone[0] != '\0' ? node->zone : "-",
                !node->is_up        ? "down"
                : node->is_draining ? "draining"
                                    : "up",
                node->incarnation, yes_or_no(node->is_voter), owned, node->client.host,
                node->client.port, node->peer.host, node->peer.port, node->raft.host,
                node->raft.port, index == view->self ? " myself" : "");
}

/* Who has its data: each with its id in the partition's group, and '+' while it does not vote yet. */
static void append_replicas(struct buf *out, const struct pmap *map,
                            const struct pmap_partition *partition)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct pmap_replica *replica = &partition->replica[i];
        buf_appendf(out, "%s%s%s:%" PRIu64, i > 0 ? "," : "", replica->is_voter ? "" : "+",
                    name_of(map, replica->node), replica->id);
    }
    if (partition->replica_count == 0) { buf_append_str(out, "-"); }
    buf_appendf(out, " settled=%s\n", yes_or_no(partition->is_settled));
}

/* What this node can use has moved, as far as it can see. */
static void append_partition(struct buf *out, struct cluster *cluster, const struct pmap *map,
                             uint32_t index)
{
    const struct pmap_partition *partition = &map->partition[index];
    uint32_t leader = cluster != NULL ? cluster_leader(cluster, index) : partition->owner;
    bool has_moved = cluster == NULL || cluster_serves(cluster, index, partition->epoch);
    buf_appendf(out,
                "partition %" PRIu32 " slots=%" PRIu32 "-%" PRIu32 " owner=%s epoch=%" PRIu64
                " moving-from=%s leader=%s replicas=",
                index, slot_partition_begin(map->partition_count, index),
                slot_partition_begin(map->partition_count, index + 1) - 1,
                name_of(map, partition->owner), partition->epoch,
                name_of(map, has_moved ? PMAP_NOBODY : partition->previous),
                name_of(map, leader < map->node_count ? leader : PMAP_NOBODY));
    append_replicas(out, map, partition);
}

/* Ours: the map for people. */
void cmd_cluster_partitions(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    struct buf text = {0};
    buf_appendf(&text, "cluster %016" PRIx64 " version=%" PRIu64 " partitions=%" PRIu32 "\n",
                view.map->cluster_id, view.map->version, view.map->partition_count);
    for (uint32_t i = cluster_view_next(&view, 0); i != PMAP_NOBODY;
         i = cluster_view_next(&view, i + 1)) {
        append_member(&text, &view, i);
    }
    for (uint32_t i = 0; i < view.map->partition_count; i++) {
        append_partition(&text, call->caller->broker->cluster, view.map, i);
    }
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
    cluster_view_close(&view);
}
