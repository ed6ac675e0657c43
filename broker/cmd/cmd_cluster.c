/* cmd_cluster: CLUSTER's questions about slots and nodes, answered for cluster-mode clients from the map.
 * What is for people is in cmd_cluster_text.c. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slot.h"
#include "cluster/cluster.h"
#include "cmd/caller.h"
#include "cmd/cluster_view.h"

/* ---- slots to nodes ---- */

static void reply_node_id(struct reply *reply, uint64_t id)
{
    char text[NODE_NAME_BYTES];
    node_name_print(id, text);
    reply_bulk_str(reply, text);
}

void cmd_cluster_slots(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    struct slot_range range = {0};
    uint32_t count = 0;
    for (uint32_t at = 0; cluster_view_range(&view, PMAP_NOBODY, at, &range);
         at = range.next_partition) {
        count++;
    }
    reply_array(call->reply, count);
    for (uint32_t at = 0; cluster_view_range(&view, PMAP_NOBODY, at, &range);
         at = range.next_partition) {
        const struct pmap_node *node = &view.map->node[range.owner];
        reply_array(call->reply, 3);
        reply_int(call->reply, range.first);
        reply_int(call->reply, range.last);
        reply_array(call->reply, 4);
        reply_bulk_str(call->reply, node->client.host);
        reply_int(call->reply, node->client.port);
        reply_node_id(call->reply, node->id);
        reply_map(call->reply, 0);
    }
    cluster_view_close(&view);
}

static void reply_shard_node(struct reply *reply, const struct pmap_node *node)
{
    reply_map(reply, 7);
    reply_bulk_str(reply, "id");
    reply_node_id(reply, node->id);
    reply_bulk_str(reply, "port");
    reply_int(reply, node->client.port);
    reply_bulk_str(reply, "ip");
    reply_bulk_str(reply, node->client.host);
    reply_bulk_str(reply, "endpoint");
    reply_bulk_str(reply, node->client.host);
    reply_bulk_str(reply, "role");
    reply_bulk_str(reply, "master");
    reply_bulk_str(reply, "replication-offset");
    reply_int(reply, 0);
    reply_bulk_str(reply, "health");
    reply_bulk_str(reply, node->is_up ? "online" : "fail");
}

/* Each member is a shard of its own. */
static void reply_shard(struct reply *reply, const struct cluster_view *view, uint32_t node)
{
    struct slot_range range = {0};
    uint32_t count = 0;
    for (uint32_t at = 0; cluster_view_range(view, node, at, &range); at = range.next_partition) {
        count++;
    }
    reply_map(reply, 2);
    reply_bulk_str(reply, "slots");
    reply_array(reply, 2 * (size_t)count);
    for (uint32_t at = 0; cluster_view_range(view, node, at, &range); at = range.next_partition) {
        reply_int(reply, range.first);
        reply_int(reply, range.last);
    }
    reply_bulk_str(reply, "nodes");
    reply_array(reply, 1);
    reply_shard_node(reply, &view->map->node[node]);
}

void cmd_cluster_shards(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    reply_array(call->reply, cluster_view_count(&view).members);
    for (uint32_t i = cluster_view_next(&view, 0); i != PMAP_NOBODY;
         i = cluster_view_next(&view, i + 1)) {
        reply_shard(call->reply, &view, i);
    }
    cluster_view_close(&view);
}

/* ---- slots and keys ---- */

void cmd_cluster_keyslot(struct call *call)
{
    reply_int(call->reply, slot_of(call->argv[2]));
}

/* ---- nodes ---- */

void cmd_cluster_myid(struct call *call)
{
    reply_bulk_str(call->reply, call->caller->broker->node_id);
}

/* What a node must remember is on disk before it acts on it. */
void cmd_cluster_saveconfig(struct call *call)
{
    reply_ok(call->reply);
}

/* Epochs are terms of Raft: nobody but the nodes together begins one. */
void cmd_cluster_bumpepoch(struct call *call)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    uint64_t epoch = cluster_view_epoch(&view, view.self);
    cluster_view_close(&view);
    char text[32];
    snprintf(text, sizeof text, "STILL %" PRIu64, epoch);
    reply_status(call->reply, text);
}

/* Each member is a shard of its own: the node's id names it. */
void cmd_cluster_myshardid(struct call *call)
{
    reply_bulk_str(call->reply, call->caller->broker->node_id);
}

static void refuse_node(struct call *call, struct slice name)
{
    reply_errorf(call->reply, "ERR Unknown node %.*s", (int)(name.len < 128 ? name.len : 128),
                 name.data);
}

