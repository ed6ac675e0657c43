/* cmd_cluster: CLUSTER's questions, answered as a cluster of one node that owns every slot. */
#include "base/slot.h"
#include "cmd/call.h"

enum { BUS_PORT_OFFSET = 10000 }; /* where Redis's cluster clients look for the peer port */

/* The host that this client can reach the node at: the announced one, or the one it has used.
 * `text` has room for
 * SESSION_ADDRESS_BYTES. */
static struct slice own_host(const struct call *call, char *text)
{
    if (call->broker->host[0] != '\0') { return slice_of_str(call->broker->host); }
    if ((call->session->flags & SESSION_UNIX) != 0) { return SLICE("127.0.0.1"); }
    struct slice address = session_local_address(call->session, text);
    const char *colon = memrchr(address.data, ':', address.len);
    size_t len = colon != NULL ? (size_t)(colon - address.data) : address.len;
    if (len > 2 && address.data[0] == '[') { return slice_of(address.data + 1, len - 2); }
    return slice_of(address.data, len);
}

void cmd_cluster_info(struct call *call)
{
    struct buf text = {0};
    buf_append_str(&text, "cluster_state:ok\r\n");
    buf_appendf(&text, "cluster_slots_assigned:%d\r\n", SLOT_COUNT);
    buf_appendf(&text, "cluster_slots_ok:%d\r\n", SLOT_COUNT);
    buf_append_str(&text, "cluster_slots_pfail:0\r\n"
                          "cluster_slots_fail:0\r\n"
                          "cluster_known_nodes:1\r\n"
                          "cluster_size:1\r\n"
                          "cluster_current_epoch:1\r\n"
                          "cluster_my_epoch:1\r\n"
                          "cluster_stats_messages_sent:0\r\n"
                          "cluster_stats_messages_received:0\r\n"
                          "total_cluster_links_buffer_limit_exceeded:0\r\n");
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
}

void cmd_cluster_slots(struct call *call)
{
    char text[SESSION_ADDRESS_BYTES];
    reply_array(call->reply, 1);
    reply_array(call->reply, 3);
    reply_int(call->reply, 0);
    reply_int(call->reply, SLOT_COUNT - 1);
    reply_array(call->reply, 4);
    reply_bulk(call->reply, own_host(call, text));
    reply_int(call->reply, call->broker->port);
    reply_bulk_str(call->reply, call->broker->node_id);
    reply_map(call->reply, 0);
}

void cmd_cluster_shards(struct call *call)
{
    char text[SESSION_ADDRESS_BYTES];
    struct slice host = own_host(call, text);
    struct reply *reply = call->reply;
    reply_array(reply, 1);
    reply_map(reply, 2);
    reply_bulk_str(reply, "slots");
    reply_array(reply, 2);
    reply_int(reply, 0);
    reply_int(reply, SLOT_COUNT - 1);
    reply_bulk_str(reply, "nodes");
    reply_array(reply, 1);
    reply_map(reply, 7);
    reply_bulk_str(reply, "id");
    reply_bulk_str(reply, call->broker->node_id);
    reply_bulk_str(reply, "port");
    reply_int(reply, call->broker->port);
    reply_bulk_str(reply, "ip");
    reply_bulk(reply, host);
    reply_bulk_str(reply, "endpoint");
    reply_bulk(reply, host);
    reply_bulk_str(reply, "role");
    reply_bulk_str(reply, "master");
    reply_bulk_str(reply, "replication-offset");
    reply_int(reply, 0);
    reply_bulk_str(reply, "health");
    reply_bulk_str(reply, "online");
}

void cmd_cluster_nodes(struct call *call)
{
    char text[SESSION_ADDRESS_BYTES];
    struct slice host = own_host(call, text);
    struct buf line = {0};
    buf_appendf(&line, "%s %.*s:%u@%u myself,master - 0 0 1 connected 0-%d\n",
                call->broker->node_id, SLICE_ARG(host), call->broker->port,
                call->broker->port + BUS_PORT_OFFSET, SLOT_COUNT - 1);
    reply_verbatim(call->reply, buf_slice(&line));
    buf_fini(&line);
}

void cmd_cluster_myid(struct call *call)
{
    reply_bulk_str(call->reply, call->broker->node_id);
}

/* One node, one shard: the node's id names it. */
void cmd_cluster_myshardid(struct call *call)
{
    reply_bulk_str(call->reply, call->broker->node_id);
}

void cmd_cluster_keyslot(struct call *call)
{
    reply_int(call->reply, slot_of(call->argv[2]));
}

static bool slot_is_valid(struct slice text)
{
    int64_t slot;
    return slice_to_int64(text, &slot) && slot >= 0 && slot < SLOT_COUNT;
}

void cmd_cluster_countkeysinslot(struct call *call)
{
    if (slot_is_valid(call->argv[2])) {
        reply_int(call->reply, 0);
    } else {
        reply_error(call->reply, "ERR Invalid slot");
    }
}

void cmd_cluster_getkeysinslot(struct call *call)
{
    int64_t count;
    if (slot_is_valid(call->argv[2]) && slice_to_int64(call->argv[3], &count) && count >= 0) {
        reply_array(call->reply, 0);
    } else {
        reply_error(call->reply, "ERR Invalid slot or number of keys");
    }
}

void cmd_cluster_links(struct call *call)
{
    reply_array(call->reply, 0);
}

void cmd_cluster_count_failure_reports(struct call *call)
{
    struct slice id = call->argv[2];
    if (slice_equal_nocase(id, slice_of_str(call->broker->node_id))) {
        reply_int(call->reply, 0);
    } else {
        reply_errorf(call->reply, "ERR Unknown node %.*s", (int)(id.len < 128 ? id.len : 128),
                     id.data);
    }
}
