/* deliver: what a turn brings for this worker's topics: made into deliveries in mailbox order, sent at the flush,
 * kept for slow sockets. */
#include "base/mem.h"
#include "pubsub/fanout_int.h"
#include "pubsub/order_int.h"

/* ---- bytes made for this turn ---- */

static char *scratch_new(struct fanout *f, size_t bytes)
{
    if (f->scratch == NULL || f->scratch->cap - f->scratch->len < bytes) {
        if (f->scratch != NULL) {
            ARRAY_GROW(f->scratch_full, f->scratch_full_count, f->scratch_full_cap);
            f->scratch_full[f->scratch_full_count++] = f->scratch;
        }
        f->scratch = block_new(bytes > FANOUT_ARENA_BYTES ? bytes : FANOUT_ARENA_BYTES);
    }
    char *at = f->scratch->data + f->scratch->len;
    f->scratch->len += bytes;
    f->scratch_bytes += bytes;
    return at;
}

static void scratch_reset(struct fanout *f)
{
    for (uint32_t i = 0; i < f->scratch_full_count; i++) {
        block_unref(f->scratch_full[i]);
    }
    f->scratch_full_count = 0;
    f->scratch_bytes = 0;
    if (f->scratch != NULL) {
        f->scratch->len =
            0; /* nobody refers to scratch beyond the turn: batch_keep copies from it */
    }
}

/* ---- deliveries ---- */

void topic_mark_dirty(struct fanout *f, struct topic *topic)
{
    if (topic->is_dirty) { return; }
    topic->is_dirty = true;
    ARRAY_GROW(f->dirty, f->dirty_count, f->dirty_cap);
    f->dirty[f->dirty_count++] = topic;
}

static void subscriber_pend(struct fanout *f, struct subscriber *subscriber, uint32_t delivery)
{
    if (subscriber->pending_count == 0) {
        ARRAY_GROW(f->to_flush, f->to_flush_count, f->to_flush_cap);
        f->to_flush[f->to_flush_count++] = subscriber;
        subscriber->to_flush_at = f->to_flush_count;
    }
    ARRAY_GROW(subscriber->pending, subscriber->pending_count, subscriber->pending_cap);
    subscriber->pending[subscriber->pending_count++] = delivery;
}

/* Grow the topic's last delivery by frames that follow it in memory. With multi attachments only the last
 * delivery of all may grow, or a subscriber would see this topic ahead of another. */
static bool delivery_extend(struct fanout *f, struct topic *topic, const struct delivery *more)
{
    if (topic->delivery_last == DELIVERY_NONE || topic->delivery_last < f->delivery_sealed) {
        return false;
    }
    if (UNLIKELY(topic->transits != NULL)) { return false; }
    struct delivery *last = &f->delivery[topic->delivery_last];
    bool adjoins =
        last->tail == NULL && more->tail == NULL && last->block == more->block &&
        last->prefix_bytes == more->prefix_bytes && /* a pattern's channels differ in length */
        last->head[VERSION_RESP2] + last->head_len == more->head[VERSION_RESP2];
    bool is_latest = topic->delivery_last == f->delivery_count - 1;
    if (!adjoins || !(is_latest || topic->multi.count == 0)) { return false; }
    last->head_len += more->head_len;
    last->message_count += more->message_count;
    return true;
}

/* Has its subscriber been counted by who has ordered this? */
static bool transit_shows(const struct transit *transit, struct orderer orderer)
{
    bool has_changed = orderer.node == ORDERER_SELF ||
                       (orderer.node < REMOTE_NODES_MAX &&
                        (transit->acknowledged[orderer.node] >> orderer.lane & 1) != 0);
    return transit->subscription != NULL && has_changed == transit->is_join;
}

static void transits_pend(struct fanout *f, const struct topic *topic, struct orderer orderer,
                          uint32_t delivery)
{
    for (const struct transit *at = topic->transits; at != NULL; at = at->next) {
        if (transit_shows(at, orderer)) {
            subscriber_pend(f, at->subscription->subscriber, delivery);
        }
    }
}

