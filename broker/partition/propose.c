/* propose: see the header. */
#include "partition/propose.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "partition/store_thread.h"
#include "partition/waiters.h"

enum {
    EXPIRE_COUNT = 1000, /* keys removed by an entry */
    PURGE_COUNT = 2000,  /* rows */
    DIGEST_MS = 1000,
    KEPT_BYTES = 1 << 20, /* an entry's memory above this is not kept */
    UNUSED_MAX = PROPOSED_MAX,
};

void propose_init(struct partition *p)
{
    list_init(&p->queue);
    list_init(&p->proposed);
    list_init(&p->unused);
    p->round = 1;
}

static void entry_free(struct proposed *e)
{
    buf_fini(&e->data);
    mem_free(e->batch);
    mem_free(e);
}

void propose_fini(struct partition *p)
{
    CHECK(list_is_empty(&p->queue) && list_is_empty(&p->proposed));
    while (!list_is_empty(&p->unused)) {
        entry_free(CONTAINER_OF(list_pop_front(&p->unused), struct proposed, link));
    }
    mem_free(p->forget);
}

/* ---- the queue ---- */

static void bytes_add(struct partition *p, size_t bytes)
{
    atomic_fetch_add_explicit(&p->proposed_bytes, bytes, memory_order_relaxed);
}

static void bytes_sub(struct partition *p, size_t bytes)
{
    atomic_fetch_sub_explicit(&p->proposed_bytes, bytes, memory_order_relaxed);
}

/* A call without even a name would stop every replica that meets it. */
static bool has_words(const struct partition_request *request)
{
    for (uint32_t i = 0; i < request->call_count; i++) {
        if (request->call[i].argc == 0) { return false; }
    }
    return true;
}

static bool has_new_words(const struct partition_call *call)
{
    if (LIKELY(!slice_equal_nocase(call->argv[0], SLICE("xreadgroup")))) { return false; }
    for (uint32_t word = 4; word < call->argc; word++) {
        if (slice_equal_nocase(call->argv[word], SLICE("streams"))) { return false; }
        if (slice_equal_nocase(call->argv[word], SLICE("maxcount")) ||
            slice_equal_nocase(call->argv[word], SLICE("maxsize"))) {
            return true;
        }
    }
    return false;
}

/* What was not in it from the beginning, every replica that executes it must know. 0: nothing. */
static uint32_t level_of(const struct partition_request *request)
{
    uint32_t highest = request->is_lent ? (uint32_t)ENTRY_LEVEL_LENT : 0;
    for (uint32_t i = 0; i < request->call_count; i++) {
        const struct partition_call *call = &request->call[i];
        uint32_t level = has_new_words(call) ? (uint32_t)ENTRY_LEVEL_LENT : 0;
        if (UNLIKELY(data_is_script(call->argv[0]))) {
            level = data_is_script_as(call->argv[0]) ? ENTRY_LEVEL_RIGHTS : ENTRY_LEVEL_SCRIPTS;
        }
        if (level > highest) { highest = level; }
    }
    return highest;
}

static bool has_script(const struct partition_request *request)
{
    for (uint32_t i = 0; i < request->call_count; i++) {
        if (UNLIKELY(data_is_script(request->call[i].argv[0]))) { return true; }
    }
    return false;
}

void propose_write(struct partition *p, struct partition_request *request)
{
    if (!has_words(request)) {
        store_thread_answer(p, request, ERR_INVALID);
        return;
    }
    request->level = level_of(request);
    request->script_instructions =
        request->level > 0 && has_script(request) ? p->all->opts.script_instructions : 0;
    size_t bytes = entry_request_bytes(request);
    uint64_t held = atomic_load_explicit(&p->proposed_bytes, memory_order_relaxed);
    if (bytes > PARTITION_REQUEST_BYTES_MAX) {
        store_thread_answer(p, request, ERR_INVALID);
        return;
    }
    if (held + bytes > PARTITION_BYTES_MAX) {
        store_thread_answer(p, request, ERR_SLOW);
        return;
    }
    request->number = ++p->number_last;
    request->need = bytes;
    bytes_add(p, bytes);
    list_push_back(&p->queue, &request->link);
}

