/* waiters: see the header. */
#include "partition/waiters.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "partition/answer.h"
#include "partition/calls.h"
#include "partition/look.h"
#include "partition/store_thread.h"

enum {
    FORESEEN_MAX = 16, /* of who waits for one word, put into the entry of a write */
    ORIGIN_BYTES = 8 + 8 + 2 + 8,
};

/* A key that somebody waits for. */
struct waited {
    struct map_node node; /* partition's waited, by db2 and name */
    struct list places;   /* in the order of tickets */
    struct list touched;  /* partition's touched, if it is */
    uint16_t db;
    struct slice name;
    char key[];
};

/* A waiter's place at a key. */
struct place {
    struct list link;
    struct waited *waited;
    struct waiter *waiter;
};

struct waiter {
    struct map_node node; /* partition's waiters, by its origin */
    struct list due;      /* partition's due, if it is to be put into an entry */
    struct list idler;    /* partition's idlers, if it is one */
    struct partition_request *request;
    enum store_type type; /* that it waits for */
    bool is_read;
    bool is_proposed; /* it is in an entry on its way */
    bool is_executed; /* which executed it, in the transaction that is open */
    bool is_unwanted; /* taken back meanwhile */
    char key[ORIGIN_BYTES];
    uint32_t place_count;
    struct place place[];
};

void waiters_init(struct partition *p)
{
    list_init(&p->touched);
    list_init(&p->due);
    list_init(&p->idlers);
}

void waiters_fini(struct partition *p)
{
    CHECK(p->waiters.count == 0 && p->waited.count == 0);
    map_fini(&p->waiters);
    map_fini(&p->waited);
}

struct partition_request *waiter_request(const struct waiter *waiter)
{
    return waiter->request;
}

/* ---- keys ---- */

static struct waited *waited_find(const struct partition *p, uint16_t db, struct slice name)
{
    uint64_t hash = slice_hash(name) + db;
    struct map_node *node = map_find(&p->waited, name, hash);
    for (; node != NULL; node = node->next) {
        struct waited *waited = CONTAINER_OF(node, struct waited, node);
        if (node->hash == hash && waited->db == db && slice_equal(waited->name, name)) {
            return waited;
        }
    }
    return NULL;
}

static struct waited *waited_make(struct partition *p, uint16_t db, struct slice name)
{
    struct waited *waited = waited_find(p, db, name);
    if (waited != NULL) { return waited; }
    waited = mem_new0(sizeof *waited + name.len);
    if (name.len > 0) { memcpy(waited->key, name.data, name.len); }
    waited->db = db;
    waited->name = slice_of(waited->key, name.len);
    waited->node.key = waited->name;
    list_init(&waited->places);
    map_insert(&p->waited, &waited->node, slice_hash(name) + db);
    return waited;
}

static void place_leave(struct partition *p, struct place *place)
{
    struct waited *waited = place->waited;
    list_remove(&place->link);
    if (!list_is_empty(&waited->places)) { return; }
    if (list_is_linked(&waited->touched)) { list_remove(&waited->touched); }
    map_remove(&p->waited, &waited->node);
    mem_free(waited);
}

/* Behind those with a lower ticket, or the same. */
static void place_take(struct waited *waited, struct place *place, struct waiter *waiter)
{
    struct list *at = waited->places.prev;
    *place = (struct place){.waited = waited, .waiter = waiter};
    while (at != &waited->places && CONTAINER_OF(at, struct place, link)->waiter->request->ticket >
                                        waiter->request->ticket) {
        at = at->prev;
    }
    list_push_back(at->next, &place->link);
}

/* ---- waiters ---- */

static struct slice origin_key(const struct partition_origin *origin, char out[ORIGIN_BYTES])
{
    memcpy(out, &origin->node_id, 8);
    memcpy(out + 8, &origin->incarnation, 8);
    memcpy(out + 16, &origin->worker, 2);
    memcpy(out + 18, &origin->seq, 8);
    return slice_of(out, ORIGIN_BYTES);
}

static struct waiter *waiter_find(const struct partition *p, const struct partition_origin *origin)
{
    char bytes[ORIGIN_BYTES];
    struct slice key = origin_key(origin, bytes);
    struct map_node *node = map_find(&p->waiters, key, slice_hash(key));
    return node != NULL ? CONTAINER_OF(node, struct waiter, node) : NULL;
}

static void parked_add(struct partition *p, uint64_t by)
{
    atomic_fetch_add_explicit(&p->parked, by, memory_order_relaxed);
    metric_add(METRIC_partition_parked, by);
}

