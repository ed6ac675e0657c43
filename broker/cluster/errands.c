/* errands: wait, ask, ask again, tell. */
#include "cluster/errands.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/commands.h"

enum {
    WORD_BYTES = 16,          /* what a word weighs besides its bytes */
    ACKED_PER_REQUEST = 1024, /* confirmed with one parking request */
};

static struct errand *errand_at(struct list *link)
{
    return CONTAINER_OF(link, struct errand, link);
}

static bool is_confirming(const struct errand *e)
{
    return e->request.ask == PARTITION_CONFIRM;
}

/* It has no order among others. */
static bool is_parking(const struct errand *e)
{
    return e->request.ask == PARTITION_PARK || is_confirming(e);
}

static bool is_read(const struct errand *e)
{
    return e->request.ask == PARTITION_READ || e->request.ask == PARTITION_VERSIONS;
}

static bool is_same(const struct errand_leader *a, const struct errand_leader *b)
{
    return a->where == b->where && a->term == b->term &&
           (a->where != ERRAND_THERE || a->node == b->node);
}

/* ---- lanes ---- */

static struct errand_lane *lane_of(struct errands *errands, uint32_t partition)
{
    CHECK(partition < PMAP_PARTITIONS_MAX);
    if (errands->lane[partition] != NULL) { return errands->lane[partition]; }
    struct errand_lane *lane = mem_new0(sizeof *lane);
    lane->errands = errands;
    lane->partition = partition;
    list_init(&lane->waiting);
    list_init(&lane->refused);
    list_init(&lane->there);
    list_init(&lane->numbered);
    list_init(&lane->to_park);
    list_init(&lane->parked_there);
    list_init(&lane->parking_numbered);
    errands->lane[partition] = lane;
    return lane;
}

static void lane_free(struct errand_lane *lane)
{
    if (lane == NULL) { return; }
    CHECK(lane->count == 0);
    mem_free(lane->acked);
    mem_free(lane->lent);
    mem_free(lane);
}

/* The lowest number that is not answered, or the next one. */
static uint64_t lowest(const struct list *numbered, uint64_t seq)
{
    if (list_is_empty(numbered)) { return seq + 1; }
    return CONTAINER_OF(numbered->next, struct errand, in_seq)->request.origin.seq;
}

/* ---- what parking numbers were answered ---- */

static void seq_push(uint64_t **seqs, uint32_t *count, uint32_t *cap, uint64_t seq)
{
    if (*count == *cap) {
        *cap = *cap > 0 ? *cap * 2 : 16;
        *seqs = mem_resize(*seqs, *cap * sizeof **seqs);
    }
    (*seqs)[(*count)++] = seq;
}

static void acked_push(struct errand_lane *lane, uint64_t seq)
{
    seq_push(&lane->acked, &lane->acked_count, &lane->acked_cap, seq);
}

/* False: it is not among them. */
static bool lent_remove(struct errand_lane *lane, uint64_t seq)
{
    for (uint32_t i = 0; i < lane->lent_count; i++) {
        if (lane->lent[i] != seq) { continue; }
        lane->lent[i] = lane->lent[--lane->lent_count];
        return true;
    }
    return false;
}

/* The lowest parking number that is neither confirmed nor to be. */
static uint64_t lowest_parking(const struct errand_lane *lane)
{
    uint64_t low = lowest(&lane->parking_numbered, lane->parking_seq);
    for (uint32_t i = 0; i < lane->lent_count; i++) {
        if (lane->lent[i] < low) { low = lane->lent[i]; }
    }
    return low;
}

/* What carried them has been applied: they are forgotten there. */
static void acked_confirmed(struct errand_lane *lane, uint64_t end)
{
    if (end <= lane->acked_base) { return; }
    uint32_t count = (uint32_t)(end - lane->acked_base);
    lane->acked_count -= count;
    lane->acked_base = end;
    memmove(lane->acked, lane->acked + count, lane->acked_count * sizeof *lane->acked);
}

/* An earlier asking of it may be the one that is executed: what that one has carried is what it confirms. */
static void acked_carry(struct errand *e)
{
    const struct errand_lane *lane = e->lane;
    uint32_t count = lane->acked_count < ACKED_PER_REQUEST ? lane->acked_count : ACKED_PER_REQUEST;
    mem_free(e->acked);
    e->acked = count > 0 ? mem_copy(lane->acked, count * sizeof *e->acked) : NULL;
    e->request.acked = e->acked;
    e->request.acked_count = count;
    if (e->request.origin.seq == 0) { e->acked_end = lane->acked_base + count; }
}

