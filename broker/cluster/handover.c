/* handover: see the header. */
#include "cluster/handover.h"

#include <string.h>

#include "base/mem.h"

static uint32_t rules_off; /* a bit each; written before threads start */

bool handover_rule(enum handover_rule rule)
{
    return (rules_off & 1U << rule) == 0;
}

void handover_switch_off(enum handover_rule rule)
{
    rules_off |= 1U << rule;
}

/* ---- tails ---- */

static void tail_init(struct tail *tail)
{
    *tail = (struct tail){0};
    list_init(&tail->runs);
}

static void tail_run_free(struct tail *tail, struct tail_run *run)
{
    tail->bytes -= run->span.len;
    tail->count--;
    list_remove(&run->link);
    block_unref(run->span.block);
    mem_free(run);
}

void tail_clear(struct tail *tail)
{
    LIST_EACH (at, &tail->runs) {
        tail_run_free(tail, CONTAINER_OF(at, struct tail_run, link));
    }
    tail->from = 0;
}

static struct tail_run *tail_first(const struct tail *tail)
{
    return list_is_empty(&tail->runs) ? NULL : CONTAINER_OF(tail->runs.next, struct tail_run, link);
}

/* Takes a reference on the span's block. */
static void tail_push(struct tail *tail, const struct wire_run *run, const struct span *span)
{
    struct tail_run *kept = mem_new0(sizeof *kept);
    *kept = (struct tail_run){
        .seq = run->seq,
        .kind = run->kind,
        .count = run->count,
        .span = {block_ref(span->block), span->data, span->len},
    };
    list_push_back(&tail->runs, &kept->link);
    tail->bytes += span->len;
    tail->count++;
}

/* Keep the run until its owner says that it is everywhere. */
static void tail_keep(struct tail *tail, const struct wire_run *run, const struct span *span,
                      size_t bytes_max)
{
    struct tail_run *first;
    while ((first = tail_first(tail)) != NULL && first->seq <= run->stable) {
        tail_run_free(tail, first);
    }
    if (first == NULL) { tail->from = 0; }
    while ((first = tail_first(tail)) != NULL &&
           (tail->bytes + span->len > bytes_max || tail->count == TAIL_RUNS_MAX)) {
        tail->from = first->seq + first->count;
        tail_run_free(tail, first);
    }
    tail_push(tail, run, span);
}

/* ---- life ---- */

void handover_init(struct handover *h)
{
    *h = (struct handover){0};
    tail_init(&h->tail);
    h->stream.node = REMOTE_NOBODY;
    h->previous.node = REMOTE_NOBODY;
}

void handover_fini(struct handover *h)
{
    tail_clear(&h->tail);
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        handover_unstage(h, node);
    }
}

/* ---- following ---- */

/* May its owner have ordered something for this node that has not come? */
static bool is_running(const struct stream *stream)
{
    return stream->state == STREAM_ASKED || stream->state == STREAM_OPEN;
}

static void stream_forget(struct stream *stream)
{
    *stream = (struct stream){.node = REMOTE_NOBODY};
}

/* It is to be told our snapshot, on some lane. */
static void stream_break(struct stream *stream)
{
    stream->state = STREAM_NONE;
    stream->lane = 0;
    stream->is_changing = false;
    stream->fence = 0;
}

void handover_take_row(struct handover *h, uint32_t owner, uint64_t epoch, uint64_t seq,
                       bool is_own)
{
    if (h->is_own && seq != 0) {
        h->ordered_epoch = h->epoch;
        h->ordered_seq = seq;
        if (seq > h->seq) { h->seq = seq; }
    }
    if (is_running(&h->stream)) { /* it has yet to end */
        h->previous = h->stream;
        h->is_broken = true; /* until then */
    }
    stream_forget(&h->stream);
    h->epoch = epoch;
    h->is_own = is_own;
    if (!is_own && owner != PMAP_NOBODY) {
        h->stream.node = owner;
        h->stream.epoch = epoch;
    }
}

uint64_t handover_end_seq(const struct handover *h, uint64_t epoch)
{
    return epoch == h->ordered_epoch ? h->ordered_seq : 0;
}

void handover_forget_self(struct handover *h)
{
    if (!handover_rule(RULE_FORGET_SELF)) { return; }
    stream_forget(&h->previous);
    stream_break(&h->stream);
    h->is_broken = false;
    h->seq = 0;
    h->stable = 0;
    tail_clear(&h->tail);
}

