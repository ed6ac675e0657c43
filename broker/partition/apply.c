/* apply: see the header. */
#include "partition/apply.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "partition/answer.h"
#include "partition/calls.h"
#include "partition/lent.h"
#include "partition/pending.h"
#include "partition/store_thread.h"
#include "partition/waiters.h"

enum {
    APPLY_NS = 5000000, /* after which a transaction is committed, for others to have their turn */
    APPLY_BYTES = 4 << 20, /* of entries, the same */
    COMMIT_MS = 200,       /* after which what was answered is committed */
};

struct applying {
    struct partition *p;
    struct store_thread *thread;
    struct store_txn *txn;
    struct proposed *proposed; /* the entry's command was proposed here; else NULL */
    uint32_t batch_at;
    struct call_place place;
    struct data_listener listener;
    struct data_scripting scripting;
    struct call_tally tally; /* of reads in EXEC, where this node was asked */
    bool is_again;           /* it was all executed and answered before */
    uint64_t call_count;
    uint64_t expired_count;
    enum apply_end end; /* other than APPLY_DONE: go no further */
    uint64_t breath_ns; /* when others are to have their turn */
    enum lent lent;     /* what the last call takes, and its database */
    uint16_t lent_db;
};

/* ---- what is told afterwards ---- */

struct event_head {
    uint16_t db;
    uint32_t class;
    const char *event;
    size_t len; /* of the key, which follows */
};

static void note_event(struct partition *p, uint16_t db, struct slice key, const char *event,
                       uint32_t class)
{
    uint32_t wanted = atomic_load_explicit(&p->all->events, memory_order_relaxed);
    if (p->term == 0 || (wanted & class) == 0) { return; }
    struct event_head head = {db, class, event, key.len};
    buf_append(&p->events, slice_of(&head, sizeof head));
    buf_append(&p->events, key);
}

static void tell_events(struct partition *p)
{
    const struct partitions_opts *opts = &p->all->opts;
    for (size_t at = 0; at < p->events.len;) {
        struct event_head head;
        memcpy(&head, p->events.data + at, sizeof head);
        at += sizeof head;
        if (opts->ops != NULL && opts->ops->changed != NULL) {
            opts->ops->changed(opts->arg, head.db, slice_of(p->events.data + at, head.len),
                               head.event, head.class);
        }
        at += head.len;
    }
    p->events.len = 0;
}

static void on_changed(void *arg, const struct data_change *change)
{
    struct applying *a = arg;
    waiters_touch(a->p, change->db, change->name);
    if (UNLIKELY(a->is_again)) { return; }
    note_event(a->p, change->db, change->name, change->event, change->class);
}

static void on_expired(void *arg, uint16_t db, struct slice name, enum store_expired what)
{
    struct applying *a = arg;
    waiters_touch(a->p, db, name);
    if (UNLIKELY(a->is_again)) { return; }
    switch (what) {
    case STORE_EXPIRED_KEY:
        a->expired_count++;
        note_event(a->p, db, name, "expired", EVENT_EXPIRED);
        break;
    case STORE_EXPIRED_LAST:
        note_event(a->p, db, name, "hexpired", EVENT_HASH);
        note_event(a->p, db, name, "del", EVENT_GENERIC);
        break;
    case STORE_EXPIRED_FIELDS: note_event(a->p, db, name, "hexpired", EVENT_HASH); break;
    }
}

/* ---- calls ---- */

static struct proposed_batch *asked_by(const struct applying *a)
{
    return a->proposed != NULL ? &a->proposed->batch[a->batch_at] : NULL;
}

static struct partition_request *request_of(const struct applying *a)
{
    const struct proposed_batch *by = asked_by(a);
    if (by == NULL) { return NULL; }
    return by->waiter != NULL ? waiter_request(by->waiter) : by->request;
}

