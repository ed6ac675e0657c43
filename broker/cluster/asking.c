/* asking: see the header. */
#include "cluster/asking.h"

#include <string.h>

#include "base/clock.h"
#include "cluster/cluster_int.h"
#include "cluster/dialled.h"

static struct asking *asking_at(struct list *link)
{
    return CONTAINER_OF(link, struct asking, link);
}

static void begin(struct asking *q)
{
    q->is_begun = q->ops->can_begin(q->cw);
    if (!q->is_begun) { return; }
    q->left = 0;
    memset(q->id, 0, sizeof q->id);
    q->ops->begin(q);
}

static void end(struct asking *q, enum err err)
{
    list_remove(&q->link);
    q->ops->end(q, err);
}

void asking_start(struct asking *q, struct cluster_worker *cw, const struct asking_ops *ops)
{
    q->ops = ops;
    q->cw = cw;
    q->since_ns = clock_mono_ns();
    list_push_back(&cw->askings, &q->link);
    begin(q);
    cluster_worker_look(cw);
}

void asking_send(struct asking *q, uint32_t node, struct wire_query *query)
{
    struct dialled_peer *dialled = q->cw->dialled[node];
    query->id = q->id[node] = ++q->cw->next_id;
    q->left++;
    const struct wire_frame frame = {.type = WIRE_QUERY, .query = *query};
    dialled_send(dialled, dialled->request, &frame);
}

static struct asking *find(struct cluster_worker *cw, uint32_t node, uint64_t id)
{
    LIST_EACH (at, &cw->askings) {
        struct asking *q = asking_at(at);
        if (q->is_begun && id != 0 && q->id[node] == id) { return q; }
    }
    return NULL;
}

void askings_on_answer(struct dialled_peer *dialled, const struct wire_query_answer *answer)
{
    struct asking *q = find(dialled->cw, dialled->node, answer->id);
    if (q == NULL) { return; }
    if (!q->ops->take(q, dialled->node, answer)) {
        q->is_begun = false; /* once more, at the next tick */
        return;
    }
    if (!answer->is_last) { return; }
    q->id[dialled->node] = 0;
    q->left--;
    cluster_worker_look(dialled->cw);
}

void askings_on_down(struct cluster_worker *cw)
{
    LIST_EACH (at, &cw->askings) {
        struct asking *q = asking_at(at);
        if (q->left > 0) { q->is_begun = false; }
    }
}

void askings_turn(struct cluster_worker *cw)
{
    LIST_EACH (at, &cw->askings) {
        struct asking *q = asking_at(at);
        if (q->is_begun && q->left == 0) { end(q, ERR_OK); }
    }
}

void askings_tick(struct cluster_worker *cw)
{
    uint64_t since_ns = clock_mono_ns() - (uint64_t)cw->cluster->opts.timeout_ms * NS_PER_MS;
    LIST_EACH (at, &cw->askings) {
        struct asking *q = asking_at(at);
        if (q->since_ns <= since_ns || atomic_load(&cw->cluster->is_stopping)) {
            end(q, ERR_CLUSTER_DOWN);
        } else if (!q->is_begun || (q->ops->is_stale != NULL && q->ops->is_stale(q))) {
            begin(q);
        }
    }
}

void askings_stop(struct cluster_worker *cw)
{
    LIST_EACH (at, &cw->askings) {
        end(asking_at(at), ERR_CLUSTER_DOWN);
    }
}
