/* The promises of consensus/snapshot, by three engines in one thread, on simulated disks and a
 * clock that the test moves. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "consensus/engine.h"
#include "consensus/engine_int.h"
#include "consensus/group/group_int.h"
#include "sim/sim_disk.h"

enum {
    NODES = 3,
    GROUP = 4,
    STEP_MS = 5,
    RESERVE_BYTES = 10000,
    CHUNK_BYTES = 1000,
    BULK_OVERHEAD = 100, /* of a frame with a chunk */
};

struct world;

struct node {
    struct world *world;
    char name[8];
    struct sim_disk sd;
    struct engine *e;
    uint64_t applied;
    uint64_t begun_count;    /* images */
    uint64_t restored_count; /* images restored */
    uint64_t restoring_bytes;
    uint64_t bulk_bytes; /* that it was sent */
    uint64_t free_bytes_least;
    uint64_t durable; /* that it says its own store keeps */
    /* What it was asked for and does elsewhere, until a moment later. */
    uint64_t answer_ms; /* 0: nothing */
    struct image *image;
    enum err restored;
};

struct frame {
    struct list link;
    uint64_t due_ms;
    int from;
    int to;
    struct buf bytes;
};

struct world {
    struct node nodes[NODES + 1]; /* from 1 */
    uint64_t now_ms;
    uint64_t delay_ms;  /* one way */
    size_t body_bytes;  /* of an image */
    bool bodies_differ; /* from node to node */
    int cut;            /* this node hears nobody, and is not heard; 0: none */
    struct list frames;
    struct engine_opts opts;
};

static int number_of(const char *name)
{
    return name[1] - '0';
}

static uint64_t world_now(void *arg)
{
    return ((struct node *)arg)->world->now_ms;
}

static void world_send(void *arg, const char *to_name, struct slice bytes, bool is_bulk)
{
    const struct node *node = arg;
    struct world *w = node->world;
    int from = number_of(node->name);
    int to = number_of(to_name);
    if (from == w->cut || to == w->cut) { return; }
    if (is_bulk) { w->nodes[to].bulk_bytes += bytes.len; }
    struct frame *frame = mem_new0(sizeof *frame);
    frame->due_ms = w->now_ms + w->delay_ms;
    frame->from = from;
    frame->to = to;
    buf_append(&frame->bytes, bytes);
    list_push_back(&w->frames, &frame->link);
}

static void world_fatal(void *arg, const char *what)
{
    (void)arg;
    cr_assert_fail("%s", what);
}

/* ---- the state machine: nothing but an index, and a body of bytes ---- */

struct image {
    uint64_t index; /* and the node, if bodies differ */
    size_t bytes;
    size_t at;
};

static char body_byte(uint64_t index, size_t at)
{
    return (char)(1 + (index * 31 + at * 7) % 255);
}

static enum fsm_answer fsm_apply_batch(void *arg, const struct fsm_batch *batch)
{
    ((struct node *)arg)->applied = batch->last_index;
    return FSM_DONE;
}

static uint64_t fsm_applied_index(void *arg)
{
    return ((struct node *)arg)->applied;
}

static uint64_t fsm_durable_index(void *arg)
{
    return ((struct node *)arg)->durable;
}

static void *fsm_begin(void *arg)
{
    struct node *node = arg;
    struct image *image = mem_new0(sizeof *image);
    *image = (struct image){node->applied, node->world->body_bytes, 0};
    if (node->world->bodies_differ) { image->index += (uint64_t)number_of(node->name); }
    node->begun_count++;
    return image;
}

static enum err fsm_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    size_t rest = image->bytes - image->at;
    *bytes = rest < bytes_max ? rest : bytes_max;
    for (size_t i = 0; i < *bytes; i++) {
        out[i] = body_byte(image->index, image->at + i);
    }
    image->at += *bytes;
    return ERR_OK;
}

static void fsm_restore_begin(void *arg)
{
    struct node *node = arg;
    node->applied = 0;
    node->restoring_bytes = 0;
}

static enum err fsm_restore_write(void *arg, struct slice bytes)
{
    ((struct node *)arg)->restoring_bytes += bytes.len;
    return ERR_OK;
}