/* It is answered once the transaction is committed. */
static void finish(struct applying *a, struct partition_request *request, enum err err)
{
    struct proposed_batch *by = asked_by(a);
    if (request == NULL) { return; }
    request->err = err;
    if (by->waiter != NULL) {
        waiter_execute(by->waiter, true);
    } else {
        list_push_back(&a->p->finished, &request->link);
    }
}

/* Do the checks hold? */
static bool checks_hold(const struct applying *a, const struct entry_batch *batch)
{
    struct slice body = batch->body;
    struct partition_check check;
    for (uint32_t i = 0; i < batch->check_count; i++) {
        if (!entry_take_check(&body, &check)) { return false; }
        if (call_version(&a->place, &check) != check.version) { return false; }
    }
    return true;
}

/* Run the calls, with their replies behind each other in `out`. False: it is parked. */
static bool run_calls(struct applying *a, const struct entry_batch *batch, struct buf *out)
{
    struct store_thread *thread = a->thread;
    struct slice body = batch->body;
    struct partition_call call;
    if (batch->call_count > thread->end_cap) {
        thread->end_cap = batch->call_count;
        thread->end = mem_resize(thread->end, thread->end_cap * sizeof *thread->end);
    }
    for (uint32_t i = 0; i < batch->call_count; i++) {
        if (!entry_take_call(&body, &call, &thread->words)) {
            a->end = APPLY_UNKNOWN;
            return true;
        }
        if (!call_run(&a->place, &call, out)) { return false; }
        if (UNLIKELY(a->scripting.again)) {
            a->end = APPLY_ALONE;
            return true;
        }
        thread->end[i] = (uint32_t)out->len;
        a->call_count++;
        if (batch->is_lent) {
            a->lent = lent_by(&call);
            a->lent_db = call.db;
        }
        if (a->p->waited.count > 0 && slice_equal_nocase(call.argv[0], SLICE("swapdb"))) {
            waiters_touch_all(a->p);
        }
    }
    return true;
}

/* A serve that meets another type than it waits for has nothing to take; who parks a call looks for that himself. */
static bool is_refused(const struct entry_batch *batch, const struct buf *out)
{
    return batch->kind == ENTRY_SERVE && out->len > 0 && out->data[0] == '-';
}

/* Execute a batch whose number is new. */
static void execute(struct applying *a, const struct entry_batch *batch, struct store_lane *lane)
{
    struct store_thread *thread = a->thread;
    struct partition_request *request = request_of(a);
    struct buf *out = request != NULL ? &request->reply : &thread->scratch;
    out->len = 0;
    a->place.resp_version = batch->resp_version;
    a->place.may_park = batch->kind == ENTRY_SERVE;
    a->place.tally = request != NULL ? &a->tally : NULL;
    a->scripting.instructions_max = batch->script_instructions;
    a->scripting.may_log = request != NULL;
    bool is_aborted = !checks_hold(a, batch);
    if (!is_aborted && (!run_calls(a, batch, out) || is_refused(batch, out))) { return; }
    if (a->end != APPLY_DONE) { return; }
    uint32_t count = is_aborted ? 0 : batch->call_count;
    if (lane != NULL) {
        const struct answer answer = {
            .is_aborted = is_aborted,
            .end = thread->end,
            .count = count,
            .replies = buf_slice(out),
            .lent = batch->is_lent && count == 1 ? a->lent : LENT_NOTHING,
            .db = a->lent_db,
        };
        answer_encode(&thread->answer, &answer);
        store_lane_keep(&thread->lanes, lane, batch->origin.seq, buf_slice(&thread->answer));
    }
    if (request == NULL) { return; }
    request->is_aborted = is_aborted;
    if (count > 1) { request->reply_end = mem_copy(thread->end, count * sizeof *thread->end); }
    finish(a, request, ERR_OK);
}

