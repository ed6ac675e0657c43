/* Commands of one worker in a world of three nodes in which everything goes wrong at a time that a seed picks: leaders change
 * with what they have not committed, connections break with what is on them, announcements get lost, answers are late.
 * Nothing is lost, doubled or out of its client's order. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cluster/errands.h"
#include "partition/gate.h"

enum {
    NODES = 3, /* 0 is this one */
    CLIENTS = 4,
    OPS = 120, /* of each client */
    AT_ONCE = 6,
    NUMBERS_MAX = 4096,
    MS_FOREVER = 60000,
    SEEDS = 1500,
};

enum kind { KIND_APPEND, KIND_PUSH, KIND_READ, KIND_POP };

/* ---- the clients ---- */

struct op {
    struct partition_request request;
    enum kind kind;
    uint32_t client;
    uint32_t number;     /* among its client's */
    uint32_t own_before; /* appends of its client that are before it and not refused */
    bool is_done;
    bool is_unwanted;
};

/* ---- the world ---- */

/* A request on its way to a node, with a node, or its answer on its way back. */
struct ask {
    struct list link;
    uint32_t node;
    uint32_t life; /* of the connection it came on; answers of an older one go nowhere */
    uint64_t id;   /* there */
    struct partition_request *here;   /* here */
    struct partition_request request; /* a copy, as a frame would be */
    bool is_unpark;
    enum kind kind;
    struct op *op; /* what the words of the call would say */
    enum err err;
    bool is_unparked;
    bool is_unwanted; /* taken back while it was pending */
    uint64_t value;
};

struct record {
    bool is_known;
    uint64_t value;
};

struct lane {
    uint64_t low;
    struct record record[NUMBERS_MAX];
};

static struct world {
    uint64_t random;
    struct mailbox mailbox;
    struct errands errands;
    bool gives_up;
    /* what is committed */
    struct op *log[CLIENTS * OPS];
    uint32_t log_count;
    struct op *queue[CLIENTS * OPS];
    uint32_t queue_from, queue_to;
    uint32_t popped_count;
    struct lane lane[2];
    /* the group */
    uint32_t leader; /* NODES: nobody */
    uint64_t term;
    struct list pending; /* in the leader's log, not committed */
    struct list waiters; /* parked at the leader */
    struct gates gates[NODES];
    /* the connections */
    bool is_up[NODES];
    uint32_t life[NODES];
    struct list to[NODES], from[NODES];
    struct errand_leader known;
    bool is_asked_who;
    /* the clients */
    struct op op[CLIENTS][OPS];
    uint32_t op_count[CLIENTS];
    uint32_t under_way[CLIENTS];
} * w;

static uint64_t draw(uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

static bool chance(uint32_t percent)
{
    return draw(100) < percent;
}

static struct ask *ask_at(struct list *link)
{
    return CONTAINER_OF(link, struct ask, link);
}

/* ---- answers ---- */

static void answer(struct ask *ask, enum err err)
{
    ask->err = err;
    gates_answer(&w->gates[ask->node], &ask->request, err);
    list_push_back(&w->from[ask->node], &ask->link);
}

static void free_all(struct list *list)
{
    while (!list_is_empty(list)) {
        mem_free(ask_at(list_pop_front(list)));
    }
}

static void fill(struct partition_request *request, const struct ask *ask)
{
    request->err = ask->err;
    request->is_unparked = ask->is_unparked;
    if (ask->err == ERR_OK && !ask->is_unparked) { buf_append_uint(&request->reply, ask->value); }
}

/* The first answer of a node arrives. */
static void take_answer(uint32_t node)
{
    struct ask *ask = ask_at(list_pop_front(&w->from[node]));
    if (ask->here != NULL) {
        fill(ask->here, ask);
        ask->here->on_done(ask->here);
    } else if (ask->life == w->life[node] && w->is_up[node]) {
        struct errand *errand = errands_find(&w->errands, ask->id);
        if (errand != NULL) {
            fill(&errand->request, ask);
            errands_answered(errand);
        }
    }
    mem_free(ask);
}

/* ---- the group ---- */

static struct lane *lane_of(const struct ask *ask)
{
    return &w->lane[ask->request.origin.is_parking];
}

static struct record *record_of(struct ask *ask)
{
    cr_assert_lt(ask->request.origin.seq, NUMBERS_MAX);
    return &lane_of(ask)->record[ask->request.origin.seq];
}

static void confirm(struct ask *ask)
{
    struct lane *lane = lane_of(ask);
    if (ask->request.origin.acked_low > lane->low) { lane->low = ask->request.origin.acked_low; }
    for (uint32_t i = 0; i < ask->request.acked_count; i++) {
        lane->record[ask->request.acked[i]].is_known = false;
    }
}

static uint64_t appends_of(uint32_t client)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->log_count; i++) {
        count += w->log[i]->client == client && w->log[i]->kind == KIND_APPEND;
    }
    return count;
}