/* ---- the end of an errand ---- */

static void free_errand(struct errand *e)
{
    buf_fini(&e->request.reply);
    mem_free(e->request.reply_end);
    mem_free(e->acked);
    mem_free(e);
}

/* It is in no list of the lane any more. */
static void leave_lane(struct errand *e)
{
    struct errand_lane *lane = e->lane;
    struct errands *errands = lane->errands;
    if (is_parking(e) && e->request.origin.seq > 0) {
        bool may_be_kept = e->request.err == ERR_INDOUBT || e->request.err == ERR_LIMIT ||
                           (e->request.err == ERR_OK && !e->request.is_unparked);
        bool is_done = e->request.err == ERR_OK && may_be_kept;
        if (is_done) { acked_confirmed(lane, e->acked_end); }
        if (is_done && e->request.is_lent) {
            seq_push(&lane->lent, &lane->lent_count, &lane->lent_cap, e->request.origin.seq);
        } else if (may_be_kept) {
            acked_push(lane, e->request.origin.seq);
        }
    }
    if (is_confirming(e)) {
        lane->is_confirming = false;
        errands->confirming_count--;
        if (e->request.err == ERR_OK) { acked_confirmed(lane, e->acked_end); }
    }
    if (list_is_linked(&e->in_seq)) { list_remove(&e->in_seq); }
    lane->unwanted_count -= e->is_unwanted;
    errands->count--;
    errands->parking_count -= e->request.ask == PARTITION_PARK;
    errands->bytes -= e->bytes;
    if (--lane->count == 0) {
        list_remove(&lane->in_busy);
        lane->is_backing_off = false;
    }
    e->is_ended = true;
}

/* The asker is told; the last thing its caller does. */
static void tell(struct errand *e)
{
    struct partition_request *asked = e->asked;
    if (asked == NULL) {
        free_errand(e);
        return;
    }
    asked->err = e->request.err;
    asked->origin = e->request.origin;
    asked->is_aborted = e->request.is_aborted;
    asked->is_unparked = e->request.is_unparked;
    asked->reply = e->request.reply;
    asked->reply_end = e->request.reply_end;
    asked->inner = NULL;
    e->request.reply = (struct buf){0};
    e->request.reply_end = NULL;
    free_errand(e);
    asked->on_done(asked);
}

static void on_end(struct task *task)
{
    struct errands *errands = CONTAINER_OF(task, struct errands, end_task);
    errands->is_posted = false;
    struct list *link;
    while ((link = list_pop_front(&errands->ended)) != NULL) {
        tell(errand_at(link));
    }
}

/* Its asker is told as soon as nobody of this module is under way. */
static void end(struct errand *e, enum err err)
{
    struct errands *errands = e->lane->errands;
    e->request.err = err;
    leave_lane(e);
    list_push_back(&errands->ended, &e->link);
    if (!errands->is_posted) {
        errands->is_posted = true;
        mailbox_post(errands->opts.mailbox, &errands->end_task);
    }
}

/* Out of its list; what there is known of its asking is forgotten. */
static void take_out(struct errand *e)
{
    struct errands *errands = e->lane->errands;
    if (list_is_linked(&e->link)) { list_remove(&e->link); }
    if (e->is_asked && e->at.where == ERRAND_THERE) { map_remove(&errands->by_id, &e->by_id); }
    if (e->request.origin.seq == 0 && !is_parking(e)) { errands->waiting_count--; }
}

/* It is not waited for any longer, and not asked on this node. */
static void give_up(struct errand *e)
{
    take_out(e);
    buf_fini(&e->request.reply);
    bool is_doubtful = (e->is_asked || e->is_doubtful) && !is_read(e);
    if (!is_doubtful && e->is_useless) {
        e->request.is_unparked = true;
        end(e, ERR_OK);
        return;
    }
    end(e, is_doubtful ? ERR_INDOUBT : ERR_CLUSTER_DOWN);
}