static enum err fsm_restore_end(void *arg, uint64_t index)
{
    struct node *node = arg;
    node->applied = index;
    node->restored_count++;
    return node->restoring_bytes == node->world->body_bytes ? ERR_OK : ERR_CORRUPT;
}

static void fsm_on_leader(void *arg, bool is_leader, uint64_t term)
{
    (void)arg;
    (void)is_leader;
    (void)term;
}

static const struct fsm_ops ops = {
    .apply = fsm_apply_batch,
    .applied_index = fsm_applied_index,
    .snapshot_begin = fsm_begin,
    .snapshot_read = fsm_read,
    .snapshot_end = mem_free,
    .restore_begin = fsm_restore_begin,
    .restore_write = fsm_restore_write,
    .restore_end = fsm_restore_end,
    .on_leader = fsm_on_leader,
};

/* The same, of a machine that does everything elsewhere and answers later. */

enum { ELSEWHERE_MS = 30 };

static void *slow_begin(void *arg)
{
    struct node *node = arg;
    cr_assert_eq(node->answer_ms, 0);
    node->image = fsm_begin(arg);
    node->answer_ms = node->world->now_ms + ELSEWHERE_MS;
    return NULL;
}

static enum err slow_restore_write(void *arg, struct slice bytes)
{
    struct node *node = arg;
    cr_assert_eq(node->answer_ms, 0);
    node->restored = fsm_restore_write(arg, bytes);
    node->answer_ms = node->world->now_ms + ELSEWHERE_MS;
    return ERR_SLOW;
}

static enum err slow_restore_end(void *arg, uint64_t index)
{
    struct node *node = arg;
    cr_assert_eq(node->answer_ms, 0);
    node->restored = fsm_restore_end(arg, index);
    node->answer_ms = node->world->now_ms + ELSEWHERE_MS;
    return ERR_SLOW;
}

static void slow_answer(struct node *node)
{
    if (node->answer_ms == 0 || node->world->now_ms < node->answer_ms) { return; }
    struct image *image = node->image;
    node->answer_ms = 0;
    node->image = NULL;
    if (image != NULL) {
        engine_snapshot_begun(node->e, GROUP, image);
    } else {
        engine_restored(node->e, GROUP, node->restored);
    }
}

static struct fsm_ops slow_ops;
static struct fsm_ops durable_ops; /* the same, of one that keeps itself */

/* ---- the world ---- */

static void deliver(struct world *w)
{
    LIST_EACH (at, &w->frames) {
        struct frame *frame = CONTAINER_OF(at, struct frame, link);
        if (frame->due_ms > w->now_ms) { return; }
        list_remove(at);
        if (frame->from != w->cut && frame->to != w->cut) {
            cr_assert_eq(engine_receive(w->nodes[frame->to].e, w->nodes[frame->from].name,
                                        buf_slice(&frame->bytes)),
                         ERR_OK);
        }
        buf_fini(&frame->bytes);
        mem_free(frame);
    }
}

static void step(struct world *w)
{
    w->now_ms += STEP_MS;
    deliver(w);
    for (int i = 1; i <= NODES; i++) {
        struct node *node = &w->nodes[i];
        if (node->e == NULL) { continue; }
        node->sd.now_ms = w->now_ms;
        slow_answer(node);
        engine_tick(node->e);
        engine_turn(node->e);
        while (sim_disk_step(&node->sd, w->now_ms)) {
            engine_turn(node->e);
        }
        uint64_t free_bytes = node->sd.capacity_bytes - sim_disk_used_bytes(&node->sd);
        if (free_bytes < node->free_bytes_least) { node->free_bytes_least = free_bytes; }
    }
}

static void run(struct world *w, uint64_t ms)
{
    for (uint64_t until_ms = w->now_ms + ms; w->now_ms < until_ms;) {
        step(w);
    }
}

static struct node *leader(struct world *w)
{
    for (int i = 1; i <= NODES; i++) {
        struct engine_status status;
        if (w->nodes[i].e != NULL && i != w->cut && engine_status(w->nodes[i].e, GROUP, &status) &&
            status.owns_term) {
            return &w->nodes[i];
        }
    }
    return NULL;
}

