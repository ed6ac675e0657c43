/* lanes: an owner's stream to a node, at both ends. */
#include "cluster/lanes.h"

#include "base/log.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/cluster_int.h"
#include "cluster/dialled.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"

/* ---- the owner's end ---- */

/* A lane item that waits until the socket has taken it, on one lane. */
struct lane_wait {
    struct list link;
    uint64_t end; /* peer_out_sent of the lane must reach this */
    struct lane_item *item;
};

static void item_done(struct lane_item *item)
{
    CHECK(item->waits > 0);
    if (--item->waits > 0) { return; }
    if (item->shipment != NULL) {
        const struct cluster_worker *cw = item->remote_arg;
        shipment_sent(item->shipment, cw->fanout);
    }
    block_unref(item->span.block);
    mem_free(item->ids);
    mem_free(item);
}

static struct wire_frame frame_of(const struct cluster_worker *cw, const struct lane_item *item)
{
    switch (item->type) {
    case LANE_RUN:
        return (struct wire_frame){.type = WIRE_DELIVER,
                                   .deliver = {.partition = item->partition,
                                               .epoch = item->epoch,
                                               .seq = item->seq,
                                               .stable = cw->lane_stable[item->partition],
                                               .is_recovered = item->is_recovered,
                                               .kind = item->kind,
                                               .count = item->message_count,
                                               .data = slice_of(item->span.data, item->span.len)}};
    case LANE_ACK:
        return (struct wire_frame){.type = WIRE_INTEREST_ACK,
                                   .interest_ack = {.id = item->ids[0],
                                                    .partition = item->partition,
                                                    .epoch = item->epoch,
                                                    .kind = item->kind,
                                                    .seq = item->ids + item->id_count,
                                                    .seq_count = item->seq_count}};
    case LANE_END:
        return (struct wire_frame){
            .type = WIRE_END,
            .end = {.partition = item->partition, .epoch = item->epoch, .seq = item->seq}};
    case LANE_READY: break;
    }
    return (struct wire_frame){.type = WIRE_READY,
                               .ready = {.partition = item->partition,
                                         .epoch = item->epoch,
                                         .snapshot = item->snapshot,
                                         .is_missed = item->is_missed,
                                         .is_fence = item->is_fence,
                                         .seq = item->seq}};
}

/* Runs have left the lane, or never will. */
static void lane_taken(struct cluster_worker *cw, uint32_t node, size_t bytes)
{
    struct cluster *c = cw->cluster;
    if (bytes == 0 || !directory_lane_taken(c->directory, cw->index, node, bytes)) { return; }
    for (uint32_t i = 0; i < c->worker_count; i++) {
        jams_let_go(&c->worker[i]->jams);
        cluster_worker_look(c->worker[i]);
    }
}

/* The first one tells the numbers for all of them. */
static void put_more_acks(struct dialled_peer *dialled, const struct lane_item *item,
                          struct wire_frame frame)
{
    frame.interest_ack.seq_count = 0;
    for (uint32_t i = 1; i < item->id_count; i++) {
        frame.interest_ack.id = item->ids[i];
        dialled_send(dialled, dialled->lane, &frame);
    }
}

static void put_on_lane(struct dialled_peer *dialled, struct lane_item *item,
                        const struct wire_frame *frame)
{
    if (item->type == LANE_RUN) {
        dialled_send_run(dialled, dialled->lane, frame, &item->span);
        atomic_fetch_add_explicit(&dialled->cw->cluster->stat[dialled->node].sent_deliveries,
                                  item->message_count, memory_order_relaxed);
    } else {
        dialled_send(dialled, dialled->lane, frame);
        if (UNLIKELY(item->id_count > 1)) { put_more_acks(dialled, item, *frame); }
    }
    if (item->shipment == NULL) { return; }
    struct lane_wait *wait = mem_new0(sizeof *wait);
    wait->end = peer_out_queued(dialled->lane);
    wait->item = item;
    item->waits++;
    list_push_back(&dialled->on_lane, &wait->link);
}

/* A node whose lane is not connected has just been lost, and will know that it may have missed something. */
void lanes_on_item(struct task *task)
{
    struct lane_item *item = CONTAINER_OF(task, struct lane_item, task);
    struct cluster_worker *cw = item->remote_arg;
    item->waits = 1;
    struct wire_frame frame = frame_of(cw, item);
    bool is_counted = item->type == LANE_RUN && !item->is_recovered;
    for (uint64_t nodes = item->nodes; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        struct dialled_peer *dialled = cw->dialled[node];
        if (dialled_has_lane(dialled)) {
            put_on_lane(dialled, item, &frame);
            dialled->lane_bytes += is_counted ? item->span.len : 0;
        } else if (is_counted) {
            lane_taken(cw, node, item->span.len);
        }
    }
    if (is_counted) {
        cw->lane_seq[item->partition] = item->seq + item->message_count - 1;
        cw->lane_is_unstable = true;
    }
    item_done(item);
}

/* The sockets have taken more. True: all of it. */
static bool lane_progress(struct dialled_peer *dialled)
{
    uint64_t sent = peer_out_sent(dialled->lane);
    LIST_EACH (at, &dialled->on_lane) {
        struct lane_wait *wait = CONTAINER_OF(at, struct lane_wait, link);
        if (wait->end > sent) { break; }
        list_remove(&wait->link);
        item_done(wait->item);
        mem_free(wait);
    }
    size_t left = (size_t)(peer_out_queued(dialled->lane) - sent);
    if (left < dialled->lane_bytes) {
        lane_taken(dialled->cw, dialled->node, dialled->lane_bytes - left);
        dialled->lane_bytes = left;
    }
    return left == 0;
}