bool handover_may_tell(const struct handover *h)
{
    return h->stream.node != REMOTE_NOBODY && h->stream.state != STREAM_ENDED &&
           h->previous.node == REMOTE_NOBODY;
}

void handover_tell(struct handover *h, const struct stream *on)
{
    CHECK(handover_may_tell(h) && on->lane != 0);
    bool is_known = h->stream.state == STREAM_OPEN && h->stream.lane == on->lane;
    h->stream.state = is_known ? STREAM_OPEN : STREAM_ASKED;
    h->stream.lane = on->lane;
    h->stream.incarnation = on->incarnation;
    h->stream.is_changing = false;
    h->stream.fence = 0;
}

void handover_change(struct handover *h)
{
    h->stream.is_changing = true;
}

bool handover_needs_fence(const struct handover *h)
{
    return h->stream.is_changing && is_running(&h->stream) && handover_rule(RULE_FENCE);
}

void handover_ask_fence(struct handover *h, uint64_t number)
{
    h->stream.fence = number;
}

void handover_forget_fence(struct handover *h)
{
    h->stream.fence = 0;
}

const struct stream *handover_awaits_end(const struct handover *h)
{
    bool awaits = h->previous.node != REMOTE_NOBODY && handover_rule(RULE_ASK_END);
    return awaits ? &h->previous : NULL;
}

static bool is_stream(const struct stream *stream, uint32_t node, uint64_t epoch)
{
    return stream->node == node && stream->epoch == epoch;
}

bool handover_has_stream(const struct handover *h, uint32_t node, uint64_t epoch)
{
    return is_stream(&h->stream, node, epoch) || is_stream(&h->previous, node, epoch);
}

bool handover_on_ready(struct handover *h, uint32_t node, const struct wire_ready *ready)
{
    if (!is_stream(&h->stream, node, ready->epoch) || !is_running(&h->stream)) { return false; }
    h->stream.state = STREAM_OPEN;
    h->seq = ready->seq;
    h->stable = ready->seq;
    h->is_broken = false;
    tail_clear(&h->tail);
    return true;
}

bool handover_on_fence(struct handover *h, uint32_t node, const struct wire_ready *ready)
{
    bool is_awaited = is_stream(&h->stream, node, ready->epoch) && h->stream.fence != 0 &&
                      h->stream.fence == ready->snapshot;
    if (is_awaited) {
        h->stream.fence = 0;
        h->stream.is_changing = false;
    }
    return is_awaited;
}

/* An owner that says READY has given everybody what its predecessor left: what is kept of that is not needed. One that
 * has not said it knows nothing of what we have. */
static void take_end(struct handover *h, const struct stream *stream, const struct wire_end *end)
{
    if (stream->state != STREAM_OPEN) { return; }
    if (end->seq > h->seq) { h->seq = end->seq; }
    tail_clear(&h->tail);
}

void handover_on_end(struct handover *h, uint32_t node, const struct wire_end *end)
{
    if (is_stream(&h->stream, node, end->epoch)) {
        take_end(h, &h->stream, end);
        h->stream.state = STREAM_ENDED;
    } else if (is_stream(&h->previous, node, end->epoch)) {
        take_end(h, &h->previous, end);
        stream_forget(&h->previous);
        h->is_broken = false;
    }
}

bool handover_lane_ended(struct handover *h, uint32_t node, uint64_t lane)
{
    bool had_part = false;
    if (h->previous.node == node && h->previous.lane == lane) {
        h->is_broken = true;
        stream_forget(&h->previous);
        had_part = true;
    }
    if (h->stream.node == node && h->stream.lane == lane && is_running(&h->stream)) {
        h->is_broken = true;
        stream_break(&h->stream);
        had_part = true;
    }
    return had_part;
}

bool handover_give_up(struct handover *h)
{
    bool had_part = h->previous.node != REMOTE_NOBODY || is_running(&h->stream);
    stream_forget(&h->previous);
    if (!h->is_own) { stream_break(&h->stream); }
    h->is_broken |= had_part;
    return had_part;
}

void handover_note_seq(struct handover *h, uint32_t node, uint64_t seq)
{
    bool is_its = h->stream.node == node || h->previous.node == node;
    if (is_its && seq > h->seq) { h->seq = seq; }
}

bool handover_take_run(struct handover *h, uint32_t node, const struct wire_run *run,
                       const struct span *span, size_t tail_bytes_max)
{
    if (!handover_has_stream(h, node, run->epoch)) { return false; }
    if (run->seq <= h->seq) { return false; } /* recovered, and seen before */
    h->seq = run->seq + run->count - 1;
    if (run->stable > h->stable) { h->stable = run->stable; }
    tail_keep(&h->tail, run, span, tail_bytes_max);
    return true;
}

