/* inlets: the connections that other nodes' workers have dialled to this node. */
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/guests.h"
#include "cluster/publishes.h"

/* ---- hello ---- */

static const char *reason_to_refuse(const struct half *half, const struct wire_hello *hello,
                                    uint32_t *node)
{
    const struct pmap *map = half->map;
    if (map == NULL || !node_is_up(map, half->self)) { return "this node is no member yet"; }
    if (hello->cluster_id != map->cluster_id) { return "it belongs to another cluster"; }
    if (hello->to_node_id != map->node[half->self].id) { return "it looks for another node"; }
    *node = pmap_find_id(map, hello->node_id);
    if (*node == PMAP_NOBODY || !node_is_up(map, *node) ||
        map->node[*node].incarnation != hello->incarnation ||
        atomic_load(&half->cluster->known_incarnation[*node]) != hello->incarnation) {
        return "it is not a member as this node knows them";
    }
    if (hello->worker_count == 0 || hello->worker_count > LANES_MAX ||
        hello->worker >= hello->worker_count) {
        return "its worker numbers make no sense";
    }
    return NULL;
}

static void close_inlet(struct event *event)
{
    LIST_EACH (at, &event->half->inlets) {
        struct inlet *inlet = CONTAINER_OF(at, struct inlet, link);
        if (inlet == event->pointer && inlet->in != NULL) { peer_in_close(inlet->in, true); }
    }
}

static struct inlet **place_of(struct inlet *inlet)
{
    struct cluster *c = inlet->half->cluster;
    return inlet->is_lane ? &c->from[inlet->node].lane[inlet->worker]
                          : &c->from[inlet->node].request[inlet->worker];
}

/* Enter the connection. One of that worker is open already: that one is broken, and what is still in it has to
 * be dealt with before anything of the new one. */
static const char *enter(struct inlet *inlet, uint32_t worker_count)
{
    struct cluster *c = inlet->half->cluster;
    lock_take(&c->lock);
    struct inlet **place = place_of(inlet);
    struct half *old_half = *place != NULL ? (*place)->half : NULL;
    struct inlet *old = *place;
    if (old == NULL) {
        *place = inlet;
        if (inlet->is_lane) { inlet->number = ++c->lane_number; }
        c->from[inlet->node].worker_count = worker_count;
    }
    lock_release(&c->lock);
    if (old == NULL) { return NULL; }
    event_post(old_half, (struct event){.run = close_inlet, .pointer = old});
    return "its previous connection has not ended yet";
}

static void lane_end(struct inlet *inlet)
{
    struct cluster *c = inlet->half->cluster;
    lock_take(&c->lock);
    inlet->is_ended = true;
    lock_release(&c->lock);
}

static void leave(struct inlet *inlet)
{
    struct cluster *c = inlet->half->cluster;
    lock_take(&c->lock);
    struct inlet **place = place_of(inlet);
    CHECK(*place == inlet);
    *place = NULL;
    lock_release(&c->lock);
}

static void *on_hello(void *arg, struct peer_in *in, const struct wire_hello *hello,
                      const char **why)
{
    struct half *half = arg;
    uint32_t node = PMAP_NOBODY;
    *why = reason_to_refuse(half, hello, &node);
    if (*why != NULL) { return NULL; }
    struct inlet *inlet = mem_new0(sizeof *inlet);
    inlet->half = half;
    inlet->in = in;
    inlet->node = node;
    inlet->node_id = hello->node_id;
    inlet->incarnation = hello->incarnation;
    inlet->is_lane = hello->is_lane;
    inlet->worker = hello->worker;
    list_init(&inlet->guests);
    *why = enter(inlet, hello->worker_count);
    if (*why != NULL) {
        mem_free(inlet);
        return NULL;
    }
    if (inlet->is_lane) { moves_soon(half->cluster); }
    list_push_back(&half->inlets, &inlet->link);
    return inlet;
}

/* ---- frames ---- */

static bool on_request_frame(struct inlet *inlet, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_PUBLISH: return publishes_on_request(inlet, &frame->publish);
    case WIRE_INTEREST: return interest_on_request(inlet, &frame->interest);
    case WIRE_SYNC:
        return frame->sync.is_patterns ? interest_on_patterns(inlet, &frame->sync)
                                       : moves_on_sync(inlet, &frame->sync);
    case WIRE_QUERY: return ask_owners_on_query(inlet, &frame->query);
    case WIRE_ASK_END: return moves_on_ask_end(inlet, &frame->ask_end);
    case WIRE_COMMAND: return guests_on_command(inlet, &frame->command);
    case WIRE_UNPARK: return guests_on_unpark(inlet, &frame->unpark);
    case WIRE_LEADS: return commands_on_leads(inlet->half->cluster, inlet->node, &frame->leads);
    case WIRE_ASK_LEADS: return commands_on_ask_leads(inlet, &frame->leads);
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISHED:
    case WIRE_ANSWER:
    case WIRE_DELIVER:
    case WIRE_INTEREST_ACK:
    case WIRE_END:
    case WIRE_READY:
    case WIRE_EXECUTED: return false;
    }
    return false;
}

