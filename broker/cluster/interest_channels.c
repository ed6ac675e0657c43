/* interest_channels: changes of our clients' subscriptions to channels on their way to the owner, who counts them, and,
 * acknowledged, back into this node's order; and other nodes' changes.
 * A change that was sent is in cluster.changes under the id it was sent with. Whoever takes it out of there
 * decides what becomes of it: the acknowledgement, or its worker when it has to be sent again. */
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/dialled.h"
#include "cluster/handover.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"
#include "cluster/interest_int.h"

struct change_key {
    struct map_node node;
    uint64_t id;
    struct interest_change *change;
    uint64_t snapshot; /* the partition's when it was sent */
};

static uint64_t change_register(struct cluster_worker *cw, struct interest_change *change,
                                const struct remote_partition *at)
{
    struct change_key *key = mem_new0(sizeof *key);
    key->id = ++cw->next_id << 8 | cw->index;
    key->change = change;
    key->snapshot = at->snapshot;
    key->node.key = interest_id(&key->id);
    struct cluster *c = cw->cluster;
    lock_take(&c->lock);
    map_insert(&c->changes, &key->node, slice_hash(key->node.key));
    lock_release(&c->lock);
    atomic_fetch_add_explicit(&cw->changes_sent, 1, memory_order_relaxed);
    return key->id;
}

/* Who had sent as many as it may goes on when half of them have come back. Any thread. */
static void one_less_sent(struct cluster_worker *cw)
{
    if (atomic_fetch_sub(&cw->changes_sent, 1) == CHANGES_SENT_MAX / 2) { cluster_worker_look(cw); }
}

/* Gives: the change that was sent with the id, or NULL if it is not waited for (any more). */
static struct interest_change *change_take(struct cluster *c, uint64_t id, uint64_t *snapshot)
{
    struct interest_change *change = NULL;
    lock_take(&c->lock);
    struct map_node *node = map_find(&c->changes, interest_id(&id), slice_hash(interest_id(&id)));
    if (node != NULL) {
        struct change_key *key = CONTAINER_OF(node, struct change_key, node);
        map_remove(&c->changes, node);
        change = key->change;
        *snapshot = key->snapshot;
        mem_free(key);
    }
    lock_release(&c->lock);
    if (change != NULL) { one_less_sent(c->worker[id & 0xff]); }
    return change;
}

void interest_send(struct dialled_peer *dialled, const struct interest_change *change, uint64_t id,
                   const struct remote_partition *at, int32_t delta)
{
    const struct wire_frame frame = {
        .type = WIRE_INTEREST,
        .interest = {.id = id,
                     .partition = change->partition,
                     .epoch = at != NULL ? at->epoch : 0,
                     .snapshot = at != NULL ? at->snapshot : 0,
                     .kind = change->kind,
                     .name = interest_change_name(change),
                     .change = delta},
    };
    dialled_send(dialled, dialled->request, &frame);
}

/* ---- this node's changes ---- */

void interest_change(void *arg, struct interest_change *change)
{
    struct cluster_worker *cw = arg;
    if (change->kind == TOPIC_PATTERN) {
        interest_change_pattern(cw, change);
        return;
    }
    list_push_back(&cw->interest[change->partition].changes, &change->link);
    cluster_worker_due(cw, change->partition);
}

/* One change whose client is gone, not sent yet. `dialled` can ask, or it is an owner's own partition. */
static void flush_orphan(struct dialled_peer *dialled, struct interest_change *change,
                         const struct remote_partition *at)
{
    bool is_right = change->is_drop && change->snapshot == at->snapshot;
    if (is_right && at->phase == PARTITION_READY) { interest_send(dialled, change, 0, at, -1); }
    list_remove(&change->link);
    interest_change_free(change);
}

/* It is to be sent again, before what has not been sent. */
static void unsend(struct interest_queue *w, struct interest_change *change)
{
    change->is_sent = false;
    list_remove(&change->link);
    list_push_back(w->changes.next, &change->link);
}

static void flush_change(struct cluster_worker *cw, struct dialled_peer *dialled,
                         struct interest_change *change, const struct remote_partition *at)
{
    struct interest_queue *w = &cw->interest[change->partition];
    if (change->subscriber == NULL) {
        flush_orphan(dialled, change, at);
        return;
    }
    list_remove(&change->link);
    list_push_back(&w->sent, &change->link);
    change->is_sent = true;
    if (at->phase != PARTITION_OWNED) {
        change->id = change_register(cw, change, at);
        interest_send(dialled, change, change->id, at, change->is_join ? 1 : -1);
        return;
    }
    switch (directory_apply_change(cw->cluster->directory, change, at->snapshot)) {
    case CHANGE_APPLIED: return;
    case CHANGE_IS_STALE: unsend(w, change); return;
    case CHANGE_IS_VOID: UNREACHABLE(); /* its client is there, and this is its worker */
    }
}