/* A write or a serve: executed, if its number is new. */
static void apply_calls(struct applying *a, struct entry_batch *batch)
{
    if (!batch->has_origin) {
        execute(a, batch, NULL);
        return;
    }
    struct store_lanes *lanes = &a->thread->lanes;
    const struct partition_origin *origin = &batch->origin;
    const struct store_lane_id id = {origin->node_id, origin->incarnation, origin->worker,
                                     origin->is_parking};
    struct store_lane *lane = store_lane_open(lanes, &id);
    uint64_t number;
    struct slice kept;
    store_lane_raise(lane, origin->acked_low);
    while (entry_take_number(&batch->acked, &number)) {
        store_lane_confirm(lanes, lane, number);
    }
    struct partition_request *request = request_of(a);
    if (batch->call_count == 0 && origin->is_parking) { /* that was all */
        finish(a, request, ERR_OK);
        return;
    }
    switch (store_lane_find(lanes, lane, origin->seq, &kept)) {
    case STORE_LANE_NEW: execute(a, batch, lane); break;
    case STORE_LANE_KNOWN:
        if (request != NULL) { finish(a, request, answer_give(kept, request)); }
        break;
    case STORE_LANE_BELOW: finish(a, request, ERR_INDOUBT); break;
    }
}

/* ---- lives that are over ---- */

/* One of the answers that nobody has confirmed. */
static void put_back(struct applying *a, struct slice kept)
{
    struct buf *out = &a->thread->scratch;
    struct lent_words words = {0};
    struct slice replies;
    uint16_t db;
    enum lent lent = answer_lent(kept, &db, &replies);
    if (lent_undo(lent, replies, &words)) {
        const struct partition_call call = {db, words.count, words.word};
        out->len = 0;
        (void)call_run(&a->place, &call, out);
        bool is_lost = out->len > 0 && out->data[0] == '-';
        if (a->proposed != NULL) {
            metric_add(
                is_lost ? METRIC_partition_lent_lost_total : METRIC_partition_lent_back_total, 1);
        }
        if (is_lost && a->proposed != NULL) {
            LOG_LIMITED(LOG_LEVEL_WARN,
                        "what was popped for a client of a node that failed is lost: its key has "
                        "another type now",
                        LOG_UINT("partition", a->p->id));
        }
    }
    lent_words_fini(&words);
}

/* What was lent goes back, the last one first. */
static void forget(struct applying *a, const struct entry_batch *batch)
{
    struct buf *answers = &a->thread->answer;
    answers->len = 0;
    store_lanes_end(&a->thread->lanes);
    a->p->forget_is_done =
        store_lanes_forget(a->txn, batch->origin.node_id, batch->origin.incarnation, answers);
    a->place.resp_version = 2;
    a->place.may_park = false;
    a->place.tally = NULL;
    a->scripting.may_log = false;
    for (size_t end = answers->len; end > 0;) {
        uint32_t len;
        memcpy(&len, answers->data + end - sizeof len, sizeof len);
        end -= sizeof len + len;
        put_back(a, slice_of(answers->data + end, len));
    }
}

/* ---- entries ---- */

static void apply_one(struct applying *a, struct entry_batch *batch)
{
    if (batch->kind >= ENTRY_KINDS) {
        a->end = APPLY_UNKNOWN;
        return;
    }
    switch ((enum entry_kind)batch->kind) {
    case ENTRY_WRITE:
    case ENTRY_SERVE: apply_calls(a, batch); break;
    case ENTRY_EXPIRE: (void)store_key_expire(a->txn, batch->count, on_expired, a); break;
    case ENTRY_PURGE: (void)store_purge(a->txn, batch->count); break;
    case ENTRY_FORGET: forget(a, batch); break;
    case ENTRY_TICK: break;
    }
}

