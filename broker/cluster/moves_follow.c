/* moves_follow: this node follows owners elsewhere: pictures of what its clients want, and READY. And the closing of
 * subscribers that may have missed something. Worker 0's, but what says otherwise. */
#include "base/mem.h"
#include "cluster/moves_int.h"

/* ---- closing subscribers that may have missed something ---- */

static bool concerns(void *arg, enum topic_kind kind, struct slice name)
{
    const struct concern *concern = arg;
    if (concern->everything) { return true; }
    if (kind == TOPIC_PATTERN) { return concern->patterns; }
    return concern->partition[directory_partition_of(concern->directory, name)];
}

static void on_close_subscribers(struct event *event)
{
    struct cluster *c = event->half->cluster;
    c->opts.close_subscribers(c->opts.arg, event->half->index, concerns, event->pointer);
    mem_free(event->pointer);
}

struct concern *concern_new(const struct cluster *c)
{
    struct concern *concern = mem_new0(sizeof *concern + c->partition_count);
    concern->directory = c->directory;
    return concern;
}

void concern_close(struct cluster *c, struct concern *concern)
{
    size_t bytes = sizeof *concern + c->partition_count;
    for (uint32_t i = 0; i < c->worker_count; i++) {
        struct concern *copy = mem_new(bytes);
        memcpy(copy, concern, bytes);
        event_post(c->half[i], (struct event){.run = on_close_subscribers, .pointer = copy});
    }
    mem_free(concern);
}

/* ---- this node's side: following an owner ---- */

/* The names of one partition, for its owner. */
struct picture {
    struct buf names;
    struct wire_sync_entry *entry;
    size_t count;
    size_t cap;
};

static void picture_add(void *arg, uint32_t partition, enum topic_kind kind, struct slice name,
                        uint64_t count)
{
    struct turnover *t = arg;
    struct picture *picture = &t->picture[partition];
    if (picture->count == picture->cap) {
        picture->cap = picture->cap > 0 ? picture->cap * 2 : 16;
        picture->entry = mem_resize(picture->entry, picture->cap * sizeof *picture->entry);
    }
    picture->entry[picture->count++] = (struct wire_sync_entry){
        .kind = kind, .name = slice_of(NULL, name.len), .count = (uint32_t)count};
    buf_append(&picture->names, name);
}

static void take_pictures(void *arg)
{
    struct turnover *t = arg;
    struct cluster *c = t->cluster;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (t->is_concerned[p]) { directory_partition(c->directory, p)->phase = PARTITION_SYNCED; }
    }
    directory_each_local(c->directory, t->is_concerned, picture_add, t);
}

static struct wire_run *tail_as_runs(const struct place *place, size_t *count)
{
    *count = 0;
    LIST_EACH (at, &place->tail) {
        (*count)++;
    }
    struct wire_run *runs = mem_new0((*count + 1) * sizeof *runs);
    size_t i = 0;
    LIST_EACH (at, &place->tail) {
        const struct tail_run *run = CONTAINER_OF(at, struct tail_run, link);
        runs[i++] = (struct wire_run){.seq = run->seq,
                                      .kind = run->kind,
                                      .count = run->count,
                                      .data = slice_of(run->span.data, run->span.len)};
    }
    return runs;
}

static void sync_send(struct cluster *c, uint32_t p, struct picture *picture, struct outlet *outlet,
                      uint64_t epoch)
{
    size_t at = 0;
    for (size_t i = 0; i < picture->count; i++) {
        picture->entry[i].name.data = picture->names.data + at;
        at += picture->entry[i].name.len;
    }
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    place->has_stream = true;
    place->incarnation = outlet->incarnation;
    size_t tail_count;
    struct wire_run *tail = tail_as_runs(place, &tail_count);
    size_t begun = 0;
    bool is_last;
    do {
        size_t bytes = 0;
        size_t end = begun;
        while (end < picture->count && bytes < SYNC_FRAME_BYTES) {
            bytes += picture->entry[end++].name.len + 16;
        }
        is_last = end == picture->count;
        const struct wire_frame frame = {
            .type = WIRE_SYNC,
            .sync = {.partition = p,
                     .epoch = epoch,
                     .is_first = begun == 0,
                     .is_last = is_last,
                     .entry = picture->entry + begun,
                     .entry_count = end - begun,
                     .seq = place->seq,
                     .tail_from = place->tail_from,
                     .tail = tail,
                     .tail_count = is_last ? tail_count : 0},
        };
        outlet_send(outlet, outlet->request, &frame);
        begun = end;
    } while (!is_last);
    lock_release(&place->lock);
    mem_free(tail);
}

/* May the partition's owner be told our interest now? */
static bool may_sync(struct cluster *c, uint32_t p)
{
    struct half *half = half_0(c);
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.phase != PARTITION_STALE || at.owner == REMOTE_NOBODY || at.owner == half->self) {
        return false;
    }
    struct outlet *outlet = half->outlet[at.owner];
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool is_at_end = place->previous_owner == REMOTE_NOBODY && !place->is_ended;
    lock_release(&place->lock);
    return is_at_end && outlet_can_ask(outlet) && lanes_complete(c, at.owner) > 0 &&
           c->patterns_told[at.owner] != 0;
}

void follow_sync_owners(struct cluster *c)
{
    struct turnover t = turnover_begin(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        t.is_concerned[p] = may_sync(c, p);
        t.any |= t.is_concerned[p];
    }
    if (t.any) {
        t.picture = mem_new0(c->partition_count * sizeof *t.picture);
        directory_exclusive(c->directory, take_pictures, &t);
        for (uint32_t p = 0; p < c->partition_count; p++) {
            if (!t.is_concerned[p]) { continue; }
            const struct remote_partition at = directory_partition_peek(c->directory, p);
            sync_send(c, p, &t.picture[p], half_0(c)->outlet[at.owner], at.epoch);
            buf_fini(&t.picture[p].names);
            mem_free(t.picture[p].entry);
        }
        mem_free(t.picture);
    }
    turnover_end(&t);
}

static void on_ready(struct event *event);

void moves_on_ready(struct cluster *c, uint32_t node, const struct wire_ready *ready)
{
    struct place *place = &c->place[ready->partition];
    lock_take(&place->lock);
    bool is_current = place->owner == node && place->epoch == ready->epoch;
    if (is_current) {
        place->seq = ready->seq;
        place->stable = ready->seq;
        place->is_broken = false;
        place_forget_tail(place);
    }
    lock_release(&place->lock);
    if (!is_current) { return; }
    if (ready->is_missed) {
        struct concern *concern = concern_new(c);
        concern->patterns = true;
        concern->partition[ready->partition] = true;
        concern_close(c, concern);
    }
    event_post(half_0(c), (struct event){.run = on_ready,
                                         .node = node,
                                         .partition = ready->partition,
                                         .a = ready->epoch});
}

static void mark_ready(void *arg)
{
    const struct event *event = arg;
    struct remote_partition *at =
        directory_partition(event->half->cluster->directory, event->partition);
    if (at->phase == PARTITION_SYNCED && at->owner == event->node && at->epoch == event->a) {
        at->phase = PARTITION_READY;
        event->half->cluster->place[event->partition].is_followed = true;
    }
}

static void on_ready(struct event *event)
{
    directory_exclusive(event->half->cluster->directory, mark_ready, event);
    interest_look(event->half);
    half_look_all(event->half->cluster);
}
