/* lane: items are made and pushed; the cluster takes them from there. */
#include "pubsub/lane_int.h"

#include "base/mem.h"
#include "pubsub/table_int.h"

void lane_push(struct directory *d, struct lane_item *item, uint32_t worker)
{
    mailbox_push(d->member[worker].is.lanes, &item->task);
}

void directory_push_lane(struct directory *d, struct lane_item *item)
{
    lane_push(d, item, item->partition % d->worker_count);
}

void directory_wake_lanes(struct directory *d)
{
    for (uint32_t i = 0; i < d->worker_count; i++) {
        member_wake(d, i);
    }
}

struct lane_item *lane_item_empty(struct directory *d, uint32_t lane)
{
    struct lane_item *item = mem_new0(sizeof *item);
    item->task.run = d->member[lane].on_lane_item;
    item->remote_arg = d->member[lane].remote_arg;
    return item;
}

struct lane_item *lane_item_new(struct directory *d, enum lane_item_type type, uint64_t nodes,
                                uint32_t partition)
{
    struct lane_item *item = lane_item_empty(d, partition % d->worker_count);
    item->type = type;
    item->nodes = nodes;
    item->partition = partition;
    item->epoch = d->partition[partition].at.epoch;
    return item;
}

bool lane_orders(const struct directory *d, const struct run *run)
{
    const struct remote_partition *at = &d->partition[run->partition].at;
    return at->phase == PARTITION_OWNED && (run->epoch == 0 || run->epoch == at->epoch);
}

static atomic_size_t *lane_bytes(const struct directory *d, uint32_t worker, uint32_t node)
{
    return &d->lane_bytes[worker * REMOTE_NODES_MAX + node];
}

/* One run may pass the limit, however large it is: else it could never go. */
bool lane_has_room(const struct directory *d, struct run *run)
{
    uint32_t worker = run->partition % d->worker_count;
    for (uint64_t nodes = run->nodes; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        if (atomic_load(lane_bytes(d, worker, node)) > d->lane_bytes_max) {
            run->is_lane_full = true;
            run->full_node = node;
            return false;
        }
    }
    return true;
}

static void add_lane_bytes(struct directory *d, const struct run *run)
{
    uint32_t worker = run->partition % d->worker_count;
    for (uint64_t nodes = run->nodes; nodes != 0; nodes &= nodes - 1) {
        atomic_fetch_add(lane_bytes(d, worker, (uint32_t)__builtin_ctzll(nodes)), run->len);
    }
}

bool directory_lane_taken(struct directory *d, uint32_t worker, uint32_t node, size_t bytes)
{
    size_t before = atomic_fetch_sub(lane_bytes(d, worker, node), bytes);
    CHECK(before >= bytes);
    return before > d->lane_bytes_max && before - bytes <= d->lane_bytes_max;
}

void lane_push_run(struct directory *d, const struct run *run, struct shipment *shipment,
                   bool *woken)
{
    add_lane_bytes(d, run);
    struct lane_item *item = lane_item_new(d, LANE_RUN, run->nodes, run->partition);
    item->kind = run->kind;
    item->message_count = run->message_count;
    item->span = (struct span){block_ref(run->block), run->data, run->len};
    item->shipment = shipment;
    struct partition *p = &d->partition[run->partition];
    lock_take(&p->lock);
    item->seq = p->at.seq + 1;
    p->at.seq += run->message_count;
    directory_push_lane(d, item);
    lock_release(&p->lock);
    woken[run->partition % d->worker_count] = true;
}