/* A digest speaks of the state behind an entry, which may be some way back. */
static bool digest_fits(struct partition *p, const struct entry_head *head)
{
    if (!head->has_digest) { return true; }
    const struct digest_kept *kept = &p->digests[head->digest_index % DIGESTS_KEPT];
    if (kept->index != head->digest_index) { return true; }
    metric_add(METRIC_partition_digests_total, 1);
    if (kept->digest == head->digest) {
        p->rebuilds = 0;
        return true;
    }
    LOG_ERROR("a partition's store differs from the leader's", LOG_UINT("partition", p->id),
              LOG_UINT("index", head->digest_index), LOG_UINT("digest", kept->digest),
              LOG_UINT("leader_digest", head->digest));
    metric_add(METRIC_partition_digest_mismatches_total, 1);
    return false;
}

static void apply_command(struct applying *a, const struct fsm_command *command)
{
    struct partition *p = a->p;
    struct entry_head head;
    struct slice batches;
    bool is_good = entry_open(command->data, &head, &batches);
    if (!is_good || head.level > ENTRY_LEVEL) {
        a->end = APPLY_UNKNOWN;
        return;
    }
    if (!digest_fits(p, &head)) {
        a->end = APPLY_DAMAGED;
        return;
    }
    uint64_t clock_ms = store_clock_ms(a->txn);
    clock_ms = head.clock_ms > clock_ms ? head.clock_ms : clock_ms;
    store_txn_entry(a->txn, clock_ms, head.seed);
    if (clock_ms > p->clock_ms) { p->clock_ms = clock_ms; }
    a->proposed =
        command->origin != NULL ? CONTAINER_OF(command->origin, struct proposed, proposal) : NULL;
    a->batch_at = 0;
    a->scripting.knows_rights = head.level >= ENTRY_LEVEL_RIGHTS;
    a->scripting.is_alone = a->is_again || command->index == p->alone_index;
    store_lanes_begin(&a->thread->lanes, a->txn);
    struct entry_batch batch;
    while (a->end == APPLY_DONE && entry_take_batch(&batches, &batch, &is_good)) {
        apply_one(a, &batch);
        a->batch_at++;
    }
    store_lanes_end(&a->thread->lanes);
    if (!is_good) { a->end = APPLY_UNKNOWN; }
}

static void note_digest(struct applying *a, uint64_t index)
{
    struct partition *p = a->p;
    uint32_t digest = store_digest(a->txn);
    p->digests[index % DIGESTS_KEPT] = (struct digest_kept){index, digest};
    p->digest_index = index;
    p->digest_value = digest;
}

/* Whole entries, from *at on, until the transaction is large or old enough. Gives: their bytes. */
static size_t apply_entries(struct applying *a, size_t *at)
{
    const struct fsm_batch *batch = a->p->batch;
    uint64_t until_ns = clock_mono_ns() + APPLY_NS;
    size_t bytes = 0;
    while (*at < batch->count) {
        uint64_t index = batch->commands[*at].index;
        while (*at < batch->count && batch->commands[*at].index == index) {
            bytes += batch->commands[*at].data.len;
            apply_command(a, &batch->commands[*at]);
            ++*at;
            if (a->end != APPLY_DONE) { return bytes; }
        }
        note_digest(a, index);
        if (bytes > APPLY_BYTES || clock_mono_ns() > until_ns) { return bytes; }
    }
    return bytes;
}

/* ---- transactions ---- */

/* One command may take seconds: the thread's other partitions go on. */
static void on_work(void *arg)
{
    struct applying *a = arg;
    if (clock_mono_ns() < a->breath_ns) { return; }
    store_thread_breathe(a->p);
    a->breath_ns = clock_mono_ns() + APPLY_NS;
}

/* What was not committed did not happen. */
static void undo(struct partition *p, size_t from, size_t to)
{
    while (!list_is_empty(&p->finished)) {
        struct partition_request *request =
            CONTAINER_OF(list_pop_front(&p->finished), struct partition_request, link);
        request->reply.len = 0;
        request->is_aborted = false;
        mem_free(request->reply_end);
        request->reply_end = NULL;
    }
    for (size_t i = from; i < to; i++) {
        struct proposal *origin = p->batch->commands[i].origin;
        if (origin == NULL) { continue; }
        struct proposed *proposed = CONTAINER_OF(origin, struct proposed, proposal);
        for (uint32_t k = 0; k < proposed->batch_count; k++) {
            if (proposed->batch[k].waiter != NULL) {
                waiter_execute(proposed->batch[k].waiter, false);
            }
        }
    }
    p->events.len = 0;
}

