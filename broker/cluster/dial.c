/* dial: which nodes a worker dials, and what follows when a connection comes up, is lost, or brings a frame. */
#include "cluster/dial.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/asking.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/dialled.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"
#include "cluster/lanes.h"
#include "cluster/publishes.h"

/* ---- up and down ---- */

static void on_request_up(void *arg)
{
    struct dialled_peer *dialled = arg;
    struct cluster *c = dialled->cw->cluster;
    atomic_fetch_add(&c->stat[dialled->node].requests_up, 1);
    atomic_store(&c->stat[dialled->node].up_wall_ms, clock_wall_us() / 1000);
    if (dialled->cw->index == 0) {
        interest_node_gone(dialled->cw, dialled->node);
        commands_tell_leads(dialled);
        handovers_progress(c);
    }
    cluster_worker_look(dialled->cw);
    commands_look(dialled->cw);
}

static void on_lost(struct event *event)
{
    handovers_request_lost(event->cw->cluster, event->node);
}

/* It was up: requests on their way are lost, so the owner's snapshot of our interest may be wrong. */
static void request_lost(struct dialled_peer *dialled, uint64_t unsent_from)
{
    struct cluster_worker *cw = dialled->cw;
    atomic_fetch_sub(&cw->cluster->stat[dialled->node].requests_up, 1);
    requests_on_down(&cw->requests, &dialled->flights, unsent_from);
    commands_on_down(cw, dialled->node);
    askings_on_down(cw);
    if (atomic_load(&cw->cluster->is_stopping)) { return; }
    event_post(cluster_worker_0(cw->cluster),
               (struct event){.run = on_lost, .node = dialled->node});
    cluster_worker_look(cw);
}

static void on_request_down(void *arg, uint64_t unsent_from)
{
    struct dialled_peer *dialled = arg;
    if (dialled->request_is_up) {
        dialled->request_is_up = false;
        request_lost(dialled, unsent_from);
    }
}

static void on_request_connected(void *arg)
{
    struct dialled_peer *dialled = arg;
    dialled->request_is_up = true;
    on_request_up(arg);
}

static bool on_request_frame(void *arg, const struct wire_frame *frame)
{
    struct dialled_peer *dialled = arg;
    switch (frame->type) {
    case WIRE_PUBLISHED: publishes_on_answer(dialled, frame); return true;
    case WIRE_QUERY_ANSWER: askings_on_answer(dialled, &frame->answer); return true;
    case WIRE_EXECUTED: return commands_on_executed(dialled, &frame->executed);
    case WIRE_LEADS: return commands_on_leads(dialled->cw->cluster, dialled->node, &frame->leads);
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
    struct dialled_peer *dialled = arg;
    dialled->lane_is_up = true;
    atomic_fetch_add(&dialled->cw->cluster->stat[dialled->node].lanes_up, 1);
}

static void on_lane_down(void *arg, uint64_t unsent_from)
{
    (void)unsent_from;
    struct dialled_peer *dialled = arg;
    if (dialled->lane_is_up) {
        dialled->lane_is_up = false;
        atomic_fetch_sub(&dialled->cw->cluster->stat[dialled->node].lanes_up, 1);
    }
    lanes_on_down(dialled);
}

static bool on_lane_frame(void *arg, const struct wire_frame *frame)
{
    (void)arg;
    (void)frame;
    return false;
}

/* ---- following the map ---- */

static struct peer_out *dial(struct dialled_peer *dialled, bool is_lane)
{
    struct cluster_worker *cw = dialled->cw;
    const struct pmap_node *self = &cw->map->node[cw->self];
    const struct pmap_node *node = &cw->map->node[dialled->node];
    const struct peer_out_opts opts = {
        .hub = cw->hub,
        .hello = {.version = WIRE_VERSION,
                  .features = WIRE_FEATURES,
                  .cluster_id = cw->map->cluster_id,
                  .node_id = self->id,
                  .incarnation = self->incarnation,
                  .to_node_id = node->id,
                  .is_lane = is_lane,
                  .worker = cw->index,
                  .worker_count = cw->cluster->worker_count},
        .host = node->peer.host,
        .port = node->peer.port,
        .node_name = node->name,
        .on_up = is_lane ? on_lane_up : on_request_connected,
        .on_down = is_lane ? on_lane_down : on_request_down,
        .on_frame = is_lane ? on_lane_frame : on_request_frame,
        .arg = dialled,
    };
    return peer_out_new(&opts);
}

static void open_peer(struct cluster_worker *cw, uint32_t node)
{
    struct dialled_peer *dialled = mem_new0(sizeof *dialled);
    cw->dialled[node] = dialled;
    dialled->cw = cw;
    dialled->node = node;
    dialled->node_id = cw->map->node[node].id;
    dialled->incarnation = cw->map->node[node].incarnation;
    dialled->own_incarnation = cw->map->node[cw->self].incarnation;
    flights_init(&dialled->flights);
    list_init(&dialled->on_lane);
    dialled->request = dial(dialled, false);
    dialled->lane = dial(dialled, true);
}

static void close_peer(struct dialled_peer *dialled, bool is_abrupt)
{
    struct cluster_worker *cw = dialled->cw;
    uint64_t unsent_from = peer_out_sent(dialled->request);
    peer_out_free(dialled->request, is_abrupt);
    on_request_down(dialled, unsent_from);
    peer_out_free(dialled->lane, is_abrupt);
    on_lane_down(dialled, 0);
    cw->dialled[dialled->node] = NULL;
    CHECK(list_is_empty(&dialled->on_lane));
    flights_fini(&dialled->flights);
    mem_free(dialled);
}

static bool is_current(const struct cluster_worker *cw, const struct dialled_peer *dialled)
{
    return node_is_up(cw->map, cw->self) && node_is_up(cw->map, dialled->node) &&
           cw->map->node[dialled->node].id == dialled->node_id &&
           cw->map->node[dialled->node].incarnation == dialled->incarnation &&
           cw->map->node[cw->self].incarnation == dialled->own_incarnation;
}

void dial_follow_map(struct cluster_worker *cw)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        struct dialled_peer *dialled = cw->dialled[node];
        if (dialled != NULL && !is_current(cw, dialled)) { close_peer(dialled, true); }
        bool is_wanted =
            node != cw->self && node_is_up(cw->map, cw->self) && node_is_up(cw->map, node);
        if (is_wanted && cw->dialled[node] == NULL) { open_peer(cw, node); }
    }
}

void dial_close_all(struct cluster_worker *cw, bool is_abrupt)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (cw->dialled[node] != NULL) { close_peer(cw->dialled[node], is_abrupt); }
    }
}
