/* requests: wait, send, run, answer, refuse. */
#include "cluster/requests.h"

#include "base/clock.h"
#include "base/mem.h"
#include "pubsub/partition.h"

static struct request *request_at(struct list *link)
{
    return CONTAINER_OF(link, struct request, link);
}

static struct request_queue *queue_of(const struct requests *requests, const struct request *r)
{
    return &requests->queue[r->partition];
}

/* ---- waiting ---- */

/* Enter before `at`, in one of the queue's lists. */
static void put_in(struct requests *requests, struct list *at, struct request *r)
{
    list_push_back(at, &r->link);
    queue_of(requests, r)->guest_count += r->guest != NULL;
    atomic_fetch_add_explicit(requests->opts.waiting, r->count, memory_order_relaxed);
}

static void take_out(struct requests *requests, struct request *r)
{
    list_remove(&r->link);
    queue_of(requests, r)->guest_count -= r->guest != NULL;
    atomic_fetch_sub_explicit(requests->opts.waiting, r->count, memory_order_relaxed);
}

static void weigh(struct requests *requests, const struct request *r)
{
    if (r->guest == NULL) {
        atomic_fetch_add_explicit(&requests->bytes, r->bytes, memory_order_relaxed);
    }
}

/* It is about to be somebody else's. */
static void unweigh(struct requests *requests, const struct request *r)
{
    if (r->guest == NULL) {
        atomic_fetch_sub_explicit(&requests->bytes, r->bytes, memory_order_relaxed);
    }
}

void requests_add(struct requests *requests, struct request *r)
{
    weigh(requests, r);
    put_in(requests, &queue_of(requests, r)->waiting, r);
    requests->opts.due(requests->opts.arg, r->partition);
}

void requests_put_back(struct requests *requests, struct request *r)
{
    weigh(requests, r);
    put_in(requests, queue_of(requests, r)->waiting.next, r);
    requests->opts.due(requests->opts.arg, r->partition);
}

static bool has_none(const struct request_queue *queue)
{
    return list_is_empty(&queue->waiting) && list_is_empty(&queue->refused);
}

bool requests_are_before(const struct requests *requests, uint32_t partition)
{
    const struct request_queue *queue = &requests->queue[partition];
    return queue->in_flight > 0 || !has_none(queue);
}

static void settle(struct requests *requests, struct request *r, enum err err,
                   const struct wire_frame *answer)
{
    unweigh(requests, r);
    r->ops->settle(r, err, answer);
}

/* ---- going ---- */

static struct slice key_of(const uint64_t *id)
{
    return slice_of((const char *)id, sizeof *id);
}

/* Of consecutive numbers: spread over all bits. */
static uint64_t hash_of(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15ULL;
}

static void send_all(struct requests *requests, struct list *list, struct flights *flights,
                     const struct remote_partition *at)
{
    LIST_EACH (link, list) {
        struct request *r = request_at(link);
        struct request_queue *queue = queue_of(requests, r);
        take_out(requests, r);
        r->id = ++requests->last_id;
        r->sent_epoch = at->epoch;
        struct wire_frame frame;
        const struct span *body = r->ops->encode(r, &frame);
        r->sent_end = requests->opts.send(flights, r, &frame, body);
        list_push_back(&flights->in_order, &r->link);
        r->by_id.key = key_of(&r->id);
        map_insert(&flights->by_id, &r->by_id, hash_of(r->id));
        queue->in_flight++;
        queue->in_flight_to = at->owner;
        queue->in_flight_epoch = at->epoch;
    }
}

/* False: something has to go on waiting. */
static bool run_all(struct requests *requests, struct list *list)
{
    LIST_EACH (at, list) {
        struct request *r = request_at(at);
        take_out(requests, r);
        unweigh(requests, r);
        if (!r->ops->run(r)) {
            weigh(requests, r);
            put_in(requests, at_next, r);
            return false;
        }
    }
    return true;
}

/* This node is not the owner any more: whoever asked here asks the new one. */
static void send_guests_away(struct requests *requests, struct request_queue *queue,
                             const void *guest)
{
    if (queue->guest_count == 0) { return; }
    LIST_EACH (at, &queue->waiting) {
        struct request *r = request_at(at);
        if (r->guest == NULL || (guest != NULL && r->guest != guest)) { continue; }
        take_out(requests, r);
        settle(requests, r, ERR_CLUSTER_DOWN, NULL);
    }
}

void requests_flush(struct requests *requests, uint32_t partition)
{
    const struct requests_opts *opts = &requests->opts;
    struct request_queue *queue = &requests->queue[partition];
    if (has_none(queue)) { return; }
    struct remote_partition at = directory_partition_peek(opts->directory, partition);
    if (at.phase != PARTITION_OWNED) { send_guests_away(requests, queue, NULL); }
    bool may_follow = queue->in_flight_to == at.owner && queue->in_flight_epoch == at.epoch &&
                      list_is_empty(&queue->refused);
    if (queue->in_flight > 0 && !may_follow) { return; } /* a client's order would be lost */
    if (at.phase == PARTITION_OWNED) {
        if (run_all(requests, &queue->refused)) { (void)run_all(requests, &queue->waiting); }
        return;
    }
    if (at.phase != PARTITION_READY) { return; }
    if (!list_is_empty(&queue->refused) && at.epoch <= queue->refused_epoch) { return; }
    struct flights *flights = opts->connection(opts->arg, at.owner);
    if (flights == NULL) { return; }
    send_all(requests, &queue->refused, flights, &at);
    send_all(requests, &queue->waiting, flights, &at);
}