static bool is_late(const struct errand *e)
{
    uint64_t timeout_ns = (uint64_t)e->lane->errands->opts.timeout_ms * NS_PER_MS;
    bool is_bounded = !is_parking(e) || e->is_unwanted;
    return is_bounded && clock_mono_ns() - e->since_ns >= timeout_ns;
}

/* In another life of this node its number would be another one, and the old life's may be forgotten by now. */
static bool is_of_old_life(const struct errand *e)
{
    return e->is_doubtful && e->request.origin.incarnation != e->lane->errands->incarnation;
}

/* ---- asking ---- */

static struct slice key_of(const uint64_t *id)
{
    return slice_of((const char *)id, sizeof *id);
}

/* Of consecutive numbers: spread over all bits. */
static uint64_t hash_of(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15ULL;
}

static void number(struct errand *e)
{
    struct errand_lane *lane = e->lane;
    struct partition_origin *origin = &e->request.origin;
    bool parks = is_parking(e);
    if (parks) { acked_carry(e); }
    if (origin->seq == 0 && !is_confirming(e)) {
        origin->seq = parks ? ++lane->parking_seq : ++lane->seq;
        list_push_back(parks ? &lane->parking_numbered : &lane->numbered, &e->in_seq);
    }
    origin->incarnation = lane->errands->incarnation;
    origin->acked_low = parks ? lowest_parking(lane) : lowest(&lane->numbered, lane->seq);
}

static void ask(struct errand *e, const struct errand_leader *leader)
{
    struct errand_lane *lane = e->lane;
    struct errands *errands = lane->errands;
    const struct errands_opts *opts = &errands->opts;
    errands->again_count += e->request.origin.seq > 0;
    take_out(e);
    number(e);
    e->at = *leader;
    e->request.term = leader->term;
    e->is_asked = true;
    if (leader->where == ERRAND_HERE) {
        lane->here_count += !is_parking(e);
        opts->ask_here(opts->arg, &e->request);
        if (e->is_unwanted) { opts->unpark_here(opts->arg, &e->request); }
        return;
    }
    e->id = ++errands->last_id;
    e->by_id.key = key_of(&e->id);
    map_insert(&errands->by_id, &e->by_id, hash_of(e->id));
    list_push_back(is_parking(e) ? &lane->parked_there : &lane->there, &e->link);
    opts->ask_there(opts->arg, e);
    if (e->is_unwanted) { opts->unpark_there(opts->arg, e); }
}

static void ask_in_order(struct errand_lane *lane, const struct errand_leader *leader)
{
    bool is_any_asked = lane->here_count > 0 || !list_is_empty(&lane->there);
    if (is_any_asked && (!list_is_empty(&lane->refused) || !is_same(&lane->at, leader))) { return; }
    lane->at = *leader;
    LIST_EACH (at, &lane->refused) {
        ask(errand_at(at), leader);
    }
    LIST_EACH (at, &lane->waiting) {
        uint64_t low = lowest(&lane->numbered, lane->seq);
        if (lane->seq + 1 - low >= COMMANDS_IN_FLIGHT_MAX) { return; }
        ask(errand_at(at), leader);
    }
}

/* ---- asking again ---- */

/* By its number: an earlier one may be there. */
static void refuse(struct errand *e)
{
    struct list *refused = &e->lane->refused;
    struct list *before = refused->prev;
    while (before != refused && errand_at(before)->request.origin.seq > e->request.origin.seq) {
        before = before->prev;
    }
    list_push_back(before->next, &e->link);
}

/* It was asked, and has to be asked again. */
static void go_again(struct errand *e)
{
    e->is_asked = false;
    bool is_useless = e->is_useless && !e->is_doubtful;
    if (e->lane->errands->is_stopping || is_late(e) || is_useless || is_of_old_life(e)) {
        give_up(e);
    } else if (is_parking(e)) {
        list_push_back(&e->lane->to_park, &e->link);
    } else {
        refuse(e);
    }
}

/* Whoever has it there is not waited for. */
static void recall(struct errand *e)
{
    take_out(e);
    buf_fini(&e->request.reply); /* the first pieces of a long one */
    e->is_doubtful = true;
    go_again(e);
}

