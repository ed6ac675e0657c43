/* reads: see the header. */
#include "partition/reads.h"

#include "partition/propose.h"
#include "partition/apply.h"
#include "partition/aside.h"
#include "partition/backup.h"
#include "partition/damage.h"
#include "partition/look.h"
#include "partition/store_thread.h"

static void round_start(struct partition *p);

void reads_init(struct partition *p)
{
    list_init(&p->backups);
    list_init(&p->reads_behind);
    list_init(&p->reads_commit);
    list_init(&p->reads_round);
    list_init(&p->reads_asked);
    list_init(&p->reads_tick);
    list_init(&p->reads_ticked);
}

static void wait_for_tick(struct partition *p, struct partition_request *request)
{
    list_push_back(&p->reads_tick, &request->link);
    store_thread_touch(p);
}

static void on_hid(struct task *task) /* store: from a thread aside */
{
    struct partition_request *request = CONTAINER_OF(task, struct partition_request, task);
    struct partition *p = request->inner;
    if (store_thread_keeps(p, task)) { return; }
    if (p->term == 0) {
        store_thread_answer(p, request, ERR_NOT_LEADER);
    } else {
        wait_for_tick(p, request);
    }
}

/* What the request may see is committed. */
static void run_shown(struct partition *p, struct partition_request *request, bool by_entry)
{
    struct reader_slot *slot = partition_own_slot(p);
    if (request_is_owed_too_much(request) || gates_hold(&p->gates, request)) {
        store_thread_answer(p, request, ERR_SLOW);
        return;
    }
    if (UNLIKELY(backup_is(request))) {
        backup_begin(p, request);
        return;
    }
    enum err err = look_begin(slot, by_entry);
    enum look_end end = err == ERR_CORRUPT ? LOOK_FAILED : LOOK_NOT_NOW;
    if (err == ERR_OK) {
        bool is_taken = aside_take(p, request, by_entry, on_hid);
        if (!is_taken) { end = look_run(p, slot, request); }
        store_reader_end(slot->reader);
        if (is_taken) { return; }
    }
    if (end == LOOK_FAILED) { damage_found(p, p->file); }
    if (end == LOOK_HID) {
        wait_for_tick(p, request);
    } else {
        store_thread_answer(p, request, end == LOOK_DONE ? ERR_OK : ERR_NOT_LEADER);
    }
}

static void wait_for_commit(struct partition *p, struct partition_request *request, uint64_t index)
{
    request->number = index;
    list_push_back(&p->reads_commit, &request->link);
}

/* What the request may see is executed. */
static void run_now(struct partition *p, struct partition_request *request, bool by_entry)
{
    if (apply_show(p, p->executed)) {
        run_shown(p, request, by_entry);
    } else {
        wait_for_commit(p, request, p->executed);
    }
}

/* The writes before it are answered: now it needs to know what is acknowledged elsewhere. */
static void read_now(struct partition *p, struct partition_request *request)
{
    uint64_t commit;
    if (!look_point(p, &commit)) {
        list_push_back(&p->reads_round, &request->link);
        round_start(p);
    } else if (apply_show(p, commit)) {
        run_shown(p, request, false);
    } else {
        wait_for_commit(p, request, commit);
    }
}

void reads_ask(struct partition *p, struct partition_request *request)
{
    if (UNLIKELY(backup_is(request)) && backup_go_on(p, request)) { return; }
    request->need = p->number_last;
    if (propose_is_answered(p, request->need)) {
        read_now(p, request);
    } else {
        list_push_back(&p->reads_behind, &request->link);
    }
}

static void refuse_all(struct partition *p, struct list *list, enum err err)
{
    while (!list_is_empty(list)) {
        store_thread_answer(p, CONTAINER_OF(list_pop_front(list), struct partition_request, link),
                            err);
    }
}

/* ---- a round: the engine says when the state holds what was acknowledged before ---- */

static void on_back(struct task *task) /* store */
{
    struct partition *p = CONTAINER_OF(task, struct partition, round_back);
    if (store_thread_keeps(p, task)) { return; }
    p->round_is_open = false;
    if (p->round_request.err != ERR_OK || p->term == 0) {
        refuse_all(p, &p->reads_asked, ERR_NOT_LEADER);
    }
    while (!list_is_empty(&p->reads_asked)) {
        run_now(p, CONTAINER_OF(list_pop_front(&p->reads_asked), struct partition_request, link),
                false);
    }
    if (!list_is_empty(&p->reads_round)) { round_start(p); }
}

static void on_read(struct read_request *request, enum err err) /* raft */
{
    struct partition *p = CONTAINER_OF(request, struct partition, round_request);
    request->err = err;
    mailbox_post(&p->thread->mailbox, &p->round_back);
}

static void on_ask(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, round_request.task);
    engine_read(consensus_engine(p->all->opts.consensus), &p->round_request);
}

static void round_start(struct partition *p)
{
    if (p->round_is_open) { return; }
    p->round_is_open = true;
    while (!list_is_empty(&p->reads_round)) {
        list_push_back(&p->reads_asked, list_pop_front(&p->reads_round));
    }
    p->round_back.run = on_back;
    p->round_request =
        (struct read_request){.task = {.run = on_ask}, .group = p->group, .on_done = on_read};
    store_thread_to_raft(p, &p->round_request.task);
}

/* ---- turns ---- */

void reads_turn(struct partition *p)
{
    while (!list_is_empty(&p->reads_behind)) {
        struct partition_request *request =
            CONTAINER_OF(p->reads_behind.next, struct partition_request, link);
        if (!propose_is_answered(p, request->need)) { break; }
        list_remove(&request->link);
        read_now(p, request);
    }
    while (!list_is_empty(&p->reads_commit)) {
        struct partition_request *request =
            CONTAINER_OF(p->reads_commit.next, struct partition_request, link);
        if (!apply_show(p, request->number)) { break; }
        list_remove(&request->link);
        run_shown(p, request, false);
    }
    while (!p->tick_is_open && !list_is_empty(&p->reads_ticked)) {
        run_now(p, CONTAINER_OF(list_pop_front(&p->reads_ticked), struct partition_request, link),
                true);
    }
}

void reads_end(struct partition *p, enum err err)
{
    refuse_all(p, &p->reads_behind, err);
    refuse_all(p, &p->reads_commit, err);
    refuse_all(p, &p->reads_round, err);
    refuse_all(p, &p->reads_tick, err);
    refuse_all(p, &p->reads_ticked, err);
    backups_cancel(p);
}
