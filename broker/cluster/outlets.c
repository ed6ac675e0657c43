/* outlets: the connections that a worker dials to each other member: one for requests, one lane. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/publishes.h"

void outlet_send(struct outlet *outlet, struct peer_out *out, const struct wire_frame *frame)
{
    struct buf *head = &outlet->half->head;
    head->len = 0;
    wire_encode(head, frame);
    peer_out_send(out, buf_slice(head), NULL);
}

void outlet_send_run(struct outlet *outlet, struct peer_out *out, const struct wire_frame *frame,
                     const struct span *body)
{
    struct buf *head = &outlet->half->head;
    head->len = 0;
    wire_encode_head(head, frame);
    peer_out_send(out, buf_slice(head), body);
}

void outlet_send_large(struct outlet *outlet, const struct wire_frame *frame)
{
    if (wire_frame_bytes(frame) <= PEER_COPY_BYTES_MAX) {
        outlet_send(outlet, outlet->request, frame);
        return;
    }
    struct span span = wire_span(frame);
    peer_out_send(outlet->request, SLICE(""), &span);
    block_unref(span.block);
}

struct flights *outlets_connection(void *arg, uint32_t node)
{
    const struct half *half = arg;
    struct outlet *outlet = half->outlet[node];
    return outlet_can_ask(outlet) ? &outlet->flights : NULL;
}

uint64_t outlets_send_request(struct flights *flights, const struct request *request,
                              const struct wire_frame *frame, const struct span *body)
{
    struct outlet *outlet = CONTAINER_OF(flights, struct outlet, flights);
    struct peer_stat *stat = &outlet->half->cluster->stat[outlet->node];
    atomic_fetch_add_explicit(&stat->sent_publishes, request->count, memory_order_relaxed);
    if (body != NULL) {
        outlet_send_run(outlet, outlet->request, frame, body);
    } else {
        outlet_send(outlet, outlet->request, frame);
    }
    return peer_out_queued(outlet->request);
}

/* ---- up and down ---- */

static void on_request_up(void *arg)
{
    struct outlet *outlet = arg;
    struct cluster *c = outlet->half->cluster;
    atomic_fetch_add(&c->stat[outlet->node].requests_up, 1);
    atomic_store(&c->stat[outlet->node].up_wall_ms, clock_wall_us() / 1000);
    if (outlet->half->index == 0) {
        interest_node_gone(outlet->half, outlet->node);
        commands_tell_leads(outlet);
        moves_progress(c);
    }
    half_look(outlet->half);
    commands_look(outlet->half);
}

static void on_lost(struct event *event)
{
    moves_request_lost(event->half->cluster, event->node);
}

/* It was up: requests on their way are lost, so the node's owner's picture of our interest may be wrong. */
static void request_lost(struct outlet *outlet, uint64_t unsent_from)
{
    struct half *half = outlet->half;
    atomic_fetch_sub(&half->cluster->stat[outlet->node].requests_up, 1);
    requests_on_down(&half->requests, &outlet->flights, unsent_from);
    commands_on_down(half, outlet->node);
    ask_owners_on_down(half);
    if (atomic_load(&half->cluster->is_stopping)) { return; }
    event_post(half_0(half->cluster), (struct event){.run = on_lost, .node = outlet->node});
    half_look(half);
}

static void on_request_down(void *arg, uint64_t unsent_from)
{
    struct outlet *outlet = arg;
    if (outlet->request_is_up) {
        outlet->request_is_up = false;
        request_lost(outlet, unsent_from);
    }
}

static void on_request_connected(void *arg)
{
    struct outlet *outlet = arg;
    outlet->request_is_up = true;
    on_request_up(arg);
}

static bool on_request_frame(void *arg, const struct wire_frame *frame)
{
    struct outlet *outlet = arg;
    switch (frame->type) {
    case WIRE_PUBLISHED: publishes_on_answer(outlet, frame); return true;
    case WIRE_ANSWER: ask_owners_on_answer(outlet, &frame->answer); return true;
    case WIRE_EXECUTED: return commands_on_executed(outlet, &frame->executed);
    case WIRE_LEADS: return commands_on_leads(outlet->half->cluster, outlet->node, &frame->leads);
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISH:
    case WIRE_INTEREST:
    case WIRE_SYNC:
    case WIRE_QUERY:
    case WIRE_DELIVER:
    case WIRE_INTEREST_ACK:
    case WIRE_END:
    case WIRE_READY:
    case WIRE_ASK_END:
    case WIRE_COMMAND:
    case WIRE_UNPARK:
    case WIRE_ASK_LEADS: return false;
    }
    return false;
}