static void recall_from_old(struct errand_lane *lane, const struct errand_leader *leader)
{
    if (leader->where == ERRAND_NOWHERE) { return; }
    if (!is_same(&lane->at, leader)) {
        LIST_EACH (at, &lane->there) {
            recall(errand_at(at));
        }
    }
    LIST_EACH (at, &lane->parked_there) {
        if (!is_same(&errand_at(at)->at, leader)) { recall(errand_at(at)); }
    }
}

static bool has_waiting(const struct errand_lane *lane)
{
    return !list_is_empty(&lane->waiting) || !list_is_empty(&lane->refused) ||
           !list_is_empty(&lane->to_park);
}

static struct errand_leader flush(struct errand_lane *lane)
{
    struct errands *errands = lane->errands;
    const struct errand_leader nowhere = {.where = ERRAND_NOWHERE};
    if (errands->is_stopping || errands->incarnation == 0) { return nowhere; }
    struct errand_leader leader = errands->opts.find(errands->opts.arg, lane->partition);
    recall_from_old(lane, &leader);
    if (leader.where == ERRAND_NOWHERE || lane->is_backing_off) { return leader; }
    LIST_EACH (at, &lane->to_park) {
        ask(errand_at(at), &leader);
    }
    ask_in_order(lane, &leader);
    return leader;
}

/* ---- answers ---- */

static void confirm(struct errand_lane *lane);

static void on_refusal(struct errand *e)
{
    const struct errands_opts *opts = &e->lane->errands->opts;
    enum err err = e->request.err;
    if (err == ERR_INDOUBT) { e->is_doubtful = true; }
    if (err == ERR_SLOW || e->at.where == ERRAND_HERE) {
        e->lane->is_backing_off = true;
    } else {
        opts->on_refused(opts->arg, e->lane->partition, &e->at);
    }
    go_again(e);
}

static void on_answer(struct errand *e)
{
    struct errand_lane *lane = e->lane;
    enum err err = e->request.err;
    if (err == ERR_NOT_LEADER || err == ERR_SLOW || err == ERR_INDOUBT) {
        on_refusal(e);
        if (lane->count > 0) { (void)flush(lane); }
        return;
    }
    /* Full disks take no entry, and so do not tell whether an earlier one was executed. */
    if (err == ERR_FULL && e->is_doubtful) { e->request.err = ERR_INDOUBT; }
    lane->is_backing_off = false;
    bool goes_on = is_confirming(e) && err == ERR_OK;
    leave_lane(e);
    if (has_waiting(lane)) { (void)flush(lane); }
    tell(e);
    if (goes_on) { confirm(lane); }
}

static void on_done_here(struct partition_request *request)
{
    struct errand *e = CONTAINER_OF(request, struct errand, request);
    e->is_asked = false;
    e->lane->here_count -= !is_parking(e);
    on_answer(e);
}

struct errand *errands_find(struct errands *errands, uint64_t id)
{
    struct map_node *node = map_find(&errands->by_id, key_of(&id), hash_of(id));
    return node != NULL ? CONTAINER_OF(node, struct errand, by_id) : NULL;
}

void errands_answered(struct errand *e)
{
    take_out(e);
    e->is_asked = false;
    on_answer(e);
}

void errands_on_down(struct errands *errands, uint32_t node)
{
    LIST_EACH (in_busy, &errands->busy) {
        struct errand_lane *lane = CONTAINER_OF(in_busy, struct errand_lane, in_busy);
        LIST_EACH (at, &lane->there) {
            if (errand_at(at)->at.node == node) { recall(errand_at(at)); }
        }
        LIST_EACH (at, &lane->parked_there) {
            if (errand_at(at)->at.node == node) { recall(errand_at(at)); }
        }
    }
}

/* ---- the asker's side ---- */

static void weigh(struct errand *e)
{
    const struct partition_request *request = &e->request;
    size_t bytes = sizeof *e;
    for (uint32_t i = 0; i < request->call_count; i++) {
        const struct partition_call *call = &request->call[i];
        e->word_count += call->argc;
        for (uint32_t word = 0; word < call->argc; word++) {
            bytes += call->argv[word].len + WORD_BYTES;
        }
    }
    for (uint32_t i = 0; i < request->check_count; i++) {
        bytes += request->check[i].key.len + WORD_BYTES;
    }
    e->bytes = bytes;
}