/* Note frames for the topic; takes a reference on the block, if there is one. */
static void delivery_add(struct fanout *f, struct topic *topic, const struct delivery *delivery,
                         struct orderer orderer)
{
    if (delivery_extend(f, topic, delivery)) { return; }
    ARRAY_GROW(f->delivery, f->delivery_count, f->delivery_cap);
    uint32_t at = f->delivery_count++;
    f->delivery[at] = *delivery;
    f->delivery[at].topic = topic;
    f->delivery[at].next = DELIVERY_NONE;
    if (delivery->block != NULL) { block_ref(delivery->block); }
    if (topic->delivery_first == DELIVERY_NONE) {
        topic->delivery_first = at;
        topic_mark_dirty(f, topic);
    } else {
        f->delivery[topic->delivery_last].next = at;
    }
    topic->delivery_last = at;
    topic->delivery_count++;
    const struct attachment *multi = attachments_begin(&topic->multi);
    for (uint32_t i = 0; i < topic->multi.count; i++) {
        subscriber_pend(f, multi[i].subscriber, at);
    }
    if (UNLIKELY(topic->transits != NULL)) { transits_pend(f, topic, orderer, at); }
}

static const char mark_of_version[VERSIONS][MSG_MARK_BYTES + 1] = {"*3\r\n", ">3\r\n"};

/* Frames of the posting as they are: for the channel's own topic. */
static void deliver_channel(struct fanout *f, const struct posting *d, const char *frames,
                            size_t len, uint32_t message_count)
{
    struct delivery delivery = {
        .head = {frames},
        .head_len = len,
        .block = d->block,
        .prefix_bytes = d->prefix_bytes,
        .message_count = message_count,
    };
    if (message_count == 1 && len >= FANOUT_LARGE_BYTES) {
        delivery.head[VERSION_RESP2] = mark_of_version[VERSION_RESP2];
        delivery.head[VERSION_RESP3] = mark_of_version[VERSION_RESP3];
        delivery.head_len = MSG_MARK_BYTES;
        delivery.tail = frames + MSG_MARK_BYTES;
        delivery.tail_len = len - MSG_MARK_BYTES;
    }
    delivery_add(f, d->channel, &delivery, d->orderer);
}

static void flush_deliveries(struct fanout *f);

/* One frame of the posting, as a pattern's subscribers get it. One message may match very many patterns: what has
 * been made for it is sent before it becomes too much. No topic that is named here is dead (topic_settle): it would
 * have left the directory before this was posted. */
static void deliver_pattern(struct fanout *f, struct topic *topic, const struct posting *d,
                            const char *frame, size_t frame_len)
{
    size_t skip = msg_head_bytes(d->kind);
    size_t shared_len = frame_len - skip;
    bool is_large = frame_len >= FANOUT_LARGE_BYTES;
    struct slice name = topic_name(topic);
    size_t own_len = msg_prefix_bytes(TOPIC_PATTERN, name);
    char *head = scratch_new(f, own_len + (is_large ? 0 : shared_len));
    char *at = msg_write_prefix(head, TOPIC_PATTERN, name);
    struct delivery delivery = {
        .head = {head},
        .head_len = own_len,
        .prefix_bytes = own_len + d->prefix_bytes - skip,
        .message_count = 1,
    };
    if (is_large) {
        delivery.block = d->block;
        delivery.tail = frame + skip;
        delivery.tail_len = shared_len;
    } else {
        memcpy(at, frame + skip, shared_len);
        delivery.head_len += shared_len;
    }
    delivery_add(f, topic, &delivery, d->orderer);
    if (UNLIKELY(f->scratch_bytes > FANOUT_SCRATCH_BYTES_MAX)) { flush_deliveries(f); }
}

void posting_take(struct fanout *f, const struct posting *d)
{
    if (d->pattern_count == 0) {
        deliver_channel(f, d, d->data, d->len, d->message_count);
        return;
    }
    const char *frame = d->data; /* message by message, so that who has both sees them in turn, as
                                    Redis sends them */
    for (uint32_t i = 0; i < d->message_count; i++) {
        size_t len = msg_frame_bytes(frame, d->prefix_bytes);
        if (d->channel != NULL) { deliver_channel(f, d, frame, len, 1); }
        for (uint32_t p = 0; p < d->pattern_count; p++) {
            deliver_pattern(f, d->pattern[p], d, frame, len);
        }
        frame += len;
    }
    CHECK(frame == d->data + d->len);
}