static void serve(void);

/* The first of what is pending is committed. */
static void commit_one(void)
{
    struct ask *ask = ask_at(list_pop_front(&w->pending));
    struct record *record = record_of(ask);
    if (ask->kind == KIND_READ) {
        ask->value = appends_of(ask->op->client);
        answer(ask, ERR_OK);
        return;
    }
    confirm(ask);
    if (ask->request.origin.seq < lane_of(ask)->low) {
        answer(ask, ERR_INDOUBT);
        return;
    }
    if (!record->is_known) {
        if (ask->kind == KIND_POP) {
            if (w->queue_from == w->queue_to) {
                ask->is_unparked = ask->is_unwanted;
                if (ask->is_unwanted) {
                    answer(ask, ERR_OK);
                } else {
                    list_push_back(&w->waiters, &ask->link);
                }
                return;
            }
            *record = (struct record){true, w->queue_from++};
        } else {
            w->log[w->log_count++] = ask->op;
            if (ask->kind == KIND_PUSH) { w->queue[w->queue_to++] = ask->op; }
            *record = (struct record){true, w->log_count};
        }
    }
    ask->value = record->value;
    answer(ask, ERR_OK);
    serve();
}

static void serve(void)
{
    if (w->queue_from == w->queue_to || list_is_empty(&w->waiters)) { return; }
    list_push_back(&w->pending, list_pop_front(&w->waiters));
}

static bool is_meant(const struct ask *ask, uint32_t node, uint64_t seq)
{
    return ask->node == node && ask->kind == KIND_POP &&
           (seq == 0 || ask->request.origin.seq == seq);
}

/* 0: all that were asked there. */
static void unpark_at(uint32_t node, uint64_t seq)
{
    LIST_EACH (at, &w->pending) {
        ask_at(at)->is_unwanted |= is_meant(ask_at(at), node, seq);
    }
    LIST_EACH (at, &w->waiters) {
        struct ask *ask = ask_at(at);
        if (!is_meant(ask, node, seq)) { continue; }
        list_remove(&ask->link);
        ask->is_unparked = true;
        answer(ask, ERR_OK);
    }
}

/* It arrives at its node. */
static void arrive(struct ask *ask)
{
    if (ask->is_unpark) {
        unpark_at(ask->node, ask->request.origin.seq);
        mem_free(ask);
        return;
    }
    if (ask->node != w->leader || ask->request.term != w->term) {
        answer(ask, ERR_NOT_LEADER);
    } else if (gates_refuse(&w->gates[ask->node], &ask->request) || chance(5)) {
        answer(ask, ERR_SLOW);
    } else {
        list_push_back(&w->pending, &ask->link);
    }
}

/* Of what the old leader has not committed some is kept by the next one. It tells whoever asked it. */
static void depose(void)
{
    uint64_t kept = draw(4);
    for (uint64_t i = 0; i < kept && !list_is_empty(&w->pending); i++) {
        commit_one();
        if (chance(50) && w->leader < NODES) {
            /* and its answer is not known to the old one: it says that it does not know */
            struct list *last = w->from[w->leader].prev;
            if (last != &w->from[w->leader] && !ask_at(last)->is_unparked) {
                ask_at(last)->err = ERR_INDOUBT;
                gates_answer(&w->gates[w->leader], &ask_at(last)->request, ERR_INDOUBT);
            }
        }
    }
    while (!list_is_empty(&w->pending)) {
        answer(ask_at(list_pop_front(&w->pending)), ERR_INDOUBT);
    }
    while (!list_is_empty(&w->waiters)) {
        answer(ask_at(list_pop_front(&w->waiters)), ERR_NOT_LEADER);
    }
    w->leader = NODES;
}

static void told(void)
{
    if (w->leader == 0 || w->leader == NODES || !w->is_up[w->leader]) { return; }
    if (w->known.where == ERRAND_THERE && w->known.term >= w->term) { return; }
    w->known = (struct errand_leader){ERRAND_THERE, w->leader, w->term};
    errands_look(&w->errands);
}