void propose_forget(struct partition *p, const struct forget_node *node)
{
    if (p->term == 0) { return; }
    p->forget = mem_resize(p->forget, (p->forget_count + 1) * sizeof *p->forget);
    p->forget[p->forget_count++] = *node;
    store_thread_touch(p);
}

/* Back to its place. */
static void queue_again(struct partition *p, struct partition_request *request)
{
    struct list *at = p->queue.next;
    while (at != &p->queue &&
           CONTAINER_OF(at, struct partition_request, link)->number < request->number) {
        at = at->next;
    }
    list_push_back(at, &request->link); /* before it */
}

static void write_end(struct partition *p, struct partition_request *request, enum err err)
{
    bytes_sub(p, request->need);
    store_thread_answer(p, request, err);
}

bool propose_is_answered(const struct partition *p, uint64_t number)
{
    LIST_EACH (at, &p->proposed) {
        const struct proposed *e = CONTAINER_OF(at, struct proposed, link);
        if (e->number != 0 && e->number <= number) { return false; }
    }
    if (list_is_empty(&p->queue)) { return true; }
    return CONTAINER_OF(p->queue.next, struct partition_request, link)->number > number;
}

/* ---- entries that come back ---- */

static void entry_done(struct partition *p, struct proposed *e)
{
    list_remove(&e->link);
    p->proposed_count--;
    if (e->data.cap > KEPT_BYTES) { buf_fini(&e->data); }
    e->data.len = 0;
    e->batch_count = 0;
    list_push_back(&p->unused, &e->link);
}

/* What is the partition's own in an entry is not on its way any more. */
static void own_done(struct partition *p, enum entry_kind kind, bool is_applied)
{
    switch (kind) {
    case ENTRY_EXPIRE: p->expire_is_open = false; break;
    case ENTRY_PURGE: p->purge_is_open = false; break;
    case ENTRY_TICK:
        p->tick_is_open = false;
        while (!is_applied && !list_is_empty(&p->reads_ticked)) {
            list_push_back(&p->reads_tick, list_pop_front(&p->reads_ticked));
        }
        break;
    case ENTRY_FORGET:
        p->forget_is_open = false;
        if (is_applied && p->forget_is_done) {
            memmove(p->forget, p->forget + 1, --p->forget_count * sizeof *p->forget);
        }
        break;
    case ENTRY_WRITE:
    case ENTRY_SERVE: break;
    }
}

static struct proposed *entry_of(const struct partition *p, size_t command)
{
    struct proposal *origin = p->batch->commands[command].origin;
    return origin != NULL ? CONTAINER_OF(origin, struct proposed, proposal) : NULL;
}

void propose_applied(struct partition *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct proposed *e = entry_of(p, i);
        if (e == NULL) { continue; }
        metric_observe(METRIC_HISTOGRAM_partition_commit_seconds, clock_mono_ns() - e->began_ns);
        for (uint32_t k = 0; k < e->batch_count; k++) {
            const struct proposed_batch *batch = &e->batch[k];
            if (batch->kind == ENTRY_WRITE) { bytes_sub(p, batch->bytes); }
            if (batch->waiter != NULL) { waiter_applied(p, batch->waiter); }
            own_done(p, batch->kind, true);
        }
        entry_done(p, e);
    }
}

/* It was not executed, or that is not known. */
static void entry_failed(struct partition *p, struct proposed *e, enum err err)
{
    bool is_again = err == ERR_SLOW && p->term != 0;
    for (uint32_t k = 0; k < e->batch_count; k++) {
        struct proposed_batch *batch = &e->batch[k];
        own_done(p, batch->kind, false);
        if (batch->waiter != NULL) { waiter_failed(p, batch->waiter, err, is_again); }
        if (batch->kind != ENTRY_WRITE) { continue; }
        if (is_again) {
            queue_again(p, batch->request);
        } else {
            write_end(p, batch->request, err);
        }
    }
    entry_done(p, e);
}

void propose_given_up(struct partition *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct proposed *e = entry_of(p, i);
        if (e != NULL) { entry_failed(p, e, ERR_INDOUBT); }
    }
}