/* ---- keeping ---- */

static void make_resp3(struct fanout *f, struct delivery *delivery)
{
    char *copy = scratch_new(f, delivery->head_len);
    memcpy(copy, delivery->head[VERSION_RESP2], delivery->head_len);
    delivery->head[VERSION_RESP3] = copy;
    copy[0] = '>';
    if (delivery->tail != NULL) { return; }
    for (uint32_t i = 1; i < delivery->message_count; i++) {
        copy += msg_frame_bytes(copy, delivery->prefix_bytes);
        copy[0] = '>';
    }
}

/* Bytes of the delivery that may be referenced after the turn: copied once for the topic, or the block
 * itself if it is the delivery's alone. */
static const struct kept *delivery_keep(struct delivery *delivery, unsigned version)
{
    if (delivery->kept[version] != NULL) { return delivery->kept[version]; }
    struct block *backlog =
        block_room(&delivery->topic->backlog, delivery->head_len, FANOUT_BACKLOG_BYTES);
    char *copy = backlog->data + backlog->len;
    memcpy(copy, delivery->head[version], delivery->head_len);
    backlog->len += delivery->head_len;
    struct kept *kept = mem_new(sizeof *kept);
    kept->span[0] = (struct span){block_ref(backlog), copy, delivery->head_len};
    kept->span[1] = (struct span){delivery->tail != NULL ? block_ref(delivery->block) : NULL,
                                  delivery->tail, delivery->tail_len};
    delivery->kept[version] = kept;
    return kept;
}

static void kept_free(struct kept *kept)
{
    if (kept == NULL) { return; }
    block_unref(kept->span[0].block);
    block_unref(kept->span[1].block);
    mem_free(kept);
}

struct batch_source {
    struct fanout *fanout;
    const uint32_t *delivery;
    uint32_t delivery_count;
    unsigned version;
    unsigned span_count; /* 0: not kept yet */
    struct span span[2 * FANOUT_BATCH_DELIVERIES_MAX];
};

const struct span *batch_keep(struct batch *batch, unsigned *count)
{
    struct batch_source *source = batch->source;
    for (uint32_t i = 0; i < source->delivery_count && (i > 0 || source->span_count == 0); i++) {
        struct delivery *delivery = &source->fanout->delivery[source->delivery[i]];
        const struct kept *kept = delivery_keep(delivery, source->version);
        source->span[source->span_count++] = kept->span[0];
        if (delivery->tail != NULL) { source->span[source->span_count++] = kept->span[1]; }
    }
    *count = source->span_count;
    return source->span;
}

/* ---- flush ---- */

/* A batch of deliveries (batch_size) in one version. */
struct sheet {
    struct batch batch;
    struct batch_source source;
    struct iovec iov[2 * FANOUT_BATCH_DELIVERIES_MAX];
};

static void iov_add(struct sheet *sheet, const char *data, size_t len)
{
    struct batch *batch = &sheet->batch;
    batch->bytes += len;
    if (batch->iov_count > 0) {
        struct iovec *last = &sheet->iov[batch->iov_count - 1];
        if ((const char *)last->iov_base + last->iov_len == data) {
            last->iov_len += len;
            return;
        }
    }
    sheet->iov[batch->iov_count++] = (struct iovec){(char *)(uintptr_t)data, len};
}

/* Many small pieces cost a send more than one copy of them does. batch_keep does not need the copy. */
static void sheet_gather(struct fanout *f, struct sheet *sheet, unsigned version)
{
    if (f->gathered[version] == NULL) { f->gathered[version] = mem_new(FANOUT_ARENA_BYTES); }
    char *all = f->gathered[version];
    char *at = all;
    for (unsigned i = 0; i < sheet->batch.iov_count; i++) {
        memcpy(at, sheet->iov[i].iov_base, sheet->iov[i].iov_len);
        at += sheet->iov[i].iov_len;
    }
    sheet->iov[0] = (struct iovec){all, sheet->batch.bytes};
    sheet->batch.iov_count = 1;
}