static bool on_frame(void *object, const struct wire_frame *frame)
{
    struct inlet *inlet = object;
    return inlet->is_lane ? lanes_on_frame(inlet, frame) : on_request_frame(inlet, frame);
}

static void on_batch_end(void *object)
{
    struct inlet *inlet = object;
    if (!inlet->is_lane) { interest_on_batch_end(inlet); }
}

static void inlet_free_if_done(struct inlet *inlet)
{
    if (inlet->in != NULL || inlet->outstanding > 0) { return; }
    mem_free(inlet);
}

static void on_closed(void *object, bool is_clean)
{
    struct inlet *inlet = object;
    inlet->in = NULL;
    list_remove(&inlet->link);
    /* No stream begins on a lane; then those that it had end; then there may be a new one. */
    if (inlet->is_lane) {
        lane_end(inlet);
        lanes_on_closed(inlet, is_clean);
    }
    if (!inlet->is_lane) { guests_on_closed(inlet); } /* before the next one may ask the same */
    leave(inlet);
    if (!inlet->is_lane) { publishes_on_closed(inlet); }
    inlet_free_if_done(inlet);
}

void inlet_answer(struct inlet *inlet, const struct wire_frame *frame)
{
    if (inlet->in == NULL) { return; }
    struct buf *head = &inlet->half->head;
    head->len = 0;
    wire_encode(head, frame);
    peer_in_send(inlet->in, buf_slice(head));
}

void inlet_answer_large(struct inlet *inlet, const struct wire_frame *frame)
{
    if (wire_frame_bytes(frame) <= PEER_COPY_BYTES_MAX) {
        inlet_answer(inlet, frame);
    } else if (inlet->in != NULL) {
        struct span span = wire_span(frame);
        peer_in_send_span(inlet->in, &span);
        block_unref(span.block);
    }
}

void inlet_release(struct inlet *inlet)
{
    CHECK(inlet->outstanding > 0);
    inlet->outstanding--;
    inlet_free_if_done(inlet);
}

/* ---- life ---- */

const struct peer_in_ops inlet_ops = {
    .on_hello = on_hello,
    .on_frame = on_frame,
    .on_closed = on_closed,
    .on_batch_end = on_batch_end,
};

static void on_arrival(struct event *event)
{
    struct half *half = event->half;
    int fd = (int)event->a;
    if (atomic_load(&half->cluster->is_stopping)) {
        CHECK(close(fd) == 0);
        return;
    }
    peer_in_open(half->hub, fd);
}

void inlets_accept(void *arg, int fd)
{
    struct cluster *c = arg;
    struct half *half = c->half[c->next_worker++ % c->worker_count];
    event_post(half, (struct event){.run = on_arrival, .a = (uint64_t)fd});
}

/* Requests of a node that is gone are not served any more; its lanes end by themselves, or inlets_tick ends
 * them. */
void inlets_follow_map(struct half *half)
{
    LIST_EACH (at, &half->inlets) {
        struct inlet *inlet = CONTAINER_OF(at, struct inlet, link);
        bool is_current = node_is_up(half->map, inlet->node) &&
                          half->map->node[inlet->node].incarnation == inlet->incarnation;
        if (!is_current && !inlet->is_lane && inlet->in != NULL) { peer_in_close(inlet->in, true); }
    }
}

void inlets_tick(struct half *half)
{
    uint64_t now_ns = worker_now_ns(half->worker);
    LIST_EACH (at, &half->inlets) {
        struct inlet *inlet = CONTAINER_OF(at, struct inlet, link);
        bool is_current = node_is_up(half->map, inlet->node) &&
                          half->map->node[inlet->node].incarnation == inlet->incarnation;
        if (is_current) {
            inlet->gone_ns = 0;
        } else if (inlet->gone_ns == 0) {
            inlet->gone_ns = now_ns;
        } else if (now_ns - inlet->gone_ns > DEAD_LANE_NS && inlet->in != NULL) {
            peer_in_close(inlet->in, true);
        }
    }
}

/* Publishes of other nodes are not read while our own could not be. */
void inlets_turn(struct half *half)
{
    if (list_is_empty(&half->inlets)) { return; }
    bool is_congested = fanout_is_congested(half->fanout);
    if (is_congested == half->is_held || half->stopped != NULL) { return; }
    half->is_held = is_congested;
    LIST_EACH (at, &half->inlets) {
        struct inlet *inlet = CONTAINER_OF(at, struct inlet, link);
        if (inlet->is_lane || inlet->in == NULL) { continue; }
        if (is_congested) {
            peer_in_pause(inlet->in);
        } else {
            peer_in_resume(inlet->in);
        }
    }
}