static void on_lane_up(void *arg)
{
    struct outlet *outlet = arg;
    outlet->lane_is_up = true;
    atomic_fetch_add(&outlet->half->cluster->stat[outlet->node].lanes_up, 1);
}

static void on_lane_down(void *arg, uint64_t unsent_from)
{
    (void)unsent_from;
    struct outlet *outlet = arg;
    if (outlet->lane_is_up) {
        outlet->lane_is_up = false;
        atomic_fetch_sub(&outlet->half->cluster->stat[outlet->node].lanes_up, 1);
    }
    lanes_on_down(outlet);
}

static bool on_lane_frame(void *arg, const struct wire_frame *frame)
{
    (void)arg;
    (void)frame;
    return false;
}

/* ---- following the map ---- */

static struct peer_out *dial(struct outlet *outlet, bool is_lane)
{
    struct half *half = outlet->half;
    const struct pmap_node *self = &half->map->node[half->self];
    const struct pmap_node *node = &half->map->node[outlet->node];
    const struct peer_out_opts opts = {
        .hub = half->hub,
        .hello = {.version = WIRE_VERSION,
                  .features = WIRE_FEATURES,
                  .cluster_id = half->map->cluster_id,
                  .node_id = self->id,
                  .incarnation = self->incarnation,
                  .to_node_id = node->id,
                  .is_lane = is_lane,
                  .worker = half->index,
                  .worker_count = half->cluster->worker_count},
        .host = node->peer.host,
        .port = node->peer.port,
        .on_up = is_lane ? on_lane_up : on_request_connected,
        .on_down = is_lane ? on_lane_down : on_request_down,
        .on_frame = is_lane ? on_lane_frame : on_request_frame,
        .arg = outlet,
    };
    return peer_out_new(&opts);
}

static void outlet_open(struct half *half, uint32_t node)
{
    struct outlet *outlet = mem_new0(sizeof *outlet);
    half->outlet[node] = outlet;
    outlet->half = half;
    outlet->node = node;
    outlet->node_id = half->map->node[node].id;
    outlet->incarnation = half->map->node[node].incarnation;
    outlet->own_incarnation = half->map->node[half->self].incarnation;
    flights_init(&outlet->flights);
    list_init(&outlet->on_lane);
    outlet->request = dial(outlet, false);
    outlet->lane = dial(outlet, true);
}

static void outlet_close(struct outlet *outlet, bool is_abrupt)
{
    struct half *half = outlet->half;
    uint64_t unsent_from = peer_out_sent(outlet->request);
    peer_out_free(outlet->request, is_abrupt);
    on_request_down(outlet, unsent_from);
    peer_out_free(outlet->lane, is_abrupt);
    on_lane_down(outlet, 0);
    half->outlet[outlet->node] = NULL;
    CHECK(list_is_empty(&outlet->on_lane));
    flights_fini(&outlet->flights);
    mem_free(outlet);
}

static bool is_current(const struct half *half, const struct outlet *outlet)
{
    return node_is_up(half->map, half->self) && node_is_up(half->map, outlet->node) &&
           half->map->node[outlet->node].id == outlet->node_id &&
           half->map->node[outlet->node].incarnation == outlet->incarnation &&
           half->map->node[half->self].incarnation == outlet->own_incarnation;
}

void outlets_follow_map(struct half *half)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        struct outlet *outlet = half->outlet[node];
        if (outlet != NULL && !is_current(half, outlet)) { outlet_close(outlet, true); }
        bool is_wanted =
            node != half->self && node_is_up(half->map, half->self) && node_is_up(half->map, node);
        if (is_wanted && half->outlet[node] == NULL) { outlet_open(half, node); }
    }
}

void outlets_close(struct half *half, bool is_abrupt)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (half->outlet[node] != NULL) { outlet_close(half->outlet[node], is_abrupt); }
    }
}

void outlets_flush(struct half *half)
{
    for (uint32_t node = 0; half->map != NULL && node < half->map->node_count; node++) {
        struct outlet *outlet = half->outlet[node];
        if (outlet == NULL) { continue; }
        peer_out_flush(outlet->request);
        peer_out_flush(outlet->lane);
        uint64_t queued = peer_out_queued(outlet->request) - peer_out_sent(outlet->request) +
                          peer_out_queued(outlet->lane) - peer_out_sent(outlet->lane);
        atomic_store_explicit(&half->cluster->stat[node].queued_bytes[half->index], queued,
                              memory_order_relaxed);
    }
}