static struct node *leader_in_time(struct world *w)
{
    for (int i = 0; i < 4000; i++) {
        if (leader(w) != NULL) { return leader(w); }
        step(w);
    }
    cr_assert_fail("nobody leads");
    return NULL;
}

static struct group *group_of(struct node *node)
{
    return groups_find(&node->e->groups, GROUP);
}

static struct world *world_with(const struct fsm_ops *fsm_ops, int node_count, size_t body_bytes,
                                uint64_t bulk_bytes_per_s)
{
    struct world *w = mem_new0(sizeof *w);
    struct engine_server servers[NODES];
    w->now_ms = 10000;
    w->delay_ms = 1;
    w->body_bytes = body_bytes;
    list_init(&w->frames);
    w->opts = engine_opts_default();
    w->opts.election_ms = 300;
    w->opts.heartbeat_ms = 50;
    w->opts.segment_bytes = 4096;
    w->opts.segments_max = 1000;
    w->opts.snapshot_log_bytes = 2000;
    w->opts.trailing_entries = 0;
    w->opts.chunk_bytes = CHUNK_BYTES;
    w->opts.bulk_bytes_per_s = bulk_bytes_per_s;
    w->opts.free_bytes_min = RESERVE_BYTES;
    w->opts.ballast_bytes = 8000;
    for (int i = 1; i <= node_count; i++) {
        struct node *node = &w->nodes[i];
        struct wal_report report;
        node->world = w;
        node->free_bytes_least = UINT64_MAX;
        snprintf(node->name, sizeof node->name, "n%d", i);
        servers[i - 1] = (struct engine_server){(uint64_t)i, node->name};
        sim_disk_init(&node->sd, (uint64_t)i);
        w->opts.node_name = node->name;
        w->opts.node_id = (uint64_t)i;
        w->opts.random_seed = (uint64_t)i;
        struct engine_world world = {node, &node->sd.disk, world_now, world_send, world_fatal};
        cr_assert_eq(engine_open(&node->e, &w->opts, &world, &report), ERR_OK);
    }
    for (int i = 1; i <= node_count; i++) {
        cr_assert_eq(engine_group_create(w->nodes[i].e, GROUP, (uint64_t)i, fsm_ops, &w->nodes[i],
                                         servers, (size_t)node_count),
                     ERR_OK);
    }
    (void)leader_in_time(w);
    return w;
}

static struct world *world_new(int node_count, size_t body_bytes, uint64_t bulk_bytes_per_s)
{
    return world_with(&ops, node_count, body_bytes, bulk_bytes_per_s);
}

static void world_free(struct world *w)
{
    for (int i = 1; i <= NODES; i++) {
        if (w->nodes[i].e == NULL) { continue; }
        sim_disk_drain(&w->nodes[i].sd);
        engine_free(w->nodes[i].e);
        sim_disk_fini(&w->nodes[i].sd);
    }
    while (!list_is_empty(&w->frames)) {
        struct frame *frame = CONTAINER_OF(list_pop_front(&w->frames), struct frame, link);
        buf_fini(&frame->bytes);
        mem_free(frame);
    }
    mem_free(w);
}

static void on_proposed(struct proposal *p, enum err err)
{
    (void)err;
    mem_free(p);
}

/* A command of so many bytes, to whoever leads. */
static void propose(struct world *w, size_t bytes)
{
    static char data[4096];
    struct node *node = leader(w);
    if (node == NULL) { return; }
    struct proposal *p = mem_new0(sizeof *p);
    p->group = GROUP;
    p->data = slice_of(data, bytes);
    p->on_done = on_proposed;
    engine_propose(node->e, p);
}

static void write_log(struct world *w, size_t bytes)
{
    for (; bytes >= 500; bytes -= 500) {
        propose(w, 500);
        run(w, 100); /* everybody applies it */
    }
}

static bool has_snapshot(struct node *node)
{
    return wal_log_snapshot(group_of(node)->log) != NULL;
}

