/* accepted: one peer's connection from the moment on which it is entered: what it is answered, when it is not read, when
 * it is given up. What comes in on it goes its way in accept.c. */
#include "cluster/accepted.h"

#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "cluster/guests.h"

void accepted_free_if_done(struct accepted_peer *accepted)
{
    if (accepted->in != NULL || accepted->outstanding > 0) { return; }
    mem_free(accepted);
}

void accepted_answer(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    if (accepted->in == NULL) { return; }
    struct buf *head = &accepted->cw->head;
    head->len = 0;
    wire_encode(head, frame);
    peer_in_send(accepted->in, buf_slice(head));
}

void accepted_answer_large(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    if (wire_frame_bytes(frame) <= PEER_COPY_BYTES_MAX) {
        accepted_answer(accepted, frame);
    } else if (accepted->in != NULL) {
        struct span span = wire_span(frame);
        peer_in_send_span(accepted->in, &span);
        block_unref(span.block);
    }
}

void accepted_release(struct accepted_peer *accepted)
{
    CHECK(accepted->outstanding > 0);
    accepted->outstanding--;
    accepted_free_if_done(accepted);
}

/* Requests of a node that is gone are not served any more; its lanes end by themselves, or accepted_tick ends
 * them. */
void accepted_follow_map(struct cluster_worker *cw)
{
    LIST_EACH (at, &cw->accepted) {
        struct accepted_peer *accepted = CONTAINER_OF(at, struct accepted_peer, link);
        bool is_current = node_is_up(cw->map, accepted->node) &&
                          cw->map->node[accepted->node].incarnation == accepted->incarnation;
        if (!is_current && !accepted->is_lane && accepted->in != NULL) {
            peer_in_close(accepted->in, true);
        }
    }
}

void accepted_tick(struct cluster_worker *cw)
{
    uint64_t now_ns = worker_now_ns(cw->worker);
    LIST_EACH (at, &cw->accepted) {
        struct accepted_peer *accepted = CONTAINER_OF(at, struct accepted_peer, link);
        bool is_current = node_is_up(cw->map, accepted->node) &&
                          cw->map->node[accepted->node].incarnation == accepted->incarnation;
        if (!accepted->is_lane) { guests_tick(accepted); }
        if (is_current) {
            accepted->gone_ns = 0;
        } else if (accepted->gone_ns == 0) {
            accepted->gone_ns = now_ns;
        } else if (now_ns - accepted->gone_ns > DEAD_LANE_NS && accepted->in != NULL) {
            peer_in_close(accepted->in, true);
        }
    }
}

/* Publishes of other nodes are not read while our own could not be. */
void accepted_turn(struct cluster_worker *cw)
{
    if (list_is_empty(&cw->accepted)) { return; }
    bool is_congested = fanout_is_congested(cw->fanout);
    if (is_congested == cw->accepted_is_paused || cw->stopped != NULL) { return; }
    cw->accepted_is_paused = is_congested;
    LIST_EACH (at, &cw->accepted) {
        struct accepted_peer *accepted = CONTAINER_OF(at, struct accepted_peer, link);
        if (accepted->is_lane || accepted->in == NULL) { continue; }
        if (is_congested) {
            peer_in_pause(accepted->in);
        } else {
            peer_in_resume(accepted->in);
        }
    }
}