static void sheet_fill(struct fanout *f, struct sheet *sheet, const uint32_t *index, uint32_t count,
                       unsigned version)
{
    sheet->source.fanout = f;
    sheet->source.delivery = index;
    sheet->source.delivery_count = count;
    sheet->source.version = version;
    sheet->source.span_count = 0;
    sheet->batch = (struct batch){.iov = sheet->iov, .source = &sheet->source};
    for (uint32_t i = 0; i < count; i++) {
        struct delivery *delivery = &f->delivery[index[i]];
        if (delivery->head[version] == NULL) { make_resp3(f, delivery); }
        iov_add(sheet, delivery->head[version], delivery->head_len);
        if (delivery->tail != NULL) { iov_add(sheet, delivery->tail, delivery->tail_len); }
        sheet->batch.messages += delivery->message_count;
    }
    if (sheet->batch.iov_count > FANOUT_GATHER_DELIVERIES &&
        sheet->batch.bytes < FANOUT_ARENA_BYTES) {
        sheet_gather(f, sheet, version);
    }
}

static unsigned version_of(const struct subscriber *subscriber)
{
    return subscriber->resp_version == 3 ? VERSION_RESP3 : VERSION_RESP2;
}

/* How many of the deliveries go out in one send. */
static uint32_t batch_size(const struct fanout *f, const uint32_t *index, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count && i < FANOUT_BATCH_DELIVERIES_MAX; i++) {
        const struct delivery *delivery = &f->delivery[index[i]];
        bytes += delivery->head_len + delivery->tail_len;
        if (i >= FANOUT_BATCH_DELIVERIES && bytes >= FANOUT_ARENA_BYTES) { return i; }
    }
    return count < FANOUT_BATCH_DELIVERIES_MAX ? count : FANOUT_BATCH_DELIVERIES_MAX;
}

/* Hand one batch of deliveries to each of the attached subscribers. */
static void deliver_batch(struct fanout *f, const uint32_t *index, uint32_t count,
                          const struct attachment *attachment, uint32_t attachment_count)
{
    struct sheet sheet[VERSIONS];
    bool is_filled[VERSIONS] = {false};
    for (uint32_t i = 0; i < attachment_count; i++) {
        struct subscriber *subscriber = attachment[i].subscriber;
        if (UNLIKELY(subscriber->cut_at != 0)) { continue; }
        unsigned version = version_of(subscriber);
        if (!is_filled[version]) {
            sheet_fill(f, &sheet[version], index, count, version);
            is_filled[version] = true;
        }
        f->ops->deliver(subscriber, &sheet[version].batch);
    }
}

void fanout_flush_topic(struct fanout *f, struct topic *topic)
{
    uint32_t at = topic->delivery_first;
    f->delivery_sealed = f->delivery_count;
    while (at != DELIVERY_NONE && topic->solo.count > 0) {
        uint32_t index[FANOUT_BATCH_DELIVERIES_MAX];
        uint32_t count = 0;
        for (uint32_t i = at; i != DELIVERY_NONE && count < FANOUT_BATCH_DELIVERIES_MAX;
             i = f->delivery[i].next) {
            index[count++] = i;
        }
        count = batch_size(f, index, count);
        at = f->delivery[index[count - 1]].next;
        deliver_batch(f, index, count, attachments_begin(&topic->solo), topic->solo.count);
    }
    topic->delivery_first = DELIVERY_NONE;
    topic->delivery_last = DELIVERY_NONE;
    topic->delivery_count = 0;
}

void subscriber_forget_pending(struct fanout *f, struct subscriber *subscriber)
{
    if (subscriber->pending_count > 0) {
        f->to_flush[subscriber->to_flush_at - 1] = NULL;
        mem_free(subscriber->pending);
        subscriber->pending = NULL;
        subscriber->pending_count = subscriber->pending_cap = 0;
        subscriber->to_flush_at = 0;
    }
}