static bool is_too_long(const struct errand *e)
{
    return e->bytes > COMMANDS_REQUEST_BYTES_MAX || e->word_count > COMMANDS_REQUEST_WORDS_MAX ||
           e->request.call_count > PARTITION_CALLS_MAX ||
           e->request.check_count > COMMANDS_REQUEST_CHECKS_MAX ||
           e->request.wait_key_count > COMMANDS_REQUEST_CHECKS_MAX;
}

static struct errand *errand_new(struct errand_lane *lane, struct partition_request *asked)
{
    const struct errands_opts *opts = &lane->errands->opts;
    struct errand *e = mem_new0(sizeof *e);
    e->request = (struct partition_request){
        .ask = asked->ask,
        .partition = asked->partition,
        .resp_version = asked->resp_version,
        .origin = {.node_id = opts->node_id,
                   .worker = (uint16_t)opts->worker,
                   .is_parking = asked->ask == PARTITION_PARK},
        .call = asked->call,
        .call_count = asked->call_count,
        .check = asked->check,
        .check_count = asked->check_count,
        .ticket = asked->ticket,
        .wait_key = asked->wait_key,
        .wait_key_count = asked->wait_key_count,
        .is_lent = asked->is_lent,
        .home = opts->mailbox,
        .on_done = on_done_here,
    };
    e->asked = asked;
    e->lane = lane;
    e->since_ns = clock_mono_ns();
    weigh(e);
    asked->inner = e;
    return e;
}

void errands_ask(struct errands *errands, struct partition_request *request)
{
    struct errand_lane *lane = lane_of(errands, request->partition);
    struct errand *e = errand_new(lane, request);
    errands->count++;
    errands->parking_count += e->request.ask == PARTITION_PARK;
    errands->bytes += e->bytes;
    if (lane->count++ == 0) { list_push_back(&errands->busy, &lane->in_busy); }
    list_push_back(is_parking(e) ? &lane->to_park : &lane->waiting, &e->link);
    errands->waiting_count += !is_parking(e);
    if (is_too_long(e)) {
        take_out(e);
        end(e, ERR_INVALID);
        return;
    }
    if (errands->is_stopping) {
        give_up(e);
        return;
    }
    if (errands->incarnation == 0) {
        errands->incarnation = errands->opts.incarnation(errands->opts.arg);
    }
    (void)flush(lane);
}

void errands_unpark(struct errands *errands, struct partition_request *request, bool is_asked)
{
    const struct errands_opts *opts = &errands->opts;
    struct errand *e = request->inner;
    if (e == NULL || e->is_ended) { return; }
    bool is_again = e->is_unwanted;
    e->is_useless = e->is_useless || !is_asked;
    e->is_unwanted = true;
    if (!is_again) {
        e->lane->unwanted_count++;
        e->since_ns = clock_mono_ns();
    }
    if (!e->is_asked) {
        if (e->is_useless && !e->is_doubtful) { give_up(e); }
    } else if (is_again) {
        return;
    } else if (e->at.where == ERRAND_HERE) {
        opts->unpark_here(opts->arg, &e->request);
    } else {
        opts->unpark_there(opts->arg, e);
    }
}

/* What is to be confirmed is not left to whoever parks next. */
static void confirm(struct errand_lane *lane)
{
    struct errands *errands = lane->errands;
    if (lane->is_confirming || lane->acked_count == 0 || errands->is_stopping) { return; }
    lane->is_confirming = true;
    errands->confirming_count++;
    struct partition_request none = {.ask = PARTITION_CONFIRM, .partition = lane->partition};
    struct errand *e = errand_new(lane, &none);
    e->asked = NULL;
    e->request.origin.is_parking = true;
    errands->count++;
    errands->bytes += e->bytes;
    if (lane->count++ == 0) { list_push_back(&errands->busy, &lane->in_busy); }
    list_push_back(&lane->to_park, &e->link);
    (void)flush(lane);
}

void errands_confirm(struct errands *errands, uint32_t partition,
                     const struct partition_origin *origin)
{
    struct errand_lane *lane = errands->lane[partition];
    CHECK(lane != NULL);
    if (origin->incarnation != errands->incarnation || !lent_remove(lane, origin->seq)) { return; }
    acked_push(lane, origin->seq);
    confirm(lane);
}

/* ---- time, changes, the end ---- */

static void end_late(struct list *in_order)
{
    LIST_EACH (at, in_order) {
        if (!is_late(errand_at(at))) { return; }
        give_up(errand_at(at));
    }
}