static void elect(void)
{
    w->leader = (uint32_t)draw(NODES);
    w->term++;
    if (w->leader == 0) {
        errands_look(&w->errands);
    } else if (chance(70)) {
        told();
    }
}

/* ---- what errands ask of the world ---- */

static uint64_t incarnation(void *arg)
{
    (void)arg;
    return 1;
}

static struct errand_leader find(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition;
    bool is_own = w->leader == 0 && (w->known.where == ERRAND_NOWHERE || w->term >= w->known.term);
    if (is_own) { return (struct errand_leader){.where = ERRAND_HERE, .term = w->term}; }
    bool is_reached = w->known.where == ERRAND_THERE && w->is_up[w->known.node];
    return is_reached ? w->known : (struct errand_leader){.where = ERRAND_NOWHERE};
}

/* `acked` stays as long as the copy: the world takes it at once. */
static struct ask *ask_new(const struct partition_request *request, uint32_t node)
{
    struct ask *ask = mem_new0(sizeof *ask + request->acked_count * sizeof *request->acked);
    uint64_t *acked = (uint64_t *)(void *)(ask + 1);
    memcpy(acked, request->acked_count > 0 ? request->acked : acked,
           request->acked_count * sizeof *acked);
    ask->request = *request;
    ask->request.acked = acked;
    ask->node = node;
    ask->life = w->life[node];
    ask->op =
        request->call != NULL ? CONTAINER_OF((uintptr_t)request->call, struct op, request) : NULL;
    ask->kind = ask->op->kind;
    return ask;
}

static void ask_here(void *arg, struct partition_request *request)
{
    (void)arg;
    struct ask *ask = ask_new(request, 0);
    ask->here = request;
    list_push_back(&w->to[0], &ask->link);
}

static void unpark_here(void *arg, const struct partition_request *request)
{
    (void)arg;
    struct ask *ask = ask_new(request, 0);
    ask->is_unpark = true;
    list_push_back(&w->to[0], &ask->link);
}

static void ask_there(void *arg, const struct errand *errand)
{
    (void)arg;
    cr_assert(w->is_up[errand->at.node]);
    struct ask *ask = ask_new(&errand->request, errand->at.node);
    ask->id = errand->id;
    list_push_back(&w->to[errand->at.node], &ask->link);
}

static void unpark_there(void *arg, const struct errand *errand)
{
    (void)arg;
    if (!w->is_up[errand->at.node]) { return; }
    struct ask *ask = ask_new(&errand->request, errand->at.node);
    ask->is_unpark = true;
    list_push_back(&w->to[errand->at.node], &ask->link);
}

static void on_refused(void *arg, uint32_t partition, const struct errand_leader *at)
{
    (void)arg;
    (void)partition;
    if (w->known.node == at->node && w->known.term == at->term) {
        w->known = (struct errand_leader){.where = ERRAND_NOWHERE};
    }
}

static void on_lost(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition;
    w->is_asked_who = true;
}

/* ---- connections ---- */

/* Some of what is on it arrives before its end is seen; what was asked on it is answered to nobody. */
static void break_link(uint32_t node)
{
    if (!w->is_up[node]) { return; }
    while (!list_is_empty(&w->to[node]) && chance(60)) {
        arrive(ask_at(list_pop_front(&w->to[node])));
    }
    free_all(&w->to[node]);
    unpark_at(node, 0);
    w->is_up[node] = false;
    w->life[node]++;
    errands_on_down(&w->errands, node);
}

static void mend_link(uint32_t node)
{
    w->is_up[node] = true;
    errands_look(&w->errands);
}

/* ---- clients ---- */

static void on_done(struct partition_request *request)
{
    struct op *op = CONTAINER_OF(request, struct op, request);
    cr_assert(!op->is_done);
    op->is_done = true;
    w->under_way[op->client]--;
    if (op->kind == KIND_READ && request->err == ERR_OK) {
        buf_append(&request->reply, slice_of("", 1));
        cr_assert_geq(strtoull(request->reply.data, NULL, 10), op->own_before);
    }
}