void fanout_flush_subscriber(struct fanout *f, struct subscriber *subscriber)
{
    if (subscriber->pending_count == 0) { return; }
    const struct attachment self = {.subscriber = subscriber};
    f->delivery_sealed = f->delivery_count;
    for (uint32_t at = 0; at < subscriber->pending_count;) {
        const uint32_t *index = subscriber->pending + at;
        uint32_t count = batch_size(f, index, subscriber->pending_count - at);
        deliver_batch(f, index, count, &self, 1);
        at += count;
    }
    subscriber_forget_pending(f, subscriber);
}

static void deliveries_release(struct fanout *f)
{
    for (uint32_t i = 0; i < f->delivery_count; i++) {
        struct delivery *delivery = &f->delivery[i];
        block_unref(delivery->block);
        for (unsigned version = 0; version < VERSIONS; version++) {
            kept_free(delivery->kept[version]);
        }
    }
    f->delivery_count = 0;
    f->delivery_sealed = 0;
}

/* A backlog block that no slow subscriber refers to is not worth keeping. */
static void topic_settle(struct topic *topic)
{
    topic->is_dirty = false;
    if (topic->is_dead) {
        topic_free(topic);
    } else if (topic->backlog != NULL &&
               atomic_load_explicit(&topic->backlog->refs, memory_order_acquire) == 1) {
        block_unref(topic->backlog);
        topic->backlog = NULL;
    }
}

/* Publishers elsewhere that had to wait for this worker look again. */
static void report_taken(struct fanout *f)
{
    if (directory_taken(f->directory, f->index, f->taken_bytes)) {
        for (uint32_t worker = 0; worker < f->worker_count; worker++) {
            if (worker != f->index) { mailbox_wake(f->mailbox[worker]); }
        }
    }
    f->taken_bytes = 0;
}

static void flush_deliveries(struct fanout *f)
{
    for (uint32_t i = 0; i < f->dirty_count; i++) {
        fanout_flush_topic(f, f->dirty[i]);
    }
    for (uint32_t i = 0; i < f->to_flush_count; i++) {
        if (f->to_flush[i] != NULL) { fanout_flush_subscriber(f, f->to_flush[i]); }
    }
    f->to_flush_count = 0;
    deliveries_release(f);
    for (uint32_t i = 0; i < f->dirty_count; i++) {
        topic_settle(f->dirty[i]);
    }
    f->dirty_count = 0;
    scratch_reset(f);
}

void fanout_flush(struct fanout *f)
{
    fanout_leave_turn(f);
    gap_turn(f);
    if (fanout_is_idle(f)) { return; }
    flush_deliveries(f);
    report_taken(f);
    if (f->run_count == 0 && f->arena != NULL &&
        atomic_load_explicit(&f->arena->refs, memory_order_acquire) == 1) {
        f->arena->len = 0; /* all of it has left: start over where the cache is warm */
    }
}

/* ---- what other nodes have ordered ---- */

struct span fanout_keep(struct fanout *f, struct slice bytes)
{
    struct block *block = bytes.len >= FANOUT_LARGE_BYTES
                              ? block_new(bytes.len)
                              : block_ref(block_room(&f->arena, bytes.len, FANOUT_ARENA_BYTES));
    char *at = block->data + block->len;
    memcpy(at, bytes.data, bytes.len);
    block->len += bytes.len;
    return (struct span){block, at, bytes.len};
}

static struct run run_of_received(const struct received_run *received_run)
{
    struct slice channel = msg_channel(received_run->kind, received_run->span.data);
    return (struct run){
        .channel = channel,
        .hash = directory_hash(received_run->kind, channel),
        .block = received_run->span.block,
        .data = received_run->span.data,
        .len = received_run->span.len,
        .prefix_bytes = received_run->prefix_bytes,
        .message_count = received_run->count,
        .kind = received_run->kind,
        .orderer = received_run->orderer,
    };
}

void fanout_deliver(struct fanout *f, const struct received_run *received_run)
{
    struct run run = run_of_received(received_run);
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    directory_deliver(f->directory, &run, f->woken);
    fanout_wake_others(f);
}

void fanout_deliver_exclusive(struct fanout *f, const struct received_run *received_run)
{
    struct run run = run_of_received(received_run);
    memset(f->woken, 0, f->worker_count * sizeof *f->woken);
    directory_deliver_exclusive(f->directory, &run, f->woken);
    fanout_wake_others(f);
}