/* ---- the answers ---- */

/* The owner did not execute it: it goes before everything that came after it, also of what was refused earlier. If it
 * is too old for that, it is over. */
static void refuse(struct requests *requests, struct request *r, uint64_t epoch)
{
    struct request_queue *queue = queue_of(requests, r);
    uint64_t timeout_ns = (uint64_t)requests->opts.timeout_ms * NS_PER_MS;
    if (clock_mono_ns() - r->since_ns >= timeout_ns) {
        settle(requests, r, ERR_CLUSTER_DOWN, NULL);
        return;
    }
    struct list *before = queue->refused.prev;
    while (before != &queue->refused && request_at(before)->id > r->id) {
        before = before->prev;
    }
    put_in(requests, before->next, r);
    queue->refused_epoch = epoch;
}

static void land(struct requests *requests, struct flights *flights, struct request *r)
{
    list_remove(&r->link);
    map_remove(&flights->by_id, &r->by_id);
    struct request_queue *queue = queue_of(requests, r);
    CHECK(queue->in_flight > 0);
    queue->in_flight--;
    requests->opts.due(requests->opts.arg, r->partition);
}

void requests_on_answer(struct requests *requests, struct flights *flights, uint64_t id,
                        enum wire_status status, const struct wire_frame *answer)
{
    struct map_node *node = map_find(&flights->by_id, key_of(&id), hash_of(id));
    if (node == NULL) { return; }
    struct request *r = CONTAINER_OF(node, struct request, by_id);
    land(requests, flights, r);
    switch (status) {
    case WIRE_DONE: settle(requests, r, ERR_OK, answer); break;
    case WIRE_INDOUBT: settle(requests, r, ERR_INDOUBT, NULL); break;
    case WIRE_NOT_OWNER: refuse(requests, r, r->sent_epoch); break;
    }
}

void requests_on_down(struct requests *requests, struct flights *flights, uint64_t unsent_from)
{
    LIST_EACH (at, &flights->in_order) {
        struct request *r = request_at(at);
        land(requests, flights, r);
        if (r->sent_end > unsent_from) { /* not whole when the connection ended: not executed */
            refuse(requests, r, 0);
        } else {
            settle(requests, r, ERR_INDOUBT, NULL);
        }
    }
}

/* ---- the end ---- */

static void give_up(struct requests *requests, struct list *list, uint64_t since_ns)
{
    LIST_EACH (at, list) {
        struct request *r = request_at(at);
        if (r->since_ns > since_ns) { return; }
        take_out(requests, r);
        settle(requests, r, ERR_CLUSTER_DOWN, NULL);
    }
}

void requests_tick(struct requests *requests)
{
    const struct requests_opts *opts = &requests->opts;
    uint64_t since_ns = clock_mono_ns() - (uint64_t)opts->timeout_ms * NS_PER_MS;
    for (uint32_t p = 0; p < opts->partition_count; p++) {
        struct request_queue *queue = &requests->queue[p];
        if (has_none(queue)) { continue; }
        give_up(requests, &queue->refused, since_ns);
        give_up(requests, &queue->waiting, since_ns);
        queue->refused_epoch = 0; /* once more: the refusal may have been for a passing reason */
        requests->opts.due(requests->opts.arg, p);
    }
}

void requests_drop(struct requests *requests, const void *guest)
{
    for (uint32_t p = 0; p < requests->opts.partition_count; p++) {
        send_guests_away(requests, &requests->queue[p], guest);
    }
}

void requests_stop(struct requests *requests)
{
    for (uint32_t p = 0; p < requests->opts.partition_count; p++) {
        give_up(requests, &requests->queue[p].refused, UINT64_MAX);
        give_up(requests, &requests->queue[p].waiting, UINT64_MAX);
    }
}

void requests_init(struct requests *requests, const struct requests_opts *opts)
{
    requests->opts = *opts;
    requests->queue = mem_new0(opts->partition_count * sizeof *requests->queue);
    for (uint32_t p = 0; p < opts->partition_count; p++) {
        list_init(&requests->queue[p].refused);
        list_init(&requests->queue[p].waiting);
    }
}

void requests_fini(struct requests *requests)
{
    mem_free(requests->queue);
}

void flights_init(struct flights *flights)
{
    list_init(&flights->in_order);
}

void flights_fini(struct flights *flights)
{
    CHECK(list_is_empty(&flights->in_order));
    map_fini(&flights->by_id);
}