static enum store_type type_of(struct slice name)
{
    if (name.len > 1 && (name.data[0] == 'x' || name.data[0] == 'X')) { return STORE_STREAM; }
    bool is_zset = name.len > 2 && (name.data[1] == 'z' || name.data[1] == 'Z');
    return is_zset ? STORE_ZSET : STORE_LIST;
}

/* A key may be named twice. */
static bool has_place(const struct waiter *waiter, const struct waited *waited)
{
    for (uint32_t i = 0; i < waiter->place_count; i++) {
        if (waiter->place[i].waited == waited) { return true; }
    }
    return false;
}

/* XREADGROUP with CLAIM: a time after which what is pending may be had. */
static bool is_idler(const struct partition_call *call)
{
    if (!slice_equal_nocase(call->argv[0], SLICE("xreadgroup"))) { return false; }
    for (uint32_t i = 1; i < call->argc; i++) {
        if (slice_equal_nocase(call->argv[i], SLICE("group"))) {
            i += 2; /* whatever they are called */
        } else if (slice_equal_nocase(call->argv[i], SLICE("streams"))) {
            return false;
        } else if (slice_equal_nocase(call->argv[i], SLICE("claim"))) {
            return true;
        }
    }
    return false;
}

static struct waiter *waiter_new(struct partition *p, struct partition_request *request)
{
    const struct partition_call *call = request->call;
    uint32_t count = request->wait_key_count;
    struct waiter *waiter = mem_new0(sizeof *waiter + count * sizeof waiter->place[0]);
    const struct data_command *command = data_command_find(call->argv[0]);
    waiter->request = request;
    waiter->type = type_of(call->argv[0]);
    waiter->is_read = command != NULL && command->access == DATA_READ;
    waiter->node.key = origin_key(&request->origin, waiter->key);
    map_insert(&p->waiters, &waiter->node, slice_hash(waiter->node.key));
    for (uint32_t i = 0; i < count; i++) {
        CHECK(request->wait_key[i] < call->argc);
        struct waited *waited = waited_make(p, call->db, call->argv[request->wait_key[i]]);
        if (!has_place(waiter, waited)) {
            place_take(waited, &waiter->place[waiter->place_count++], waiter);
        }
    }
    if (is_idler(call)) {
        list_push_back(&p->idlers, &waiter->idler);
        store_thread_touch(p);
    }
    parked_add(p, 1);
    return waiter;
}

static void waiter_free(struct partition *p, struct waiter *waiter)
{
    for (uint32_t i = 0; i < waiter->place_count; i++) {
        place_leave(p, &waiter->place[i]);
    }
    if (list_is_linked(&waiter->due)) { list_remove(&waiter->due); }
    if (list_is_linked(&waiter->idler)) { list_remove(&waiter->idler); }
    map_remove(&p->waiters, &waiter->node);
    mem_free(waiter);
    parked_add(p, UINT64_MAX);
}

static void waiter_end(struct partition *p, struct waiter *waiter, enum err err)
{
    struct partition_request *request = waiter->request;
    waiter_free(p, waiter);
    store_thread_answer(p, request, err);
}

static void waiter_end_unparked(struct partition *p, struct waiter *waiter)
{
    waiter->request->is_unparked = true;
    waiter_end(p, waiter, ERR_OK);
}

/* ---- is there something for it? ---- */

/* A call that only reads: answered from the store, if there is. */
static void try_read(struct partition *p, struct waiter *waiter)
{
    struct reader_slot *slot = partition_own_slot(p);
    struct partition_request *request = waiter->request;
    if (look_begin(slot, true) != ERR_OK) { return; }
    const struct call_place place = {.all = p->all,
                                     .txn = slot->reader,
                                     .resp_version = request->resp_version,
                                     .may_park = true};
    request->reply.len = 0;
    bool is_found = call_run(&place, request->call, &request->reply);
    store_reader_end(slot->reader);
    if (is_found) { waiter_end(p, waiter, ERR_OK); }
}

static void due_add(struct partition *p, struct waiter *waiter)
{
    if (waiter->is_proposed || list_is_linked(&waiter->due)) { return; }
    list_push_back(&p->due, &waiter->due);
    store_thread_touch(p);
}

/* One that writes: in a transaction that is thrown away. If it finds something it gets an entry; an error is the answer, and
 * takes nothing. */