static enum apply_end end_of(struct partition *p, enum err err)
{
    if (err == ERR_FULL) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a partition's store has no room: what is committed waits",
                    LOG_UINT("partition", p->id));
        return APPLY_LATER;
    }
    LOG_ERROR("a partition's store failed", LOG_UINT("partition", p->id),
              LOG_STR("err", err_word(err)));
    return APPLY_DAMAGED;
}

static void answer_all(struct partition *p)
{
    while (!list_is_empty(&p->finished)) {
        struct partition_request *request =
            CONTAINER_OF(list_pop_front(&p->finished), struct partition_request, link);
        store_thread_answer(p, request, request->err);
    }
    tell_events(p);
}

static void count_applied(struct applying *a)
{
    struct partition *p = a->p;
    atomic_fetch_add_explicit(&p->applied_batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->applied_calls, a->call_count, memory_order_relaxed);
    metric_add(METRIC_partition_calls_applied_total, a->call_count);
    call_count_keys(&a->tally);
    if (p->term > 0) { metric_add(METRIC_redis_expired_keys_total, a->expired_count); }
}

static void on_counted(void *arg, uint16_t db, struct store_count count)
{
    struct partition *p = arg;
    if (db >= STATUS_DATABASES) { return; }
    atomic_store_explicit(&p->shown[db].keys, count.keys, memory_order_relaxed);
    atomic_store_explicit(&p->shown[db].expiring, count.expiring, memory_order_relaxed);
}

static enum err begin(struct applying *a, struct partition *p)
{
    *a = (struct applying){.p = p, .thread = p->thread, .end = APPLY_DONE};
    enum err err = pending_begin(p, &a->txn);
    if (err != ERR_OK) { return err; }
    a->breath_ns = clock_mono_ns() + APPLY_NS;
    store_txn_on_work(a->txn, on_work, a);
    a->listener = (struct data_listener){on_changed, a};
    const struct partitions_opts *opts = &p->all->opts;
    a->scripting = (struct data_scripting){.scripts = p->thread->scripts,
                                           .rights = p->thread->rights,
                                           .sharded_databases = opts->sharded_databases,
                                           .find = opts->find,
                                           .find_arg = opts->find_arg};
    a->place = (struct call_place){
        .all = p->all, .txn = a->txn, .listener = &a->listener, .scripting = &a->scripting};
    return ERR_OK;
}

/* It was executed up to that entry. */
static void end(struct applying *a, uint64_t index)
{
    store_set_applied(a->txn, index);
    store_txn_on_work(a->txn, NULL, NULL);
    store_db_counts(a->txn, on_counted, a->p);
}

/* What was answered and has not got into the file. */
static enum err execute_again(struct partition *p)
{
    struct applying a;
    struct fsm_command command;
    struct slice rest = buf_slice(&p->pending.commands);
    enum err err = begin(&a, p);
    if (err != ERR_OK) { return err; }
    a.is_again = true;
    while (a.end == APPLY_DONE && pending_take(&rest, &command)) {
        apply_command(&a, &command);
        note_digest(&a, command.index);
    }
    buf_fini(&a.scripting.publishes);
    CHECK(a.end == APPLY_DONE || store_txn_err(a.txn) != ERR_OK); /* it was known before */
    end(&a, p->executed);
    store_thread_touch(p); /* for who waits for it */
    return pending_commit(p);
}