/* A node that is no leader misses so much that it needs a snapshot, and is back. */
static struct node *make_lag(struct world *w)
{
    struct node *node = leader(w) == &w->nodes[3] ? &w->nodes[2] : &w->nodes[3];
    w->cut = number_of(node->name);
    for (int i = 0; i < 100 && !(leader(w) != NULL && has_snapshot(leader(w))); i++) {
        write_log(w, 1000);
    }
    run(w, 2000); /* what was begun is finished */
    cr_assert(has_snapshot(leader_in_time(w)));
    node->bulk_bytes = 0;
    w->cut = 0;
    return node;
}

static bool restores(struct world *w, const struct node *node, uint64_t ms)
{
    for (uint64_t until_ms = w->now_ms + ms; w->now_ms < until_ms;) {
        if (node->restored_count > 0) { return true; }
        step(w);
    }
    return false;
}

static size_t snapshot_file_count(const struct node *node)
{
    size_t count = 0;
    LIST_EACH (at, &node->sd.files) {
        count += strncmp(CONTAINER_OF(at, struct sim_file, link)->name, "snap-", 5) == 0;
    }
    return count;
}

/* ---- tests ---- */

Test(consensus_snapshot, taking_ends_above_the_mark_and_is_not_begun_again_at_once)
{
    struct world *w = world_new(1, 200000, 1 << 30);
    struct node *node = &w->nodes[1];
    run(w, 500);
    node->sd.capacity_bytes = sim_disk_used_bytes(&node->sd) + RESERVE_BYTES + 60000;
    write_log(w, 4000);
    run(w, 8000);
    cr_assert_geq(node->free_bytes_least, RESERVE_BYTES);
    cr_assert_eq(snapshot_file_count(node), 0, "what was begun is removed");
    cr_assert_not(has_snapshot(node));
    cr_assert_leq(node->begun_count, 5, "begun %lu times", node->begun_count);
    cr_assert_gt(node->begun_count, 0);
    node->sd.capacity_bytes = 1 << 30;
    run(w, 20000);
    cr_assert(has_snapshot(node));
    world_free(w);
}

Test(consensus_snapshot, fetching_ends_above_the_mark_and_goes_on_when_there_is_space)
{
    struct world *w = world_new(3, 60000, 1 << 30);
    struct node *node = make_lag(w);
    node->sd.capacity_bytes = sim_disk_used_bytes(&node->sd) + RESERVE_BYTES + 70000;
    run(w, 20);
    node->free_bytes_least = UINT64_MAX;
    node->sd.capacity_bytes -= 50000; /* when it has begun */
    run(w, 6000);
    cr_assert_geq(node->free_bytes_least, RESERVE_BYTES);
    cr_assert_eq(snapshot_file_count(node), 0);
    cr_assert_eq(node->restored_count, 0);
    node->sd.capacity_bytes = 1 << 30;
    cr_assert(restores(w, node, 20000));
    world_free(w);
}

Test(consensus_snapshot, a_transfer_that_has_begun_is_finished_while_the_leader_takes_new_ones)
{
    struct world *w = world_new(3, 30000, 6000);
    struct node *node = make_lag(w);
    struct node *from = leader_in_time(w);
    uint64_t begun = from->begun_count;
    uint64_t until_ms = w->now_ms + 15000; /* thrice what one takes */
    while (w->now_ms < until_ms && node->restored_count == 0) {
        propose(w, 500);
        run(w, 20); /* four times as fast as the snapshot comes */
    }
    cr_assert_gt(node->restored_count, 0);
    cr_assert_geq(from->begun_count, begun + 2, "the log did not wait for it");
    world_free(w);
}

Test(consensus_snapshot, who_catches_up_as_fast_as_the_log_grows_needs_one_transfer)
{
    struct world *w = world_new(3, 30000, 15000);
    struct node *node = make_lag(w);
    uint64_t until_ms = w->now_ms + 10000;
    while (w->now_ms < until_ms) {
        propose(w, 500);
        run(w, 50); /* two thirds as fast as the snapshot comes */
    }
    run(w, 500);
    cr_assert_eq(node->restored_count, 1);
    cr_assert_eq(node->applied, leader_in_time(w)->applied);
    world_free(w);
}