static void end_late_unwanted(struct list *list)
{
    LIST_EACH (at, list) {
        if (is_late(errand_at(at))) { give_up(errand_at(at)); }
    }
}

static void end_of_old_life(struct list *list)
{
    LIST_EACH (at, list) {
        if (is_of_old_life(errand_at(at))) { give_up(errand_at(at)); }
    }
}

/* The old life's numbers are forgotten with it. */
static void begin_life(struct errand_lane *lane)
{
    lane->acked_base += lane->acked_count;
    lane->acked_count = 0;
    lane->lent_count = 0;
    LIST_EACH (at, &lane->there) {
        recall(errand_at(at));
    }
    LIST_EACH (at, &lane->parked_there) {
        recall(errand_at(at));
    }
    end_of_old_life(&lane->refused);
    end_of_old_life(&lane->to_park);
}

static void follow_life(struct errands *errands)
{
    uint64_t incarnation = errands->opts.incarnation(errands->opts.arg);
    if (incarnation == errands->incarnation || incarnation == 0) { return; }
    errands->incarnation = incarnation;
    LIST_EACH (at, &errands->busy) {
        begin_life(CONTAINER_OF(at, struct errand_lane, in_busy));
    }
}

static void tick_lane(struct errand_lane *lane)
{
    const struct errands_opts *opts = &lane->errands->opts;
    struct list *in_order[] = {&lane->there, &lane->refused, &lane->waiting};
    for (unsigned i = 0; i < sizeof in_order / sizeof in_order[0]; i++) {
        end_late(in_order[i]);
    }
    if (lane->unwanted_count > 0) {
        end_late_unwanted(&lane->to_park);
        end_late_unwanted(&lane->parked_there);
    }
    lane->is_backing_off = false;
    if (lane->count == 0) { return; }
    const struct errand_leader leader = flush(lane);
    if (leader.where == ERRAND_NOWHERE && has_waiting(lane)) {
        opts->on_lost(opts->arg, lane->partition);
    }
}

static void set_gauge(enum metric metric, uint64_t *seen, uint64_t now)
{
    metric_add(metric, now - *seen); /* modulo 2^64 */
    *seen = now;
}

static void tell_metrics(struct errands *errands)
{
    struct errands_seen *seen = &errands->seen;
    set_gauge(METRIC_data_requests, &seen->count, errands->count - errands->parking_count);
    set_gauge(METRIC_data_requests_unasked, &seen->waiting, errands->waiting_count);
    set_gauge(METRIC_data_parked, &seen->parking, errands->parking_count);
    set_gauge(METRIC_data_requests_again_total, &seen->again, errands->again_count);
}

void errands_tick(struct errands *errands)
{
    follow_life(errands);
    LIST_EACH (at, &errands->busy) {
        tick_lane(CONTAINER_OF(at, struct errand_lane, in_busy));
    }
    tell_metrics(errands);
}

void errands_look(struct errands *errands)
{
    follow_life(errands);
    LIST_EACH (at, &errands->busy) {
        struct errand_lane *lane = CONTAINER_OF(at, struct errand_lane, in_busy);
        lane->is_backing_off = false;
        (void)flush(lane);
    }
}

static void give_up_all(struct list *list)
{
    LIST_EACH (at, list) {
        give_up(errand_at(at));
    }
}

void errands_stop(struct errands *errands)
{
    errands->is_stopping = true;
    LIST_EACH (at, &errands->busy) {
        struct errand_lane *lane = CONTAINER_OF(at, struct errand_lane, in_busy);
        give_up_all(&lane->there);
        give_up_all(&lane->refused);
        give_up_all(&lane->waiting);
        give_up_all(&lane->to_park);
        give_up_all(&lane->parked_there);
    }
}

void errands_init(struct errands *errands, const struct errands_opts *opts)
{
    *errands = (struct errands){.opts = *opts, .end_task = {.run = on_end}};
    list_init(&errands->busy);
    list_init(&errands->ended);
}

void errands_fini(struct errands *errands)
{
    CHECK(errands->count == 0 && list_is_empty(&errands->ended));
    map_fini(&errands->by_id);
    for (uint32_t p = 0; p < PMAP_PARTITIONS_MAX; p++) {
        lane_free(errands->lane[p]);
    }
}