/* May changes of the partition be made, or be sent, now? Else they wait, and nobody looks at them. */
static bool may_flush(struct cluster_worker *cw, const struct dialled_peer *dialled,
                      const struct remote_partition *at)
{
    switch (at->phase) {
    case PARTITION_STALE:
    case PARTITION_SYNCED: return false;
    case PARTITION_READY: return dialled_can_ask(dialled);
    case PARTITION_OWNED: return cluster_worker_lease(cw) != 0;
    }
    return false;
}

void interest_flush(struct cluster_worker *cw, uint32_t partition)
{
    struct interest_queue *w = &cw->interest[partition];
    if (list_is_empty(&w->changes) && list_is_empty(&w->sent)) { return; }
    struct remote_partition at = directory_partition_peek(cw->cluster->directory, partition);
    if (w->snapshot_seen != at.snapshot) { /* what was sent before may be lost: it is sent again */
        w->snapshot_seen = at.snapshot;
        interest_stale(cw, partition);
    }
    struct dialled_peer *dialled = at.owner < PMAP_NODES_MAX ? cw->dialled[at.owner] : NULL;
    if (!may_flush(cw, dialled, &at)) { return; }
    LIST_EACH (link, &w->changes) {
        if (cw->changes_left == 0) { /* the rest in the next turn */
            cluster_worker_look(cw);
            return;
        }
        cw->changes_left--;
        if (atomic_load(&cw->changes_sent) >= CHANGES_SENT_MAX) { return; }
        flush_change(cw, dialled, CONTAINER_OF(link, struct interest_change, link), &at);
    }
}

void interest_stale(struct cluster_worker *cw, uint32_t partition)
{
    struct interest_queue *w = &cw->interest[partition];
    struct list *at = w->sent.prev;
    while (at != &w->sent) {
        struct list *earlier = at->prev;
        struct interest_change *change = CONTAINER_OF(at, struct interest_change, link);
        uint64_t snapshot;
        if (change_take(cw->cluster, change->id, &snapshot) != NULL) { /* else acknowledged */
            unsend(w, change);
        }
        at = earlier;
    }
}

/* A join that was sent after that snapshot is not to be counted. A later one is without it anyway. */
static void uncount(struct cluster_worker *cw, const struct interest_change *change,
                    uint64_t snapshot)
{
    struct remote_partition at =
        directory_partition_peek(cw->cluster->directory, change->partition);
    if (at.phase != PARTITION_READY || at.snapshot != snapshot) { return; }
    struct dialled_peer *dialled = cw->dialled[at.owner];
    if (dialled_can_ask(dialled)) { interest_send(dialled, change, 0, &at, -1); }
}

/* A join that was sent at some time ends with this, unless it has been acknowledged. */
static void refuse_sent(struct cluster_worker *cw, struct interest_change *change)
{
    uint64_t snapshot;
    if (!change->is_join || change->id == 0 || change->subscriber == NULL) { return; }
    if (change->is_sent) {
        if (change_take(cw->cluster, change->id, &snapshot) == NULL) { return; } /* acknowledged */
        uncount(cw, change, snapshot);
    }
    list_remove(&change->link);
    interest_change_end(change, ERR_CLUSTER_DOWN);
}

void interest_missed(struct cluster_worker *cw, uint32_t partition)
{
    struct interest_queue *w = &cw->interest[partition];
    LIST_EACH (link, &w->sent) {
        refuse_sent(cw, CONTAINER_OF(link, struct interest_change, link));
    }
    LIST_EACH (link, &w->changes) {
        refuse_sent(cw, CONTAINER_OF(link, struct interest_change, link));
    }
}

/* What was sent to an owner that cannot answer any more, or not now, is not waited for longer than the rest. */
static void fail_old_sent(struct cluster_worker *cw, uint32_t partition, uint64_t since_ns)
{
    struct cluster *c = cw->cluster;
    enum partition_phase phase = directory_partition_peek(c->directory, partition).phase;
    if (phase != PARTITION_STALE && phase != PARTITION_SYNCED) { return; }
    LIST_EACH (link, &cw->interest[partition].sent) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        uint64_t snapshot;
        if (change->since_ns > since_ns || change->subscriber == NULL) { continue; }
        if (change_take(c, change->id, &snapshot) == NULL) { continue; } /* acknowledged */
        list_remove(&change->link);
        interest_change_end(change, ERR_CLUSTER_DOWN);
    }
}

/* The oldest are first. */
static void fail_old(struct cluster_worker *cw, uint32_t partition, uint64_t since_ns)
{
    LIST_EACH (link, &cw->interest[partition].changes) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        if (change->since_ns > since_ns || cw->changes_left == 0) { return; }
        cw->changes_left--;
        if (change->subscriber == NULL) { continue; }
        list_remove(&change->link);
        interest_change_end(change, ERR_CLUSTER_DOWN);
    }
}

void interest_tick(struct cluster_worker *cw)
{
    struct cluster *c = cw->cluster;
    uint64_t since_ns = clock_mono_ns() - (uint64_t)c->opts.timeout_ms * NS_PER_MS;
    cw->changes_left = CHANGES_PER_TURN;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct interest_queue *w = &cw->interest[p];
        if (list_is_empty(&w->changes) && list_is_empty(&w->sent)) { continue; }
        cluster_worker_due(cw, p);
        fail_old(cw, p, since_ns);
        fail_old_sent(cw, p, since_ns);
    }
    if (cw->index == 0) {
        interest_tick_patterns(cw, since_ns);
        (void)!directory_sweep(c->directory);
    }
}

