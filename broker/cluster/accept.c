/* accept: the connections that other nodes' workers have dialled to this node: who may, and where what they bring goes. */
#include "cluster/accept.h"

#include <unistd.h>

#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/ask_members.h"
#include "cluster/ask_owners.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/guests.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"
#include "cluster/lanes.h"
#include "cluster/publishes.h"

/* ---- hello ---- */

static const char *reason_to_refuse(const struct cluster_worker *cw, struct peer_in *in,
                                    const struct wire_hello *hello, uint32_t *node)
{
    const struct pmap *map = cw->map;
    if (map == NULL || !node_is_up(map, cw->self)) { return "this node is no member yet"; }
    if (hello->cluster_id != map->cluster_id) { return "it belongs to another cluster"; }
    if (hello->to_node_id != map->node[cw->self].id) { return "it looks for another node"; }
    *node = pmap_find_id(map, hello->node_id);
    if (*node == PMAP_NOBODY || !node_is_up(map, *node) ||
        map->node[*node].incarnation != hello->incarnation ||
        atomic_load(&cw->cluster->known_incarnation[*node]) != hello->incarnation) {
        return "it is not a member as this node knows them";
    }
    if (!peer_in_is_of(in, map->node[*node].name)) { return "its certificate is another node's"; }
    if (hello->worker_count == 0 || hello->worker_count > LANES_MAX ||
        hello->worker >= hello->worker_count) {
        return "its worker numbers make no sense";
    }
    return NULL;
}

static void close_accepted(struct event *event)
{
    LIST_EACH (at, &event->cw->accepted) {
        struct accepted_peer *accepted = CONTAINER_OF(at, struct accepted_peer, link);
        if (accepted == event->pointer && accepted->in != NULL) {
            peer_in_close(accepted->in, true);
        }
    }
}

static struct accepted_peer **slot_of(struct accepted_peer *accepted)
{
    struct cluster *c = accepted->cw->cluster;
    return accepted->is_lane ? &c->from[accepted->node].lane[accepted->worker]
                             : &c->from[accepted->node].request[accepted->worker];
}

/* Enter the connection. One of that worker is open already: that one is broken, and what is still in it has to
 * be dealt with before anything of the new one. */
static const char *enter(struct accepted_peer *accepted, uint32_t worker_count)
{
    struct cluster *c = accepted->cw->cluster;
    lock_take(&c->lock);
    struct accepted_peer **slot = slot_of(accepted);
    struct cluster_worker *old_cw = *slot != NULL ? (*slot)->cw : NULL;
    struct accepted_peer *old = *slot;
    if (old == NULL) {
        *slot = accepted;
        if (accepted->is_lane) { accepted->number = ++c->lane_number; }
        c->from[accepted->node].worker_count = worker_count;
    }
    lock_release(&c->lock);
    if (old == NULL) { return NULL; }
    event_post(old_cw, (struct event){.run = close_accepted, .pointer = old});
    return "its previous connection has not ended yet";
}

static void lane_end(struct accepted_peer *accepted)
{
    struct cluster *c = accepted->cw->cluster;
    lock_take(&c->lock);
    accepted->is_ended = true;
    lock_release(&c->lock);
}

static void leave(struct accepted_peer *accepted)
{
    struct cluster *c = accepted->cw->cluster;
    lock_take(&c->lock);
    struct accepted_peer **slot = slot_of(accepted);
    CHECK(*slot == accepted);
    *slot = NULL;
    lock_release(&c->lock);
}

static void *on_hello(void *arg, struct peer_in *in, const struct wire_hello *hello,
                      const char **why)
{
    struct cluster_worker *cw = arg;
    uint32_t node = PMAP_NOBODY;
    *why = reason_to_refuse(cw, in, hello, &node);
    if (*why != NULL) { return NULL; }
    struct accepted_peer *accepted = mem_new0(sizeof *accepted);
    accepted->cw = cw;
    accepted->in = in;
    accepted->node = node;
    accepted->node_id = hello->node_id;
    accepted->incarnation = hello->incarnation;
    accepted->is_lane = hello->is_lane;
    accepted->worker = hello->worker;
    list_init(&accepted->guests);
    *why = enter(accepted, hello->worker_count);
    if (*why != NULL) {
        mem_free(accepted);
        return NULL;
    }
    if (accepted->is_lane) { handovers_soon(cw->cluster); }
    list_push_back(&cw->accepted, &accepted->link);
    return accepted;
}

/* ---- frames ---- */

static bool on_query(struct accepted_peer *accepted, const struct wire_query *query)
{
    switch (query->what) {
    case WIRE_QUERY_NAMES:
    case WIRE_QUERY_COUNTS: return ask_owners_on_query(accepted, query);
    case WIRE_QUERY_REFUSALS:
    case WIRE_QUERY_FORGET_REFUSALS: ask_members_on_query(accepted, query); return true;
    }
    return false;
}

static bool on_request_frame(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_PUBLISH: return publishes_on_request(accepted, &frame->publish);
    case WIRE_INTEREST: return interest_on_request(accepted, &frame->interest);
    case WIRE_SYNC:
        return frame->sync.is_patterns ? interest_on_patterns(accepted, &frame->sync)
                                       : handovers_on_sync(accepted, &frame->sync);
    case WIRE_QUERY: return on_query(accepted, &frame->query);
    case WIRE_ASK_END: return handovers_on_ask_end(accepted, &frame->ask_end);
    case WIRE_COMMAND: return guests_on_command(accepted, &frame->command);
    case WIRE_UNPARK: return guests_on_unpark(accepted, &frame->unpark);
    case WIRE_LEADS: return commands_on_leads(accepted->cw->cluster, accepted->node, &frame->leads);
    case WIRE_ASK_LEADS: return commands_on_ask_leads(accepted, &frame->leads);
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISHED:
    case WIRE_QUERY_ANSWER:
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
    struct accepted_peer *accepted = object;
    return accepted->is_lane ? lanes_on_frame(accepted, frame) : on_request_frame(accepted, frame);
}

static void on_batch_end(void *object)
{
    struct accepted_peer *accepted = object;
    if (!accepted->is_lane) { interest_on_batch_end(accepted); }
}

static void on_closed(void *object, bool is_clean)
{
    struct accepted_peer *accepted = object;
    accepted->in = NULL;
    list_remove(&accepted->link);
    /* No stream begins on a lane; then those that it had end; then there may be a new one. */
    if (accepted->is_lane) {
        lane_end(accepted);
        lanes_on_closed(accepted, is_clean);
    }
    if (!accepted->is_lane) {
        guests_on_closed(accepted);
    } /* before the next one may ask the same */
    leave(accepted);
    if (!accepted->is_lane) { publishes_on_closed(accepted); }
    accepted_free_if_done(accepted);
}

/* ---- life ---- */

const struct peer_in_ops accept_ops = {
    .on_hello = on_hello,
    .on_frame = on_frame,
    .on_closed = on_closed,
    .on_batch_end = on_batch_end,
};

static void on_arrival(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    int fd = (int)event->a;
    if (atomic_load(&cw->cluster->is_stopping)) {
        CHECK(close(fd) == 0);
        return;
    }
    peer_in_open(cw->hub, fd);
}

void accept_fd(void *arg, int fd)
{
    struct cluster *c = arg;
    struct cluster_worker *cw = c->worker[c->next_worker++ % c->worker_count];
    event_post(cw, (struct event){.run = on_arrival, .a = (uint64_t)fd});
}
