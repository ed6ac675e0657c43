/* lanes: an owner's stream to a node, at both ends. */
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"

/* ---- the owner's end ---- */

static void item_done(struct lane_item *item)
{
    CHECK(item->waits > 0);
    if (--item->waits > 0) { return; }
    if (item->shipment != NULL) {
        const struct half *half = item->half;
        shipment_sent(item->shipment, half->fanout);
    }
    block_unref(item->span.block);
    mem_free(item->ids);
    mem_free(item);
}

static struct wire_frame frame_of(const struct half *half, const struct lane_item *item)
{
    switch (item->type) {
    case LANE_RUN:
        return (struct wire_frame){.type = WIRE_DELIVER,
                                   .deliver = {.partition = item->partition,
                                               .epoch = item->epoch,
                                               .seq = item->seq,
                                               .stable = half->lane_stable[item->partition],
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
static void lane_taken(struct half *half, uint32_t node, size_t bytes)
{
    struct cluster *c = half->cluster;
    if (bytes == 0 || !directory_lane_taken(c->directory, half->index, node, bytes)) { return; }
    for (uint32_t i = 0; i < c->worker_count; i++) {
        jams_let_go(&c->half[i]->jams);
        half_look(c->half[i]);
    }
}

/* The first one tells the numbers for all of them. */
static void put_more_acks(struct outlet *outlet, const struct lane_item *item,
                          struct wire_frame frame)
{
    frame.interest_ack.seq_count = 0;
    for (uint32_t i = 1; i < item->id_count; i++) {
        frame.interest_ack.id = item->ids[i];
        outlet_send(outlet, outlet->lane, &frame);
    }
}

static void put_on_lane(struct outlet *outlet, struct lane_item *item,
                        const struct wire_frame *frame)
{
    if (item->type == LANE_RUN) {
        outlet_send_run(outlet, outlet->lane, frame, &item->span);
        atomic_fetch_add_explicit(&outlet->half->cluster->stat[outlet->node].sent_deliveries,
                                  item->message_count, memory_order_relaxed);
    } else {
        outlet_send(outlet, outlet->lane, frame);
        if (UNLIKELY(item->id_count > 1)) { put_more_acks(outlet, item, *frame); }
    }
    if (item->shipment == NULL) { return; }
    struct lane_wait *wait = mem_new0(sizeof *wait);
    wait->end = peer_out_queued(outlet->lane);
    wait->item = item;
    item->waits++;
    list_push_back(&outlet->on_lane, &wait->link);
}

/* A node whose lane is not connected has just been lost, and will know that it may have missed something. */
void lanes_on_item(struct task *task)
{
    struct lane_item *item = CONTAINER_OF(task, struct lane_item, task);
    struct half *half = item->half;
    item->waits = 1;
    struct wire_frame frame = frame_of(half, item);
    bool is_counted = item->type == LANE_RUN && !item->is_recovered;
    for (uint64_t nodes = item->nodes; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        struct outlet *outlet = half->outlet[node];
        if (outlet_has_lane(outlet)) {
            put_on_lane(outlet, item, &frame);
            outlet->lane_bytes += is_counted ? item->span.len : 0;
        } else if (is_counted) {
            lane_taken(half, node, item->span.len);
        }
    }
    if (is_counted) {
        half->lane_seq[item->partition] = item->seq + item->message_count - 1;
        half->lane_is_unstable = true;
    }
    item_done(item);
}

/* The sockets have taken more. True: all of it. */
static bool lane_progress(struct outlet *outlet)
{
    uint64_t sent = peer_out_sent(outlet->lane);
    LIST_EACH (at, &outlet->on_lane) {
        struct lane_wait *wait = CONTAINER_OF(at, struct lane_wait, link);
        if (wait->end > sent) { break; }
        list_remove(&wait->link);
        item_done(wait->item);
        mem_free(wait);
    }
    size_t left = (size_t)(peer_out_queued(outlet->lane) - sent);
    if (left < outlet->lane_bytes) {
        lane_taken(outlet->half, outlet->node, outlet->lane_bytes - left);
        outlet->lane_bytes = left;
    }
    return left == 0;
}

void lanes_turn(struct half *half)
{
    bool all_taken = true;
    for (uint32_t node = 0; half->map != NULL && node < half->map->node_count; node++) {
        if (half->outlet[node] != NULL) { all_taken &= lane_progress(half->outlet[node]); }
    }
    if (!all_taken || !half->lane_is_unstable) { return; }
    half->lane_is_unstable = false;
    for (uint32_t p = half->index; p < half->cluster->partition_count;
         p += half->cluster->worker_count) {
        half->lane_stable[p] = half->lane_seq[p];
    }
}

void lanes_on_down(struct outlet *outlet)
{
    struct list *link;
    while ((link = list_pop_front(&outlet->on_lane)) != NULL) {
        struct lane_wait *wait = CONTAINER_OF(link, struct lane_wait, link);
        item_done(wait->item);
        mem_free(wait);
    }
    lane_taken(outlet->half, outlet->node, outlet->lane_bytes);
    outlet->lane_bytes = 0;
}

/* ---- the node's end ---- */

/* Is it to be delivered here? Then it is kept for the others, too. */
static bool take_run(struct inlet *inlet, const struct wire_run *run, struct arrival *arrival)
{
    struct cluster *c = inlet->half->cluster;
    struct place *place = &c->place[run->partition];
    lock_take(&place->lock);
    if (run->is_recovered) {
        arrival->origin.node = ORIGIN_NOBODY;
    } /* who it counted is not known */
    bool is_ours =
        handover_take_run(&place->handover, inlet->node, run, &arrival->span, c->tail_bytes_max);
    lock_release(&place->lock);
    return is_ours;
}

static bool on_deliver(struct inlet *inlet, const struct wire_run *run)
{
    struct half *half = inlet->half;
    struct cluster *c = half->cluster;
    if (run->count == 0) { return false; }
    struct arrival arrival = {
        .span = fanout_keep(half->fanout, run->data),
        .prefix_bytes = run->prefix_bytes,
        .count = run->count,
        .kind = run->kind,
        .origin = {(uint8_t)inlet->node, (uint8_t)inlet->worker},
    };
    if (take_run(inlet, run, &arrival)) {
        fanout_deliver(half->fanout, &arrival);
        atomic_fetch_add_explicit(&c->stat[inlet->node].received_deliveries, run->count,
                                  memory_order_relaxed);
    }
    block_unref(arrival.span.block);
    return true;
}

static void on_end(struct inlet *inlet, const struct wire_end *end)
{
    struct cluster *c = inlet->half->cluster;
    struct place *place = &c->place[end->partition];
    lock_take(&place->lock);
    handover_on_end(&place->handover, inlet->node, end);
    lock_release(&place->lock);
    moves_soon(c);
}

static bool is_partition(const struct inlet *inlet, uint32_t partition)
{
    return partition < inlet->half->cluster->partition_count;
}

bool lanes_on_frame(struct inlet *inlet, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_DELIVER:
        return is_partition(inlet, frame->deliver.partition) && on_deliver(inlet, &frame->deliver);
    case WIRE_INTEREST_ACK:
        if (!is_partition(inlet, frame->interest_ack.partition)) { return false; }
        interest_on_ack(inlet, &frame->interest_ack);
        return true;
    case WIRE_END:
        if (!is_partition(inlet, frame->end.partition)) { return false; }
        on_end(inlet, &frame->end);
        return true;
    case WIRE_READY:
        if (!is_partition(inlet, frame->ready.partition)) { return false; }
        moves_on_ready(inlet->half->cluster, inlet->node, &frame->ready);
        return true;
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISH:
    case WIRE_INTEREST:
    case WIRE_SYNC:
    case WIRE_QUERY:
    case WIRE_PUBLISHED:
    case WIRE_ANSWER:
    case WIRE_ASK_END:
    case WIRE_COMMAND:
    case WIRE_EXECUTED:
    case WIRE_UNPARK:
    case WIRE_LEADS:
    case WIRE_ASK_LEADS: return false;
    }
    return false;
}

void lanes_on_closed(struct inlet *inlet, bool is_clean)
{
    struct cluster *c = inlet->half->cluster;
    lock_take(&c->lock);
    uint32_t lane_count = c->from[inlet->node].worker_count;
    lock_release(&c->lock);
    if (!is_clean && !atomic_load(&c->is_stopping)) {
        LOG_WARN("a peer's lane broke", LOG_UINT("node", inlet->node_id),
                 LOG_UINT("lane", inlet->worker));
    }
    moves_lane_lost(inlet, lane_count, is_clean);
}

uint32_t lanes_complete(struct cluster *c, uint32_t node)
{
    lock_take(&c->lock);
    uint32_t count = c->from[node].worker_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct inlet *lane = c->from[node].lane[i];
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
    const struct inlet *lane = count > 0 ? c->from[node].lane[partition % count] : NULL;
    return lane != NULL && !lane->is_ended ? lane->number : 0;
}