static enum err commit(struct partition *p)
{
    if (p->pending.txn != NULL) { return pending_commit(p); }
    return p->pending.commands.len > 0 ? execute_again(p) : ERR_OK;
}

enum err apply_commit(struct partition *p)
{
    enum err err = p->file != NULL && !p->is_broken ? commit(p) : ERR_CLOSED;
    if (err == ERR_OK || err == ERR_CLOSED) { return err; }
    if (end_of(p, err) == APPLY_LATER) {
        pending_await(p, APPLY_RETRY_MS);
    } else {
        p->is_broken = true;
        store_thread_touch(p);
    }
    return err;
}

bool apply_show(struct partition *p, uint64_t index)
{
    if (LIKELY(atomic_load(&p->applied) >= index)) { return true; }
    if (p->executed < index || apply_commit(p) != ERR_OK) { return false; }
    pending_hasten(p);
    return true;
}

uint64_t apply_settle(struct store_thread *thread)
{
    struct list *at = thread->pending.next;
    bool is_again = false; /* somebody wants a turn on account of a commit */
    while (at != &thread->pending) {
        struct partition *p = CONTAINER_OF(at, struct partition, pending.due);
        at = at->next;
        if (p->is_away) { continue; } /* in that transaction */
        if (p->pending.due_ms > store_thread_now_ms()) { return is_again ? 0 : p->pending.due_ms; }
        (void)apply_commit(p);
        is_again |= list_is_linked(&p->busy);
        at = thread->pending.next;
    }
    return is_again ? 0 : UINT64_MAX;
}

/* The batch is executed up to `at`, and `index`: kept for a later commit, or committed. */
static enum err keep(struct applying *a, size_t at, uint64_t index, size_t bytes)
{
    struct partition *p = a->p;
    end(a, index);
    enum err err = store_txn_err(a->txn);
    if (err != ERR_OK) { return err; }
    p->executed = index;
    if (at < p->batch->count || !pending_takes(p, bytes)) { return pending_commit(p); }
    for (size_t i = p->batch_at; i < at; i++) {
        pending_add(p, &p->batch->commands[i]);
    }
    if (!list_is_linked(&p->pending.due)) { pending_await(p, COMMIT_MS); }
    return ERR_OK;
}

enum apply_end apply_some(struct partition *p)
{
    struct applying a;
    uint64_t began_ns = clock_mono_ns();
    uint64_t executed = p->executed;
    size_t at = p->batch_at;
    enum err err = p->pending.txn == NULL ? commit(p) : ERR_OK;
    if (err == ERR_OK) { err = begin(&a, p); }
    if (err != ERR_OK) { return end_of(p, err); }
    size_t bytes = apply_entries(&a, &at);
    buf_fini(&a.scripting.publishes);
    if (a.end != APPLY_DONE) {
        pending_abort(p);
        undo(p, p->batch_at, at);
        if (a.end != APPLY_ALONE) { return a.end; }
        p->alone_index = p->batch->commands[at - 1].index;
        return APPLY_MORE;
    }
    bool is_all = at == p->batch->count;
    p->pending.call_count += a.call_count;
    p->pending.worked_ns += clock_mono_ns() - began_ns;
    bool has_timers = store_txn_take_timers(a.txn);
    uint64_t next_expiry_ms = has_timers ? store_key_next_expiry(a.txn) : p->next_expiry_ms;
    bool purge_is_due = has_timers ? store_purge_is_due(a.txn) : p->purge_is_due;
    err = keep(&a, at, is_all ? p->batch->last_index : p->batch->commands[at - 1].index, bytes);
    if (err != ERR_OK) {
        pending_abort(p);
        p->executed = executed;
        undo(p, p->batch_at, at);
        return end_of(p, err);
    }
    p->next_expiry_ms = next_expiry_ms;
    p->purge_is_due = purge_is_due;
    p->batch_at = at;
    count_applied(&a);
    answer_all(p);
    return is_all ? APPLY_DONE : APPLY_MORE;
}