/* The leader changes in the middle of a transfer. */
static void change_leader(bool bodies_differ)
{
    struct world *w = world_new(3, 30000, 10000);
    w->bodies_differ = bodies_differ;
    struct node *node = make_lag(w);
    struct node *first = leader_in_time(w);
    run(w, 1500); /* half of it */
    cr_assert_eq(node->restored_count, 0);
    for (int i = 1; i <= NODES; i++) {
        if (&w->nodes[i] != node && &w->nodes[i] != first) {
            cr_assert_eq(engine_transfer(first->e, GROUP, (uint64_t)i), ERR_OK);
        }
    }
    run(w, 300);
    cr_assert_neq(leader_in_time(w), first);
    if (!bodies_differ) { w->cut = number_of(first->name); }
    cr_assert(restores(w, node, 6000));
    cr_assert_lt(node->bulk_bytes, 30000 / CHUNK_BYTES * (CHUNK_BYTES + BULK_OVERHEAD) * 5 / 4,
                 "%lu bytes came", node->bulk_bytes);
    run(w, 3000);
    cr_assert_eq(node->applied, leader_in_time(w)->applied);
    world_free(w);
}

Test(consensus_snapshot, a_transfer_is_finished_from_the_former_leader_where_the_contents_differ)
{
    change_leader(true);
}

Test(consensus_snapshot, a_transfer_goes_on_from_the_new_leader_where_the_contents_are_the_same)
{
    change_leader(false);
}

Test(consensus_snapshot, a_damaged_file_is_told_to_its_node_which_takes_a_new_one)
{
    struct world *w = world_new(3, 30000, 1 << 30);
    struct node *from = leader_in_time(w);
    struct node *node = from == &w->nodes[3] ? &w->nodes[2] : &w->nodes[3];
    w->cut = number_of(node->name);
    while (!has_snapshot(from)) {
        write_log(w, 500);
    }
    cr_assert_eq(leader_in_time(w), from);
    uint64_t file = wal_log_snapshot(group_of(from)->log)->file;
    char name[DISK_NAME_BYTES];
    snprintf(name, sizeof name, "snap-%lu", file);
    cr_assert(sim_disk_flip(&from->sd, name, 17000));
    w->cut = 0;
    cr_assert(restores(w, node, 20000));
    cr_assert_gt(wal_log_snapshot(group_of(from)->log)->file, file);
    run(w, 500);
    cr_assert_null(sim_disk_find(&from->sd, name));
    world_free(w);
}

Test(consensus_snapshot, pieces_are_asked_for_ahead_where_the_way_is_long)
{
    struct world *w = world_new(3, 100000, 1 << 30);
    struct node *node = make_lag(w);
    w->delay_ms = 50;
    cr_assert(restores(w, node, 3000), "one at a time takes ten seconds");
    world_free(w);
}

/* ---- a state machine that keeps itself ---- */

/* Each node's store is durable up to what it has applied. */
static void checkpoint(struct world *w)
{
    for (int i = 1; i <= NODES; i++) {
        w->nodes[i].durable = w->nodes[i].applied;
    }
}

static struct world *durable_world(void)
{
    durable_ops = ops;
    durable_ops.durable_index = fsm_durable_index;
    return world_with(&durable_ops, 3, 30000, 1 << 30);
}

Test(consensus_snapshot, what_a_state_machine_keeps_leaves_the_log_without_an_image)
{
    struct world *w = durable_world();
    for (int i = 0; i < 20; i++) {
        write_log(w, 1000);
        checkpoint(w);
    }
    run(w, 500);
    for (int i = 1; i <= NODES; i++) {
        struct wal_log *log = group_of(&w->nodes[i])->log;
        cr_assert_eq(w->nodes[i].begun_count, 0);
        cr_assert_gt(wal_log_first_index(log), 30);
        cr_assert_lt(wal_log_live_bytes(log), 4000);
    }
    write_log(w, 9000); /* it does not keep them */
    cr_assert_gt(leader_in_time(w)->begun_count, 0, "the log has its bound all the same");
    world_free(w);
}