static void take_back(struct event *event)
{
    uncount(event->cw, event->pointer, event->a);
    mem_free(event->pointer);
}

struct interest_change *interest_copy(const struct interest_change *change)
{
    struct interest_change *copy = mem_new0(sizeof *copy + change->name_len + 1);
    copy->kind = change->kind;
    copy->partition = change->partition;
    copy->name_len = change->name_len;
    memcpy(copy->name, change->name, change->name_len);
    return copy;
}

/* It was counted, and then the owner was given a snapshot that is without it. */
static void send_again(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    struct interest_change *change = event->pointer;
    unsend(&cw->interest[change->partition], change);
    cluster_worker_due(cw, change->partition);
    if (atomic_load(&cw->cluster->is_stopping)) {
        list_remove(&change->link);
        interest_change_end(change, ERR_CLUSTER_DOWN);
    }
}

/* What was ordered up to here and was for this node has come before: what is recovered of it is not for those who
 * have subscribed since. */
static void note_seq(struct cluster *c, uint32_t node, uint32_t partition, uint64_t seq)
{
    struct cluster_partition *cp = &c->partition[partition];
    lock_take(&cp->lock);
    handover_note_seq(&cp->handover, node, seq);
    lock_release(&cp->lock);
}

static void note_seqs(struct accepted_peer *accepted, const struct wire_interest_ack *ack)
{
    bool is_pattern = ack->kind == TOPIC_PATTERN;
    struct cluster *c = accepted->cw->cluster;
    lock_take(&c->lock);
    uint32_t step = is_pattern ? c->from[accepted->node].worker_count : 1;
    lock_release(&c->lock);
    uint32_t partition = is_pattern ? accepted->worker : ack->partition;
    size_t count = is_pattern || ack->seq_count == 0 ? ack->seq_count : 1;
    for (size_t i = 0; i < count && partition < c->partition_count; i++, partition += step) {
        note_seq(c, accepted->node, partition, ack->seq[i]);
    }
}

void interest_on_ack(struct accepted_peer *accepted, const struct wire_interest_ack *ack)
{
    struct cluster_worker *cw = accepted->cw;
    struct cluster *c = cw->cluster;
    note_seqs(accepted, ack);
    if (ack->kind == TOPIC_PATTERN) {
        interest_on_pattern_ack(accepted, ack->id);
        return;
    }
    uint64_t snapshot = 0;
    struct interest_change *change = change_take(c, ack->id, &snapshot);
    if (change == NULL) { return; }
    struct cluster_worker *owner = c->worker[ack->id & 0xff];
    struct event event = {.node = accepted->node, .a = snapshot, .pointer = interest_copy(change)};
    switch (directory_apply_change(c->directory, change, snapshot)) {
    case CHANGE_APPLIED: mem_free(event.pointer); return;
    case CHANGE_IS_VOID: event.run = take_back; break;
    case CHANGE_IS_STALE:
        mem_free(event.pointer);
        event.run = send_again;
        event.pointer = change;
        break;
    }
    event_post(owner, event);
}

bool interest_on_request(struct accepted_peer *accepted, const struct wire_interest *interest)
{
    struct cluster *c = accepted->cw->cluster;
    if (interest->partition >= c->partition_count || interest->change == 0) { return false; }
    bool is_pattern = interest->kind == TOPIC_PATTERN;
    if (!is_pattern &&
        directory_partition_of(c->directory, interest->name) != interest->partition) {
        return false;
    }
    /* Without a lease nothing may be acknowledged: the sender begins anew with us, or with who comes after. */
    if (cluster_worker_lease(accepted->cw) == 0) {
        peer_in_close(accepted->in, true);
        return true;
    }
    if (is_pattern) {
        interest_on_pattern(accepted, interest);
        return true;
    }
    /* Not counted when this node does not order the partition any more: the sender, when it learns of the
     * move, asks the new owner. */
    const struct interest_told told = {
        .node = accepted->node,
        .partition = interest->partition,
        .epoch = interest->epoch,
        .snapshot = handover_rule(RULE_SNAPSHOT) ? interest->snapshot : 0,
        .kind = interest->kind,
        .name = interest->name,
        .change = interest->change,
        .id = interest->id,
    };
    (void)!directory_change_interest(c->directory, &told);
    return true;
}

/* ---- the end ---- */

void interest_stop(struct cluster_worker *cw)
{
    for (uint32_t p = 0; p < cw->cluster->partition_count; p++) {
        interest_stale(cw, p);
        LIST_EACH (link, &cw->interest[p].changes) {
            struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
            list_remove(&change->link);
            interest_change_end(change, ERR_CLUSTER_DOWN);
        }
    }
    if (cw->index == 0) { interest_stop_patterns(cw); }
}