static void give(uint32_t client)
{
    if (w->op_count[client] == OPS || w->under_way[client] == AT_ONCE) { return; }
    struct op *op = &w->op[client][w->op_count[client]];
    uint64_t dice = draw(100);
    op->kind = dice < 60 ? KIND_APPEND : dice < 75 ? KIND_READ : dice < 88 ? KIND_PUSH : KIND_POP;
    op->client = client;
    op->number = w->op_count[client]++;
    for (uint32_t i = 0; !w->gives_up && i < op->number; i++) {
        op->own_before += w->op[client][i].kind == KIND_APPEND;
    }
    static const enum partition_ask asks[] = {PARTITION_WRITE, PARTITION_WRITE, PARTITION_READ,
                                              PARTITION_PARK};
    op->request = (struct partition_request){
        .ask = asks[op->kind], .partition = 9, .on_done = on_done, .ticket = op->number};
    op->request.call = (const struct partition_call *)(const void *)&op->request; /* says who */
    w->under_way[client]++;
    errands_ask(&w->errands, &op->request);
}

static void take_back(uint32_t client)
{
    for (uint32_t i = 0; i < w->op_count[client]; i++) {
        struct op *op = &w->op[client][i];
        if (op->kind == KIND_POP && !op->is_done && !op->is_unwanted) {
            op->is_unwanted = true;
            errands_unpark(&w->errands, &op->request, chance(50));
            return;
        }
    }
}

/* ---- a life of the world ---- */

static void move(uint32_t node)
{
    bool there = !list_is_empty(&w->to[node]) && (node == 0 || w->is_up[node]);
    if (there && chance(60)) { arrive(ask_at(list_pop_front(&w->to[node]))); }
    if (!list_is_empty(&w->from[node]) && chance(60)) { take_answer(node); }
}

static void step(bool is_calm)
{
    uint32_t node = (uint32_t)draw(NODES);
    move(node);
    if (!list_is_empty(&w->pending) && chance(50)) { commit_one(); }
    give((uint32_t)draw(CLIENTS));
    if (chance(is_calm ? 20 : 3)) { take_back((uint32_t)draw(CLIENTS)); }
    if (chance(10)) { errands_tick(&w->errands); }
    if (w->is_asked_who && chance(20)) {
        w->is_asked_who = false;
        told();
    }
    if (w->leader == NODES && chance(20)) { elect(); }
    if (node != 0 && !w->is_up[node] && chance(20)) { mend_link(node); }
    if (chance(30)) { mailbox_run(&w->mailbox); }
    if (is_calm) { return; }
    if (chance(2)) { depose(); }
    if (node != 0 && chance(2)) { break_link(node); }
}

static bool is_over(void)
{
    uint32_t under_way = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        under_way += w->under_way[i] + OPS - w->op_count[i];
    }
    return under_way == 0;
}

static void check_op(const struct op *op, uint64_t seed)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->log_count; i++) {
        count += w->log[i] == op;
    }
    enum err err = op->request.err;
    cr_assert_leq(count, 1, "seed %lu: doubled", seed);
    if (err == ERR_OK && op->kind != KIND_READ && op->kind != KIND_POP) {
        cr_assert_eq(count, 1, "seed %lu: lost", seed);
    }
    if (err == ERR_CLUSTER_DOWN) { cr_assert_eq(count, 0, "seed %lu: executed", seed); }
    if (!w->gives_up) { cr_assert_eq(err, ERR_OK, "seed %lu: err %d", seed, (int)err); }
}

static void check_order(uint32_t client, uint64_t seed)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < w->log_count; i++) {
        const struct op *op = w->log[i];
        if (op->client != client) { continue; }
        cr_assert_geq(op->number + 1, last, "seed %lu: out of order", seed);
        last = op->number + 1;
    }
}

/* Each element goes to one at most, and to nobody whose call was taken back unexecuted. */
static void check_pops(uint64_t seed)
{
    static uint8_t popped[CLIENTS * OPS];
    memset(popped, 0, sizeof popped);
    uint32_t count = 0, unknown = 0;
    for (uint32_t client = 0; client < CLIENTS; client++) {
        for (uint32_t i = 0; i < OPS; i++) {
            struct op *op = &w->op[client][i];
            if (op->kind != KIND_POP) { continue; }
            unknown += op->request.err == ERR_INDOUBT;
            if (op->request.err != ERR_OK || op->request.is_unparked) { continue; }
            buf_append(&op->request.reply, slice_of("", 1));
            uint64_t at = strtoull(op->request.reply.data, NULL, 10);
            cr_assert_eq(popped[at]++, 0, "seed %lu: an element twice", seed);
            count++;
        }
    }
    cr_assert_leq(count, w->queue_from, "seed %lu", seed);
    cr_assert_geq(count + unknown, w->queue_from, "seed %lu: an element lost", seed);
}