Test(consensus_snapshot, who_needs_an_image_of_what_keeps_itself_gets_one)
{
    struct world *w = durable_world();
    struct node *node = leader(w) == &w->nodes[3] ? &w->nodes[2] : &w->nodes[3];
    w->cut = number_of(node->name);
    for (int i = 0; i < 5; i++) {
        write_log(w, 1000);
        checkpoint(w);
    }
    run(w, 500);
    cr_assert_eq(leader_in_time(w)->begun_count, 0);
    cr_assert(has_snapshot(leader(w)));
    w->cut = 0;
    cr_assert(restores(w, node, 5000));
    run(w, 1000);
    cr_assert_eq(node->applied, leader_in_time(w)->applied);
    world_free(w);
}

static enum err reopen(struct world *w, struct node *node)
{
    struct wal_report report;
    engine_free(node->e);
    struct engine_world world = {node, &node->sd.disk, world_now, world_send, world_fatal};
    w->opts.node_name = node->name;
    w->opts.node_id = (uint64_t)number_of(node->name);
    cr_assert_eq(engine_open(&node->e, &w->opts, &world, &report), ERR_OK);
    return engine_group_open(node->e, GROUP, &durable_ops, node);
}

Test(consensus_snapshot, a_state_machine_that_lost_what_it_kept_is_not_opened)
{
    struct world *w = durable_world();
    struct node *node = leader(w) == &w->nodes[3] ? &w->nodes[2] : &w->nodes[3];
    for (int i = 0; i < 5; i++) {
        write_log(w, 1000);
        checkpoint(w);
    }
    run(w, 500);
    sim_disk_drain(&node->sd);
    uint64_t applied = node->applied;
    node->applied = node->durable;
    cr_assert_eq(reopen(w, node), ERR_OK);
    run(w, 500);
    cr_assert_eq(node->applied, applied);
    sim_disk_drain(&node->sd);
    node->applied = 1;
    cr_assert_eq(reopen(w, node), ERR_CORRUPT);
    world_free(w);
}

/* ---- a state machine that works elsewhere ---- */

static struct world *slow_world(void)
{
    slow_ops = ops;
    slow_ops.snapshot_begin = slow_begin;
    slow_ops.restore_write = slow_restore_write;
    slow_ops.restore_end = slow_restore_end;
    return world_with(&slow_ops, 3, 5000, 1 << 30);
}

Test(consensus_snapshot, a_state_machine_may_begin_and_restore_elsewhere)
{
    struct world *w = slow_world();
    struct node *node = make_lag(w);
    cr_assert(restores(w, node, 5000));
    run(w, 1000);
    cr_assert_eq(node->applied, leader_in_time(w)->applied);
    world_free(w);
}

/* Run until the node was asked for something that it does elsewhere. */
static void wait_asked(struct world *w, struct node *node)
{
    for (int i = 0; node->answer_ms == 0; i++) {
        cr_assert_lt(i, 2000);
        step(w);
    }
}

Test(consensus_snapshot, a_group_that_is_closed_waits_for_what_its_state_machine_has_in_hand)
{
    struct world *w = slow_world();
    struct node *node = make_lag(w);
    wait_asked(w, node);
    cr_assert_eq(node->restored_count, 0);
    engine_group_close(node->e, GROUP);
    cr_assert_eq(engine_group_open(node->e, GROUP, &slow_ops, node), ERR_SLOW);
    cr_assert_not(engine_is_drained(node->e));
    run(w, ELSEWHERE_MS + STEP_MS);
    cr_assert(engine_is_drained(node->e));
    cr_assert_eq(engine_group_open(node->e, GROUP, &slow_ops, node), ERR_OK);
    cr_assert(restores(w, node, 5000));
    world_free(w);
}

Test(consensus_snapshot, an_image_that_nobody_wants_any_more_is_given_back)
{
    struct world *w = slow_world();
    struct node *node = leader_in_time(w);
    while (node->image == NULL) {
        propose(w, 500);
        step(w);
    }
    engine_group_delete(node->e, GROUP);
    cr_assert_not(engine_is_drained(node->e));
    run(w, ELSEWHERE_MS + STEP_MS);
    cr_assert(engine_is_drained(node->e));
    world_free(w); /* a leak of the image would be told */
}