static bool try_write(struct partition *p, struct waiter *waiter)
{
    struct buf *scratch = &p->thread->scratch;
    struct partition_request *request = waiter->request;
    struct store_txn *txn;
    scratch->len = 0;
    if (store_begin(p->file->store, &txn) != ERR_OK) { return false; }
    const struct call_place place = {
        .all = p->all, .txn = txn, .resp_version = request->resp_version, .may_park = true};
    /* The entry's time will be at least that. */
    uint64_t wall_ms = list_is_linked(&waiter->idler) ? clock_wall_us() / 1000 : 1;
    store_txn_entry(txn, p->clock_ms > wall_ms ? p->clock_ms : wall_ms, 1);
    bool is_found = call_run(&place, request->call, scratch);
    store_abort(txn);
    if (!is_found) { return false; }
    if (scratch->data[0] != '-') {
        due_add(p, waiter);
        return true;
    }
    request->reply.len = 0;
    buf_append(&request->reply, buf_slice(scratch));
    waiter_end(p, waiter, ERR_OK);
    return false;
}

/* Gives: will it take something? */
static bool try_find(struct partition *p, struct waiter *waiter)
{
    if (!waiter->is_read) { return try_write(p, waiter); }
    try_read(p, waiter);
    return false;
}

/* ---- parking ---- */

/* Was it executed, by whoever led before? */
static bool is_known(struct partition *p, struct partition_request *request)
{
    struct reader_slot *slot = partition_own_slot(p);
    const struct partition_origin *origin = &request->origin;
    const struct store_lane_id id = {origin->node_id, origin->incarnation, origin->worker,
                                     origin->is_parking};
    struct slice kept;
    if (look_begin(slot, true) != ERR_OK) { return false; }
    enum store_lane_state state = store_lane_look(slot->reader, &id, origin->seq, &kept);
    enum err err = state == STORE_LANE_KNOWN ? answer_give(kept, request) : ERR_INDOUBT;
    store_reader_end(slot->reader);
    if (state == STORE_LANE_NEW) { return false; }
    store_thread_answer(p, request, err);
    return true;
}

void waiters_park(struct partition *p, struct partition_request *request)
{
    CHECK(request->call_count == 1 && request->call->argc > 0);
    struct waiter *waiter = waiter_find(p, &request->origin);
    if (waiter != NULL) { /* by another way, the first one is gone */
        struct partition_request *gone = waiter->request;
        waiter->request = request;
        waiter->is_unwanted = false;
        store_thread_answer(p, gone, ERR_SLOW);
        return;
    }
    if (is_known(p, request)) { return; }
    if (p->waiters.count >= PARTITION_PARKED_MAX) {
        store_thread_answer(p, request, ERR_SLOW);
        return;
    }
    (void)try_find(p, waiter_new(p, request));
}

void waiters_unpark(struct partition *p, const struct partition_origin *origin)
{
    struct waiter *waiter = waiter_find(p, origin);
    if (waiter == NULL) { return; }
    if (waiter->is_proposed || list_is_linked(&waiter->due)) { /* it has found something */
        waiter->is_unwanted = true;
    } else {
        waiter_end_unparked(p, waiter);
    }
}

void waiters_end(struct partition *p, enum err err)
{
    struct list ended;
    list_init(&ended);
    for (struct map_node *node = map_next(&p->waiters, NULL); node != NULL;
         node = map_next(&p->waiters, node)) {
        struct waiter *waiter = CONTAINER_OF(node, struct waiter, node);
        if (waiter->is_proposed) { continue; }
        if (list_is_linked(&waiter->due)) { list_remove(&waiter->due); }
        list_push_back(&ended, &waiter->due);
    }
    while (!list_is_empty(&ended)) {
        waiter_end(p, CONTAINER_OF(ended.next, struct waiter, due), err);
    }
}

/* ---- keys that are written to ---- */

static void touch(struct partition *p, struct waited *waited)
{
    if (!list_is_linked(&waited->touched)) { list_push_back(&p->touched, &waited->touched); }
}

void waiters_touch(struct partition *p, uint16_t db, struct slice name)
{
    if (p->waited.count == 0) { return; }
    struct waited *waited = waited_find(p, db, name);
    if (waited != NULL) { touch(p, waited); }
}

void waiters_touch_all(struct partition *p)
{
    for (struct map_node *node = map_next(&p->waited, NULL); node != NULL;
         node = map_next(&p->waited, node)) {
        touch(p, CONTAINER_OF(node, struct waited, node));
    }
}

/* What is there, and how many it may serve. */
static uint64_t look_at(struct partition *p, const struct waited *waited, enum store_type *type)
{
    struct reader_slot *slot = partition_own_slot(p);
    struct store_object object = {0};
    if (look_begin(slot, true) != ERR_OK) { return 0; }
    const struct call_place place = {.all = p->all, .txn = slot->reader};
    bool is_there = call_object(&place, waited->db, waited->name, &object);
    store_reader_end(slot->reader);
    *type = is_there ? object.type : STORE_NONE;
    return is_there ? object.count : 0;
}