static void on_back(struct task *task) /* store */
{
    struct proposed *e = CONTAINER_OF(task, struct proposed, back);
    struct partition *p = e->partition;
    if (store_thread_keeps(p, task)) { return; }
    if (e->err == ERR_SLOW) { /* with a batch in hand it is the batch that is waited for */
        p->retry_ms = p->batch != NULL ? UINT64_MAX : store_thread_now_ms() + RETRY_MS;
    }
    if (e->round == p->round) { p->round++; }
    entry_failed(p, e, e->err);
    store_thread_touch(p);
}

static void on_refused(struct proposal *proposal, enum err err) /* raft */
{
    struct proposed *e = CONTAINER_OF(proposal, struct proposed, proposal);
    struct partition *p = e->partition;
    if (err != ERR_INDOUBT) { p->refused_round = e->round; }
    e->err = err;
    e->back.run = on_back;
    mailbox_post(&p->thread->mailbox, &e->back);
}

static void on_propose(struct task *task) /* raft */
{
    struct proposed *e = CONTAINER_OF(task, struct proposed, proposal.task);
    struct partition *p = e->partition;
    if (e->round == p->refused_round) {
        on_refused(&e->proposal, ERR_SLOW);
    } else {
        engine_propose(consensus_engine(p->all->opts.consensus), &e->proposal);
    }
}

/* ---- entries that go ---- */

static struct proposed *entry_new(struct partition *p)
{
    struct proposed *e;
    if (list_is_empty(&p->unused)) {
        e = mem_new0(sizeof *e);
    } else {
        e = CONTAINER_OF(list_pop_front(&p->unused), struct proposed, link);
    }
    e->partition = p;
    e->round = p->round;
    e->number = 0;
    e->began_ns = clock_mono_ns();
    list_push_back(&p->proposed, &e->link);
    p->proposed_count++;
    return e;
}

static struct proposed_batch *entry_add(struct proposed *e, enum entry_kind kind)
{
    if (e->batch_count == e->batch_cap) {
        e->batch_cap = e->batch_cap > 0 ? e->batch_cap * 2 : 16;
        e->batch = mem_resize(e->batch, e->batch_cap * sizeof *e->batch);
    }
    struct proposed_batch *batch = &e->batch[e->batch_count++];
    *batch = (struct proposed_batch){.kind = kind};
    return batch;
}

static void put_head(struct partition *p, struct proposed *e, uint64_t now_ms)
{
    uint64_t wall_ms = clock_wall_us() / 1000;
    if (wall_ms > p->clock_ms) { p->clock_ms = wall_ms; }
    struct entry_head head = {.level = ENTRY_LEVEL_PLAIN,
                              .clock_ms = p->clock_ms,
                              .seed = store_thread_random(p->thread)};
    if (p->digest_index != 0 && now_ms >= p->digest_ms + DIGEST_MS) {
        p->digest_ms = now_ms;
        head.has_digest = true;
        head.digest_index = p->digest_index;
        head.digest = p->digest_value;
    }
    entry_begin(&e->data, &head);
}

static bool expiry_is_due(const struct partition *p, uint64_t wall_ms)
{
    return p->next_expiry_ms != 0 && p->next_expiry_ms < wall_ms && !p->expire_is_open;
}

static bool has_own(const struct partition *p, uint64_t wall_ms)
{
    return expiry_is_due(p, wall_ms) || (p->purge_is_due && !p->purge_is_open) ||
           (!list_is_empty(&p->reads_tick) && !p->tick_is_open) ||
           (p->forget_count > 0 && !p->forget_is_open);
}