static uint32_t find_node(const struct call *call, struct slice name_or_id)
{
    struct cluster_view view;
    cluster_view_open(&view, call);
    uint32_t node = cluster_view_find(&view, name_or_id);
    cluster_view_close(&view);
    return node;
}

void cmd_cluster_count_failure_reports(struct call *call)
{
    if (find_node(call, call->argv[2]) != PMAP_NOBODY) {
        reply_int(call->reply, 0);
    } else {
        refuse_node(call, call->argv[2]);
    }
}

/* No node is another's replica. */
void cmd_cluster_replicas(struct call *call)
{
    if (find_node(call, call->argv[2]) != PMAP_NOBODY) {
        reply_array(call->reply, 0);
    } else {
        refuse_node(call, call->argv[2]);
    }
}

static void reply_link(struct reply *reply, const struct cluster_link_status *link)
{
    reply_map(reply, 6);
    reply_bulk_str(reply, "direction");
    reply_bulk_str(reply, "to");
    reply_bulk_str(reply, "node");
    reply_node_id(reply, link->node_id);
    reply_bulk_str(reply, "create-time");
    reply_int(reply, (int64_t)link->since_wall_ms);
    reply_bulk_str(reply, "events");
    reply_bulk_str(reply, link->queued_bytes > 0 ? "rw" : "r");
    reply_bulk_str(reply, "send-buffer-allocated");
    reply_int(reply, (int64_t)link->queued_bytes);
    reply_bulk_str(reply, "send-buffer-used");
    reply_int(reply, (int64_t)link->queued_bytes);
}

void cmd_cluster_links(struct call *call)
{
    if (call->caller->broker->cluster == NULL) {
        reply_array(call->reply, 0);
        return;
    }
    struct cluster_status *status = mem_new0(sizeof *status);
    cluster_status(call->caller->broker->cluster, status);
    uint32_t up = 0;
    for (uint32_t i = 0; i < status->link_count; i++) {
        up += status->link[i].is_up;
    }
    reply_array(call->reply, up);
    for (uint32_t i = 0; i < status->link_count; i++) {
        if (status->link[i].is_up) { reply_link(call->reply, &status->link[i]); }
    }
    mem_free(status);
}

/* ---- FORGET ---- */

struct forgetting {
    struct session *session; /* NULL: it has gone away */
    bool is_answered;
    struct buf error; /* empty: done */
    char name[PMAP_NAME_BYTES];
};

static void forgetting_free(struct forgetting *forgetting)
{
    buf_fini(&forgetting->error);
    mem_free(forgetting);
}

static void on_forgotten(void *arg, const char *error)
{
    struct forgetting *forgetting = arg;
    forgetting->is_answered = true;
    if (forgetting->session == NULL) {
        forgetting_free(forgetting);
        return;
    }
    if (error != NULL) { buf_append_str(&forgetting->error, error); }
    wait_over(forgetting->session);
}

static void finish_forgetting(void *arg, struct call *call)
{
    struct forgetting *forgetting = arg;
    if (forgetting->error.len == 0) {
        reply_ok(call->reply);
    } else {
        reply_error_slice(call->reply, buf_slice(&forgetting->error));
    }
    forgetting_free(forgetting);
}

/* Until the answer comes, it belongs to the cluster; then it goes. */
static void forget_session(void *arg)
{
    struct forgetting *forgetting = arg;
    forgetting->session = NULL;
    if (forgetting->is_answered) { forgetting_free(forgetting); }
}

void cmd_cluster_forget(struct call *call)
{
    static const struct wait_ops ops = {.finish = finish_forgetting, .forget = forget_session};
    struct cluster_view view;
    cluster_view_open(&view, call);
    uint32_t node = cluster_view_find(&view, call->argv[2]);
    if (node == PMAP_NOBODY) {
        refuse_node(call, call->argv[2]);
    } else if (node == view.self) {
        reply_error(call->reply, "ERR I tried hard but I can't forget myself...");
    } else {
        struct forgetting *forgetting = mem_new0(sizeof *forgetting);
        forgetting->session = call->caller->session;
        memcpy(forgetting->name, view.map->node[node].name, sizeof forgetting->name);
        call_wait(call, &ops, forgetting);
        cluster_forget(call->caller->broker->cluster, worker_index(call->caller->service->worker),
                       slice_of_str(forgetting->name), on_forgotten, forgetting);
    }
    cluster_view_close(&view);
}