/* Those who wait for it, in their order, as far as there is something for them. A stream gives each what it has not had, and
 * a group that went with its stream is an answer, too: there each has to look. */
static void serve(struct partition *p, struct waited *waited)
{
    enum store_type type = STORE_NONE;
    uint64_t left = look_at(p, waited, &type);
    struct list *at = waited->places.next;
    for (bool is_last = false; !is_last;) {
        struct waiter *waiter = CONTAINER_OF(at, struct place, link)->waiter;
        at = at->next; /* with the last waiter the key may go */
        is_last = at == &waited->places;
        bool is_stream = waiter->type == STORE_STREAM;
        if ((!is_stream || waiter->is_read) && waiter->type != type) { continue; }
        if (!is_stream && left == 0) { continue; }
        bool takes = waiter->is_proposed || list_is_linked(&waiter->due) || try_find(p, waiter);
        left -= takes && !is_stream;
    }
}

void waiters_turn(struct partition *p)
{
    while (!list_is_empty(&p->touched)) {
        struct waited *waited = CONTAINER_OF(list_pop_front(&p->touched), struct waited, touched);
        if (p->term != 0) { serve(p, waited); }
    }
}

uint64_t waiters_idle_turn(struct partition *p)
{
    uint64_t now_ms = store_thread_now_ms();
    if (p->term == 0 || list_is_empty(&p->idlers)) { return UINT64_MAX; }
    if (now_ms < p->idlers_due_ms) { return p->idlers_due_ms; }
    p->idlers_due_ms = now_ms + WAITERS_LOOK_MS;
    struct list looked;
    list_init(&looked);
    for (unsigned i = 0; i < WAITERS_LOOK_MAX && !list_is_empty(&p->idlers); i++) {
        list_push_back(&looked, list_pop_front(&p->idlers));
    }
    while (!list_is_empty(&looked)) { /* one that ends leaves its list */
        struct waiter *waiter = CONTAINER_OF(list_pop_front(&looked), struct waiter, idler);
        list_push_back(&p->idlers, &waiter->idler);
        if (!waiter->is_proposed && !list_is_linked(&waiter->due)) { (void)try_find(p, waiter); }
    }
    return p->idlers_due_ms;
}

/* ---- entries ---- */

static struct waiter *propose(struct waiter *waiter)
{
    if (list_is_linked(&waiter->due)) { list_remove(&waiter->due); }
    waiter->is_proposed = true;
    return waiter;
}

bool waiters_are_due(const struct partition *p)
{
    return !list_is_empty(&p->due);
}

struct waiter *waiters_take(struct partition *p)
{
    if (list_is_empty(&p->due)) { return NULL; }
    return propose(CONTAINER_OF(p->due.next, struct waiter, due));
}

/* The first who is not in an entry. */
static struct waiter *first_of(const struct waited *waited)
{
    LIST_EACH (at, &waited->places) {
        struct waiter *waiter = CONTAINER_OF(at, struct place, link)->waiter;
        if (!waiter->is_proposed && !waiter->is_read) { return waiter; }
    }
    return NULL;
}

struct waiter *waiters_take_for(struct partition *p, const struct partition_call *call,
                                struct waiters_walk *at)
{
    if (p->waited.count == 0) { return NULL; }
    for (; at->word < call->argc; at->word++, at->taken = 0) {
        const struct waited *waited = waited_find(p, call->db, call->argv[at->word]);
        uint32_t behind = call->argc - at->word - 1;
        uint32_t taken_max = behind < 1 ? 1 : behind > FORESEEN_MAX ? FORESEEN_MAX : behind;
        if (waited == NULL || at->taken >= taken_max) { continue; }
        struct waiter *waiter = first_of(waited);
        if (waiter == NULL) { continue; }
        at->taken++;
        return propose(waiter);
    }
    return NULL;
}

void waiter_execute(struct waiter *waiter, bool is_executed)
{
    waiter->is_executed = is_executed;
}

void waiter_applied(struct partition *p, struct waiter *waiter)
{
    waiter->is_proposed = false;
    if (waiter->is_executed) {
        waiter_end(p, waiter, waiter->request->err);
    } else if (waiter->is_unwanted) {
        waiter_end_unparked(p, waiter);
    } else if (p->term == 0) {
        waiter_end(p, waiter, ERR_NOT_LEADER);
    }
}

void waiter_failed(struct partition *p, struct waiter *waiter, enum err err, bool is_again)
{
    waiter->is_proposed = false;
    if (!is_again) {
        waiter_end(p, waiter, err);
    } else if (waiter->is_unwanted) {
        waiter_end_unparked(p, waiter);
    } else {
        due_add(p, waiter);
    }
}
