/* publishes: shipments as requests, here and there. */
#include "cluster/publishes.h"

#include "cluster/accepted.h"
#include "cluster/cluster_int.h"
#include "cluster/dialled.h"
#include "pubsub/msg.h"

/* ---- as a request ---- */

/* In the shipment's room. */
struct publish {
    struct request request;
    struct cluster_worker *cw;
};
_Static_assert(sizeof(struct publish) <= SHIPMENT_ROOM_BYTES, "a publish has outgrown its room");

static struct shipment *shipment_of(const struct request *request)
{
    return CONTAINER_OF((uintptr_t)request, struct shipment, room);
}

static const struct span *encode(const struct request *request, struct wire_frame *frame)
{
    const struct shipment *s = shipment_of(request);
    *frame = (struct wire_frame){
        .type = WIRE_PUBLISH,
        .publish = {.id = request->id,
                    .partition = s->partition,
                    .epoch = request->sent_epoch,
                    .kind = s->kind,
                    .count = s->message_count,
                    .data = slice_of(s->span.data, s->span.len)},
    };
    return &s->span;
}

/* A jam counts among what waits; our own clients' weigh on. */
static void count_jam(struct cluster_worker *cw, const struct shipment *s, bool is_in)
{
    uint64_t count = is_in ? s->message_count : -(uint64_t)s->message_count;
    size_t bytes = is_in ? s->span.len : -s->span.len;
    atomic_fetch_add_explicit(&cw->cluster->waiting_publishes, count, memory_order_relaxed);
    if (s->arg == NULL) {
        atomic_fetch_add_explicit(&cw->requests.bytes, bytes, memory_order_relaxed);
    }
}

/* Order it, or jam it. False: it cannot be ordered here now. */
static bool order(struct cluster_worker *cw, struct shipment *s)
{
    enum shipment_result result = jams_order(&cw->jams, s);
    if (UNLIKELY(result == SHIPMENT_LANE_FULL)) { count_jam(cw, s, true); }
    return result != SHIPMENT_ELSEWHERE;
}

/* Does this node own the partition, in that epoch, though it may not order at the moment? */
static bool is_owned(struct cluster *c, uint32_t partition, uint64_t epoch)
{
    const struct remote_partition at = directory_partition_peek(c->directory, partition);
    return at.phase == PARTITION_OWNED && at.epoch == epoch;
}

static bool run(struct request *request)
{
    struct cluster_worker *cw = CONTAINER_OF(request, struct publish, request)->cw;
    struct shipment *s = shipment_of(request);
    if (order(cw, s)) { return true; }
    bool is_void = s->arg != NULL && !is_owned(cw->cluster, s->partition, s->epoch);
    if (is_void) { shipment_settle(s, ERR_CLUSTER_DOWN, 0); }
    return is_void;
}

static void settle(struct request *request, enum err err, const struct wire_frame *answer)
{
    uint64_t receivers = err == ERR_OK ? answer->published.receivers : 0;
    shipment_settle(shipment_of(request), err, receivers);
}

static struct request *wrap(struct cluster_worker *cw, struct shipment *s)
{
    static const struct request_ops ops = {.encode = encode, .run = run, .settle = settle};
    struct publish *publish = (struct publish *)(void *)s->room;
    *publish = (struct publish){
        .request = {.ops = &ops,
                    .partition = s->partition,
                    .count = s->message_count,
                    .bytes = s->span.len,
                    .guest = s->arg,
                    .since_ns = s->since_ns},
        .cw = cw,
    };
    return &publish->request;
}

/* ---- this node's ---- */

void publishes_ship(void *arg, struct shipment *s)
{
    struct cluster_worker *cw = arg;
    requests_add(&cw->requests, wrap(cw, s));
}

bool publishes_must_wait(void *arg, uint32_t partition, enum topic_kind kind, struct slice channel)
{
    const struct cluster_worker *cw = arg;
    return requests_are_before(&cw->requests, partition) || jams_have(&cw->jams, kind, channel);
}

void publishes_unjammed(void *arg, const struct shipment *s)
{
    count_jam(arg, s, false);
}

void publishes_unjam(void *arg, struct shipment *s)
{
    struct cluster_worker *cw = arg;
    count_jam(cw, s, false);
    requests_put_back(&cw->requests, wrap(cw, s));
}

void publishes_flush(struct cluster_worker *cw, uint32_t partition)
{
    if (UNLIKELY(cw->jams.count > 0)) {
        const struct remote_partition at =
            directory_partition_peek(cw->cluster->directory, partition);
        if (at.phase != PARTITION_OWNED) { jams_leave(&cw->jams, partition); }
    }
    requests_flush(&cw->requests, partition);
}

void publishes_tick(struct cluster_worker *cw)
{
    jams_try(&cw->jams);
    requests_tick(&cw->requests);
}

void publishes_stop(struct cluster_worker *cw)
{
    jams_stop(&cw->jams);
    requests_stop(&cw->requests);
}

void publishes_on_answer(struct dialled_peer *dialled, const struct wire_frame *answer)
{
    requests_on_answer(&dialled->cw->requests, &dialled->flights, answer->published.id,
                       answer->published.status, answer);
}

/* ---- other nodes' ---- */

static void answer(struct shipment *s)
{
    struct accepted_peer *accepted = s->arg;
    const struct wire_frame frame = {
        .type = WIRE_PUBLISHED,
        .published = {.id = s->id,
                      .status = s->err == ERR_OK        ? WIRE_DONE
                                : s->err == ERR_INDOUBT ? WIRE_INDOUBT
                                                        : WIRE_NOT_OWNER,
                      .receivers = s->err == ERR_OK ? s->receivers : 0},
    };
    accepted_answer(accepted, &frame);
    accepted_release(accepted);
}

/* Refused while the lease has lapsed, it would be sent again behind what comes here next: then it waits for the lease,
 * and so does what comes behind it. */
bool publishes_on_request(struct accepted_peer *accepted, const struct wire_run *run)
{
    struct cluster_worker *cw = accepted->cw;
    struct cluster *c = cw->cluster;
    struct slice channel = msg_channel(run->kind, run->data.data);
    if (directory_partition_of(c->directory, channel) != run->partition) { return false; }
    atomic_fetch_add_explicit(&c->stat[accepted->node].received_publishes, run->count,
                              memory_order_relaxed);
    struct shipment *s = shipment_new(cw->fanout, run->kind, run->data, run->prefix_bytes,
                                      run->count, run->partition);
    s->id = run->id;
    s->epoch = run->epoch;
    s->on_settled = answer;
    s->arg = accepted;
    accepted->outstanding++;
    bool must_wait = requests_are_before(&cw->requests, run->partition);
    if (!must_wait && order(cw, s)) { return true; }
    if (is_owned(c, run->partition, run->epoch)) {
        requests_add(&cw->requests, wrap(cw, s));
    } else {
        shipment_settle(s, ERR_CLUSTER_DOWN, 0);
    }
    return true;
}

void publishes_on_closed(struct accepted_peer *accepted)
{
    if (accepted->outstanding == 0) { return; }
    jams_drop(&accepted->cw->jams, accepted);
    requests_drop(&accepted->cw->requests, accepted);
}