bool handover_is_settled(const struct handover *h, uint64_t owner_incarnation)
{
    if (h->is_broken) { return false; }
    return h->is_own || !is_running(&h->stream) || h->stream.incarnation == owner_incarnation;
}

void handover_begin(struct handover *h, uint64_t seq)
{
    CHECK(h->is_own && h->previous.node == REMOTE_NOBODY);
    h->is_broken = false;
    h->seq = seq;
    tail_clear(&h->tail);
}

/* ---- stagings ---- */

void handover_unstage(struct handover *h, uint32_t node)
{
    if (h->staging[node] == NULL) { return; }
    tail_clear(&h->staging[node]->tail);
    mem_free(h->staging[node]);
    h->staging[node] = NULL;
}

void staging_take(struct staging *staging)
{
    staging->is_taken = true;
    tail_clear(&staging->tail);
}

static void stage_run(struct staging *staging, const struct wire_run *run)
{
    struct block *block = block_new(run->data.len);
    memcpy(block->data, run->data.data, run->data.len);
    block->len = run->data.len;
    tail_push(&staging->tail, run, &(struct span){block, block->data, run->data.len});
    block_unref(block);
}

static struct staging *staging_of(struct handover *h, uint32_t node)
{
    if (h->staging[node] == NULL) {
        h->staging[node] = mem_new0(sizeof *h->staging[node]);
        tail_init(&h->staging[node]->tail);
    }
    return h->staging[node];
}

void handover_stage(struct handover *h, uint32_t node, uint64_t incarnation,
                    const struct wire_sync *sync)
{
    struct staging *staging = staging_of(h, node);
    staging->epoch = sync->epoch;
    staging->snapshot = sync->snapshot;
    staging->incarnation = incarnation;
    for (size_t i = 0; i < sync->tail_count; i++) {
        stage_run(staging, &sync->tail[i]);
    }
    staging->is_done = sync->is_last;
    staging->seq = sync->seq;
    staging->tail.from = sync->tail_from;
}

bool handover_is_told(const struct handover *h, uint32_t node, uint64_t incarnation)
{
    const struct staging *staging = h->staging[node];
    return staging != NULL && staging->is_done && staging->epoch == h->epoch &&
           staging->incarnation == incarnation;
}

bool handover_has_news(const struct handover *h, uint32_t node, uint64_t incarnation)
{
    return handover_is_told(h, node, incarnation) && !h->staging[node]->is_taken;
}

bool handover_is_outdated(const struct handover *h, uint32_t node)
{
    const struct staging *staging = h->staging[node];
    return staging != NULL && staging->is_done && !staging->is_taken && staging->epoch < h->epoch;
}

/* ---- what the members have kept ---- */

void handover_survey(const struct handover *h, uint64_t members, uint64_t *floor, uint64_t *seq)
{
    *floor = h->tail.from;
    *seq = h->seq;
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        const struct staging *staging = h->staging[__builtin_ctzll(nodes)];
        if (staging->tail.from > *floor) { *floor = staging->tail.from; }
        if (staging->seq > *seq) { *seq = staging->seq; }
    }
}

void tail_walk_begin(struct tail_walk *walk, const struct handover *h, uint64_t members)
{
    walk->count = 1;
    walk->after = 0;
    walk->head[0] = &h->tail.runs;
    walk->at[0] = h->tail.runs.next;
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        const struct list *runs = &h->staging[__builtin_ctzll(nodes)]->tail.runs;
        walk->head[walk->count] = runs;
        walk->at[walk->count++] = runs->next;
    }
}

static const struct tail_run *run_at(const struct list *link)
{
    return (const struct tail_run *)(const void *)((const char *)link -
                                                   offsetof(struct tail_run, link));
}

const struct tail_run *tail_walk_next(struct tail_walk *walk)
{
    const struct tail_run *best = NULL;
    for (uint32_t i = 0; i < walk->count; i++) {
        while (walk->at[i] != walk->head[i] && run_at(walk->at[i])->seq <= walk->after) {
            walk->at[i] = walk->at[i]->next;
        }
        if (walk->at[i] == walk->head[i]) { continue; }
        const struct tail_run *run = run_at(walk->at[i]);
        if (best == NULL || run->seq < best->seq) { best = run; }
    }
    if (best != NULL) { walk->after = best->seq; }
    return best;
}