static void live(uint64_t seed, bool gives_up)
{
    w = mem_new0(sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    w->gives_up = gives_up;
    mailbox_init(&w->mailbox, NULL, NULL);
    list_init(&w->pending);
    list_init(&w->waiters);
    for (uint32_t i = 0; i < NODES; i++) {
        list_init(&w->to[i]);
        list_init(&w->from[i]);
        w->is_up[i] = true;
    }
    const struct errands_opts opts = {
        .worker = 1,
        .mailbox = &w->mailbox,
        .timeout_ms = gives_up ? 0 : MS_FOREVER,
        .node_id = 5,
        .incarnation = incarnation,
        .find = find,
        .ask_here = ask_here,
        .unpark_here = unpark_here,
        .ask_there = ask_there,
        .unpark_there = unpark_there,
        .on_refused = on_refused,
        .on_lost = on_lost,
    };
    errands_init(&w->errands, &opts);
    elect();
    for (uint32_t i = 0; !is_over(); i++) {
        cr_assert_lt(i, 200000, "seed %lu: it does not end", seed);
        step(i > 3000);
    }
    for (uint32_t client = 0; client < CLIENTS; client++) {
        for (uint32_t i = 0; i < OPS; i++) {
            check_op(&w->op[client][i], seed);
        }
        check_order(client, seed);
    }
    check_pops(seed);
    for (uint32_t client = 0; client < CLIENTS; client++) {
        for (uint32_t i = 0; i < OPS; i++) {
            buf_fini(&w->op[client][i].request.reply);
        }
    }
    errands_fini(&w->errands);
    free_all(&w->pending);
    free_all(&w->waiters);
    for (uint32_t i = 0; i < NODES; i++) {
        free_all(&w->to[i]);
        free_all(&w->from[i]);
        gates_fini(&w->gates[i]);
    }
    mem_free(w);
}

static void live_all(bool gives_up)
{
    const char *only = getenv("FANFARE_SEED");
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        live(only != NULL ? strtoull(only, NULL, 10) : seed, gives_up);
        if (only != NULL) { return; }
    }
}

Test(errands, whatever_breaks_each_command_is_executed_once_and_in_its_client_s_order)
{
    live_all(false);
}

Test(errands, one_that_is_given_up_is_told_truly_whether_it_may_have_been_executed)
{
    live_all(true);
}

/* ---- another life of the node ---- */

static struct {
    struct mailbox mailbox;
    struct errands errands;
    uint64_t incarnation;
    uint32_t asked_count;
    uint32_t done_count;
} life;

static uint64_t incarnation_of_life(void *arg)
{
    (void)arg;
    return life.incarnation;
}

static struct errand_leader find_there(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition;
    return (struct errand_leader){.where = ERRAND_THERE, .node = 1, .term = 1};
}

static void count_asked(void *arg, const struct errand *errand)
{
    (void)arg;
    cr_assert_eq(errand->request.origin.incarnation, life.incarnation);
    life.asked_count++;
}

static void count_done(struct partition_request *request)
{
    (void)request;
    life.done_count++;
}

Test(errands, in_a_new_life_nothing_is_asked_again_that_may_have_been_executed_in_the_old_one)
{
    const struct errands_opts opts = {.mailbox = &life.mailbox,
                                      .timeout_ms = MS_FOREVER,
                                      .incarnation = incarnation_of_life,
                                      .find = find_there,
                                      .ask_there = count_asked};
    struct partition_request old = {.ask = PARTITION_WRITE, .on_done = count_done};
    struct partition_request fresh = old;
    life.incarnation = 1;
    mailbox_init(&life.mailbox, NULL, NULL);
    errands_init(&life.errands, &opts);
    errands_ask(&life.errands, &old);
    errands_on_down(&life.errands, 1);
    errands_look(&life.errands);
    cr_assert_eq(life.asked_count, 2, "in the same life its number tells");
    life.incarnation = 2;
    errands_tick(&life.errands);
    mailbox_run(&life.mailbox);
    cr_assert_eq(life.asked_count, 2);
    cr_assert_eq(life.done_count, 1);
    cr_assert_eq(old.err, ERR_INDOUBT);
    errands_ask(&life.errands, &fresh);
    cr_assert_eq(life.asked_count, 3);
    errands_stop(&life.errands);
    mailbox_run(&life.mailbox);
    cr_assert_eq(life.done_count, 2);
    errands_fini(&life.errands);
}