void lanes_turn(struct cluster_worker *cw)
{
    bool all_taken = true;
    for (uint32_t node = 0; cw->map != NULL && node < cw->map->node_count; node++) {
        if (cw->dialled[node] != NULL) { all_taken &= lane_progress(cw->dialled[node]); }
    }
    if (!all_taken || !cw->lane_is_unstable) { return; }
    cw->lane_is_unstable = false;
    for (uint32_t p = cw->index; p < cw->cluster->partition_count; p += cw->cluster->worker_count) {
        cw->lane_stable[p] = cw->lane_seq[p];
    }
}

void lanes_on_down(struct dialled_peer *dialled)
{
    struct list *link;
    while ((link = list_pop_front(&dialled->on_lane)) != NULL) {
        struct lane_wait *wait = CONTAINER_OF(link, struct lane_wait, link);
        item_done(wait->item);
        mem_free(wait);
    }
    lane_taken(dialled->cw, dialled->node, dialled->lane_bytes);
    dialled->lane_bytes = 0;
}

/* ---- the node's end ---- */

/* Is it to be delivered here? Then it is kept for the others, too. */
static bool take_run(struct accepted_peer *accepted, const struct wire_run *run,
                     struct received_run *received_run)
{
    struct cluster *c = accepted->cw->cluster;
    struct cluster_partition *cp = &c->partition[run->partition];
    lock_take(&cp->lock);
    if (run->is_recovered) {
        received_run->orderer.node = ORDERER_NOBODY;
    } /* who it counted is not known */
    bool is_ours = handover_take_run(&cp->handover, accepted->node, run, &received_run->span,
                                     c->tail_bytes_max);
    lock_release(&cp->lock);
    return is_ours;
}

static bool on_deliver(struct accepted_peer *accepted, const struct wire_run *run)
{
    struct cluster_worker *cw = accepted->cw;
    struct cluster *c = cw->cluster;
    if (run->count == 0) { return false; }
    struct received_run received_run = {
        .span = fanout_keep(cw->fanout, run->data),
        .prefix_bytes = run->prefix_bytes,
        .count = run->count,
        .kind = run->kind,
        .orderer = {(uint8_t)accepted->node, (uint8_t)accepted->worker},
    };
    if (take_run(accepted, run, &received_run)) {
        fanout_deliver(cw->fanout, &received_run);
        atomic_fetch_add_explicit(&c->stat[accepted->node].received_deliveries, run->count,
                                  memory_order_relaxed);
    }
    block_unref(received_run.span.block);
    return true;
}

static void on_end(struct accepted_peer *accepted, const struct wire_end *end)
{
    struct cluster *c = accepted->cw->cluster;
    struct cluster_partition *cp = &c->partition[end->partition];
    lock_take(&cp->lock);
    handover_on_end(&cp->handover, accepted->node, end);
    lock_release(&cp->lock);
    handovers_soon(c);
}

static bool is_partition(const struct accepted_peer *accepted, uint32_t partition)
{
    return partition < accepted->cw->cluster->partition_count;
}

bool lanes_on_frame(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_DELIVER:
        return is_partition(accepted, frame->deliver.partition) &&
               on_deliver(accepted, &frame->deliver);
    case WIRE_INTEREST_ACK:
        if (!is_partition(accepted, frame->interest_ack.partition)) { return false; }
        interest_on_ack(accepted, &frame->interest_ack);
        return true;
    case WIRE_END:
        if (!is_partition(accepted, frame->end.partition)) { return false; }
        on_end(accepted, &frame->end);
        return true;
    case WIRE_READY:
        if (!is_partition(accepted, frame->ready.partition)) { return false; }
        handovers_on_ready(accepted->cw->cluster, accepted->node, &frame->ready);
        return true;
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISH:
    case WIRE_INTEREST:
    case WIRE_SYNC:
    case WIRE_QUERY:
    case WIRE_PUBLISHED:
    case WIRE_QUERY_ANSWER:
    case WIRE_ASK_END:
    case WIRE_COMMAND:
    case WIRE_EXECUTED:
    case WIRE_UNPARK:
    case WIRE_LEADS:
    case WIRE_ASK_LEADS: return false;
    }
    return false;
}

void lanes_on_closed(struct accepted_peer *accepted, bool is_clean)
{
    struct cluster *c = accepted->cw->cluster;
    lock_take(&c->lock);
    uint32_t lane_count = c->from[accepted->node].worker_count;
    lock_release(&c->lock);
    if (!is_clean && !atomic_load(&c->is_stopping)) {
        LOG_WARN("a peer's lane broke", LOG_UINT("node", accepted->node_id),
                 LOG_UINT("lane", accepted->worker));
    }
    handovers_lane_lost(accepted, lane_count, is_clean);
}

uint32_t lanes_complete(struct cluster *c, uint32_t node)
{
    lock_take(&c->lock);
    uint32_t count = c->from[node].worker_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct accepted_peer *lane = c->from[node].lane[i];
        if (lane == NULL || lane->is_ended) {
            count = 0;
            break;
        }
    }
    lock_release(&c->lock);
    return count;
}

uint64_t lane_number(const struct cluster *c, uint32_t node, uint32_t partition)
{
    uint32_t count = c->from[node].worker_count;
    const struct accepted_peer *lane = count > 0 ? c->from[node].lane[partition % count] : NULL;
    return lane != NULL && !lane->is_ended ? lane->number : 0;
}
