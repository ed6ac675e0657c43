/* dialled: what is sent to another node. */
#include "cluster/dialled.h"

#include "cluster/cluster_int.h"

void dialled_send(struct dialled_peer *dialled, struct peer_out *out,
                  const struct wire_frame *frame)
{
    struct buf *head = &dialled->cw->head;
    head->len = 0;
    wire_encode(head, frame);
    peer_out_send(out, buf_slice(head), NULL);
}

void dialled_send_run(struct dialled_peer *dialled, struct peer_out *out,
                      const struct wire_frame *frame, const struct span *body)
{
    struct buf *head = &dialled->cw->head;
    head->len = 0;
    wire_encode_head(head, frame);
    peer_out_send(out, buf_slice(head), body);
}

void dialled_send_large(struct dialled_peer *dialled, const struct wire_frame *frame)
{
    if (wire_frame_bytes(frame) <= PEER_COPY_BYTES_MAX) {
        dialled_send(dialled, dialled->request, frame);
        return;
    }
    struct span span = wire_span(frame);
    peer_out_send(dialled->request, SLICE(""), &span);
    block_unref(span.block);
}

struct flights *dialled_connection(void *arg, uint32_t node)
{
    const struct cluster_worker *cw = arg;
    struct dialled_peer *dialled = cw->dialled[node];
    return dialled_can_ask(dialled) ? &dialled->flights : NULL;
}

uint64_t dialled_send_request(struct flights *flights, const struct request *request,
                              const struct wire_frame *frame, const struct span *body)
{
    struct dialled_peer *dialled = CONTAINER_OF(flights, struct dialled_peer, flights);
    struct peer_stat *stat = &dialled->cw->cluster->stat[dialled->node];
    atomic_fetch_add_explicit(&stat->sent_publishes, request->count, memory_order_relaxed);
    if (body != NULL) {
        dialled_send_run(dialled, dialled->request, frame, body);
    } else {
        dialled_send(dialled, dialled->request, frame);
    }
    return peer_out_queued(dialled->request);
}

void dialled_flush(struct cluster_worker *cw)
{
    for (uint32_t node = 0; cw->map != NULL && node < cw->map->node_count; node++) {
        struct dialled_peer *dialled = cw->dialled[node];
        if (dialled == NULL) { continue; }
        peer_out_flush(dialled->request);
        peer_out_flush(dialled->lane);
        uint64_t queued = peer_out_queued(dialled->request) - peer_out_sent(dialled->request) +
                          peer_out_queued(dialled->lane) - peer_out_sent(dialled->lane);
        atomic_store_explicit(&cw->cluster->stat[node].queued_bytes[cw->index], queued,
                              memory_order_relaxed);
    }
}