static void put_own(struct partition *p, struct proposed *e, uint64_t wall_ms)
{
    if (expiry_is_due(p, wall_ms)) {
        p->expire_is_open = true;
        entry_add(e, ENTRY_EXPIRE);
        entry_add_count(&e->data, ENTRY_EXPIRE, EXPIRE_COUNT);
    }
    if (p->purge_is_due && !p->purge_is_open) {
        p->purge_is_open = true;
        entry_add(e, ENTRY_PURGE);
        entry_add_count(&e->data, ENTRY_PURGE, PURGE_COUNT);
    }
    if (!list_is_empty(&p->reads_tick) && !p->tick_is_open) {
        p->tick_is_open = true;
        entry_add(e, ENTRY_TICK);
        entry_add_count(&e->data, ENTRY_TICK, 0);
        while (!list_is_empty(&p->reads_tick)) {
            list_push_back(&p->reads_ticked, list_pop_front(&p->reads_tick));
        }
    }
    if (p->forget_count > 0 && !p->forget_is_open) {
        p->forget_is_open = true;
        entry_add(e, ENTRY_FORGET);
        entry_add_forget(&e->data, p->forget[0].node_id, p->forget[0].incarnation_below);
    }
}

static void put_serve(struct proposed *e, struct waiter *waiter)
{
    entry_add(e, ENTRY_SERVE)->waiter = waiter;
    const struct partition_request *request = waiter_request(waiter);
    entry_add_request(&e->data, ENTRY_SERVE, request, entry_request_bytes(request));
    entry_raise_level(&e->data, level_of(request));
}

static void put_serves(struct partition *p, struct proposed *e)
{
    struct waiter *waiter;
    while (e->data.len < ENTRY_BYTES && (waiter = waiters_take(p)) != NULL) {
        put_serve(e, waiter);
    }
}

/* Who waits for what the write is about to write. */
static void put_serves_for(struct partition *p, struct proposed *e,
                           const struct partition_request *request)
{
    for (uint32_t i = 0; i < request->call_count; i++) {
        struct waiters_walk at = {0};
        struct waiter *waiter;
        while ((waiter = waiters_take_for(p, &request->call[i], &at)) != NULL) {
            put_serve(e, waiter);
        }
    }
}

static void put_writes(struct partition *p, struct proposed *e)
{
    while (!list_is_empty(&p->queue)) {
        struct partition_request *request =
            CONTAINER_OF(p->queue.next, struct partition_request, link);
        if (e->batch_count > 0 && e->data.len + request->need > ENTRY_BYTES) { return; }
        list_remove(&request->link);
        if (e->number == 0) { e->number = request->number; }
        struct proposed_batch *batch = entry_add(e, ENTRY_WRITE);
        batch->request = request;
        batch->bytes = request->need;
        entry_add_request(&e->data, ENTRY_WRITE, request, request->need);
        entry_raise_level(&e->data, request->level);
        put_serves_for(p, e, request);
    }
}

static void propose_one(struct partition *p, uint64_t now_ms, uint64_t wall_ms)
{
    struct proposed *e = entry_new(p);
    put_head(p, e, now_ms);
    put_own(p, e, wall_ms);
    put_serves(p, e);
    put_writes(p, e);
    e->proposal = (struct proposal){
        .task = {.run = on_propose},
        .group = p->group,
        .data = buf_slice(&e->data),
        .on_done = on_refused,
    };
    store_thread_to_raft(p, &e->proposal.task);
}

uint64_t propose_turn(struct partition *p)
{
    if (p->term == 0) { return UINT64_MAX; }
    uint64_t now_ms = store_thread_now_ms();
    uint64_t wall_ms = clock_wall_us() / 1000;
    if (p->retry_ms > now_ms) { return p->retry_ms; }
    while (p->proposed_count < PROPOSED_MAX &&
           (!list_is_empty(&p->queue) || waiters_are_due(p) || has_own(p, wall_ms))) {
        propose_one(p, now_ms, wall_ms);
    }
    if (p->next_expiry_ms == 0 || p->expire_is_open) { return UINT64_MAX; }
    return p->next_expiry_ms >= wall_ms ? now_ms + (p->next_expiry_ms - wall_ms) + 1 : UINT64_MAX;
}

void propose_end(struct partition *p, enum err err)
{
    while (!list_is_empty(&p->queue)) {
        write_end(p, CONTAINER_OF(list_pop_front(&p->queue), struct partition_request, link), err);
    }
    p->forget_count = p->forget_is_open ? 1 : 0; /* whoever leads next is told anew */
}
