/* Commands of a node alone, with a partition of the test's in place of the real one. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cluster/commands.h"

enum { MS_FOREVER = 60000, PARTITION = 3 };

/* ---- the partition ---- */

static struct fake {
    struct mailbox mailbox;
    struct list asked;
    uint64_t term;
    uint32_t wake_count;
    uint32_t unparked_count;
    uint64_t unparked_seq;
} fake;

void partition_push(struct partitions *partitions, struct partition_request *request)
{
    cr_assert_eq((const void *)partitions, &fake);
    cr_assert_eq(request->home, &fake.mailbox);
    list_push_back(&fake.asked, &request->link);
}

void partition_ask(struct partitions *partitions, struct partition_request *request)
{
    partition_push(partitions, request);
}

void partitions_wake(struct partitions *partitions)
{
    cr_assert_eq((const void *)partitions, &fake);
    fake.wake_count++;
}

bool partition_read(struct partitions *partitions, uint32_t worker,
                    struct partition_request *request)
{
    cr_assert_eq((const void *)partitions, &fake);
    cr_assert_eq(worker, 1);
    return request->call_count == 0;
}

void partition_unpark(struct partitions *partitions, uint32_t partition,
                      const struct partition_origin *origin)
{
    cr_assert_eq((const void *)partitions, &fake);
    cr_assert_eq(partition, PARTITION);
    cr_assert(origin->is_parking);
    fake.unparked_seq = origin->seq;
    fake.unparked_count++;
}

uint64_t partition_leads(const struct partitions *partitions, uint32_t partition)
{
    cr_assert_eq((const void *)partitions, &fake);
    cr_assert_eq(partition, PARTITION);
    return fake.term;
}

/* The rest of the module is not to be linked: a node alone asks nothing else. */
enum err partitions_new(struct partitions **out, const struct partitions_opts *opts)
{
    (void)out;
    (void)opts;
    return ERR_SYSTEM;
}

void partitions_stop(struct partitions *partitions)
{
    (void)partitions;
}

void partitions_free(struct partitions *partitions)
{
    (void)partitions;
}

enum err partitions_create(struct partitions *partitions, uint32_t partition, uint64_t replica,
                           bool is_founder)
{
    (void)partitions;
    (void)partition;
    (void)replica;
    (void)is_founder;
    return ERR_SYSTEM;
}

enum err partitions_open(struct partitions *partitions, uint32_t partition)
{
    (void)partitions;
    (void)partition;
    return ERR_SYSTEM;
}

void partitions_delete(struct partitions *partitions, uint32_t partition)
{
    (void)partitions;
    (void)partition;
}

uint64_t partitions_replica(const struct partitions *partitions, uint32_t partition)
{
    (void)partitions;
    return partition;
}

uint64_t partitions_group(uint32_t partition)
{
    return partition;
}

void partitions_forget(struct partitions *partitions, uint64_t node_id, uint64_t incarnation_below)
{
    (void)partitions;
    (void)node_id;
    (void)incarnation_below;
}

static uint32_t asked_count(void)
{
    uint32_t count = 0;
    LIST_EACH (at, &fake.asked) {
        count++;
    }
    return count;
}

static struct partition_request *asked_first(void)
{
    cr_assert(!list_is_empty(&fake.asked));
    return CONTAINER_OF(fake.asked.next, struct partition_request, link);
}

/* Answer the one that was asked first. */
static void answer(enum err err)
{
    struct partition_request *request = asked_first();
    list_remove(&request->link);
    request->err = err;
    if (err == ERR_OK) { buf_append_uint(&request->reply, request->origin.seq); }
    request->on_done(request);
}

/* ---- the askers ---- */

struct asker {
    struct partition_request request;
    struct slice argv[2];
    struct partition_call call;
    uint32_t done_count;
};

static uint32_t done_order[8192];
static uint32_t done_count;
static struct commands *commands;

static void on_done(struct partition_request *request)
{
    struct asker *asker = CONTAINER_OF(request, struct asker, request);
    cr_assert_eq(asker->done_count++, 0);
    done_order[done_count++ % 8192] = (uint32_t)request->ticket;
}

/* `ticket` is its name. */
static void ask(struct asker *asker, enum partition_ask what, uint64_t name)
{
    *asker = (struct asker){
        .argv = {SLICE("INCR"), SLICE("k")},
        .request = {.ask = what, .partition = PARTITION, .ticket = name, .on_done = on_done},
    };
    asker->call = (struct partition_call){.argc = 2, .argv = asker->argv};
    asker->request.call = &asker->call;
    asker->request.call_count = 1;
    commands_ask(commands, &asker->request);
    cr_assert_eq(asker->done_count, 0, "not from inside");
}

static void asker_fini(struct asker *asker)
{
    cr_assert_eq(asker->done_count, 1);
    buf_fini(&asker->request.reply);
}

static void begin(uint32_t timeout_ms)
{
    const struct commands_opts opts = {
        .partitions = (struct partitions *)(void *)&fake,
        .worker = 1,
        .mailbox = &fake.mailbox,
        .timeout_ms = timeout_ms,
        .node_id = 77,
        .incarnation = 5,
    };
    commands = commands_new(&opts);
}

static void no_wake(void *arg)
{
    (void)arg;
}

static void set_up(void)
{
    mailbox_init(&fake.mailbox, no_wake, NULL);
    list_init(&fake.asked);
    fake.term = 1;
}

static void tear_down(void)
{
    mailbox_run(&fake.mailbox);
    cr_assert(list_is_empty(&fake.asked));
    commands_free(commands);
}

TestSuite(commands, .init = set_up, .fini = tear_down);

/* ---- writes ---- */

Test(commands, a_write_has_its_lane_s_next_number_and_says_which_are_answered)
{
    begin(MS_FOREVER);
    struct asker a, b, c;
    ask(&a, PARTITION_WRITE, 1);
    ask(&b, PARTITION_WRITE, 2);
    const struct partition_origin *first = &asked_first()->origin;
    cr_assert_eq(first->node_id, 77);
    cr_assert_eq(first->incarnation, 5);
    cr_assert_eq(first->worker, 1);
    cr_assert(!first->is_parking);
    cr_assert_eq(first->seq, 1);
    cr_assert_eq(first->acked_low, 1);
    answer(ERR_OK);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(slice_equal(buf_slice(&a.request.reply), SLICE("1")));
    ask(&c, PARTITION_WRITE, 3);
    cr_assert_eq(asked_first()->origin.seq, 2);
    answer(ERR_FULL);
    cr_assert_eq(b.request.err, ERR_FULL);
    cr_assert_eq(asked_first()->origin.seq, 3);
    cr_assert_eq(asked_first()->origin.acked_low, 2);
    answer(ERR_LIMIT);
    cr_assert_eq(c.request.err, ERR_LIMIT);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
}

Test(commands, what_is_asked_in_a_turn_wakes_the_partitions_once_at_its_end)
{
    begin(MS_FOREVER);
    struct asker a, b;
    cr_assert(commands_are_idle(commands));
    ask(&a, PARTITION_WRITE, 1);
    ask(&b, PARTITION_WRITE, 2);
    cr_assert_eq(fake.wake_count, 0);
    cr_assert(!commands_are_idle(commands), "the worker may not sleep");
    commands_turn(commands);
    cr_assert_eq(fake.wake_count, 1);
    cr_assert(commands_are_idle(commands));
    commands_turn(commands);
    cr_assert_eq(fake.wake_count, 1);
    answer(ERR_OK);
    answer(ERR_OK);
    asker_fini(&a);
    asker_fini(&b);
}

Test(commands, what_was_refused_goes_again_in_order_before_what_came_after_it)
{
    begin(MS_FOREVER);
    struct asker a, b, c, d;
    ask(&a, PARTITION_WRITE, 1);
    ask(&b, PARTITION_WRITE, 2);
    ask(&c, PARTITION_WRITE, 3);
    answer(ERR_SLOW); /* a */
    ask(&d, PARTITION_WRITE, 4);
    cr_assert_eq(asked_count(), 2, "while later ones are on their way nothing goes");
    answer(ERR_OK); /* b */
    answer(ERR_SLOW);
    cr_assert_eq(asked_count(), 0, "not before the next tick");
    commands_tick(commands);
    cr_assert_eq(asked_count(), 3);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        if (seq == 2) { continue; }
        cr_assert_eq(asked_first()->origin.seq, seq);
        answer(ERR_OK);
    }
    const uint32_t order[] = {2, 1, 3, 4};
    cr_assert_arr_eq(done_order, order, sizeof order);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
    asker_fini(&d);
}

Test(commands, an_answer_says_that_there_may_be_room_again)
{
    begin(MS_FOREVER);
    struct asker a, b;
    ask(&a, PARTITION_WRITE, 1);
    ask(&b, PARTITION_WRITE, 2);
    answer(ERR_SLOW);
    answer(ERR_OK);
    cr_assert_eq(asked_first()->origin.seq, 1);
    cr_assert_eq(asked_first()->origin.acked_low, 1);
    answer(ERR_OK);
    asker_fini(&a);
    asker_fini(&b);
}

Test(commands, it_is_asked_until_it_is_late_and_then_told_whether_it_may_have_been_executed)
{
    begin(0);
    struct asker a, b, c;
    ask(&a, PARTITION_WRITE, 1);
    answer(ERR_NOT_LEADER);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.request.err, ERR_CLUSTER_DOWN);
    commands_tick(commands);
    ask(&b, PARTITION_WRITE, 2);
    cr_assert_eq(asked_first()->origin.acked_low, 2);
    answer(ERR_INDOUBT);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(b.request.err, ERR_INDOUBT);
    commands_tick(commands);
    ask(&c, PARTITION_READ, 3);
    answer(ERR_INDOUBT);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(c.request.err, ERR_CLUSTER_DOWN, "a read does nothing");
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
}

Test(commands, full_disks_do_not_tell_whether_it_was_executed_before)
{
    begin(MS_FOREVER);
    struct asker a;
    ask(&a, PARTITION_WRITE, 1);
    answer(ERR_INDOUBT);
    commands_tick(commands);
    answer(ERR_FULL);
    cr_assert_eq(a.request.err, ERR_INDOUBT);
    asker_fini(&a);
}

Test(commands, nobody_is_asked_who_does_not_lead)
{
    begin(0);
    fake.term = 0;
    struct asker a;
    ask(&a, PARTITION_WRITE, 1);
    cr_assert_eq(asked_count(), 0);
    commands_tick(commands);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.request.err, ERR_CLUSTER_DOWN);
    asker_fini(&a);
}

Test(commands, no_more_are_under_way_than_a_lane_keeps_answers_of)
{
    enum { COUNT = 2 * COMMANDS_IN_FLIGHT_MAX + 10 };
    begin(MS_FOREVER);
    struct asker *a = mem_new0(COUNT * sizeof *a);
    for (uint32_t i = 0; i < COUNT; i++) {
        ask(&a[i], PARTITION_WRITE, i);
    }
    cr_assert_eq(asked_count(), COMMANDS_IN_FLIGHT_MAX);
    cr_assert(commands_are_congested(commands));
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct partition_origin *origin = &asked_first()->origin;
        cr_assert_eq(origin->seq, i + 1);
        cr_assert_lt(origin->seq - origin->acked_low, COMMANDS_IN_FLIGHT_MAX);
        answer(ERR_OK);
        asker_fini(&a[i]);
    }
    cr_assert(!commands_are_congested(commands));
    mem_free(a);
}

Test(commands, a_read_is_answered_at_once_where_that_is_possible)
{
    begin(MS_FOREVER);
    struct partition_request request = {.ask = PARTITION_READ, .partition = PARTITION};
    cr_assert(commands_read(commands, &request));
    request.call_count = 1;
    cr_assert(!commands_read(commands, &request));
}

/* ---- parking ---- */

Test(commands, parked_ones_have_numbers_of_their_own_and_hold_nobody_up)
{
    begin(MS_FOREVER);
    struct asker parked, write, next;
    ask(&parked, PARTITION_PARK, 1);
    cr_assert_eq(asked_first()->origin.seq, 1);
    cr_assert(asked_first()->origin.is_parking);
    cr_assert_eq(asked_first()->ticket, 1);
    ask(&write, PARTITION_WRITE, 2);
    answer(ERR_NOT_LEADER);
    commands_tick(commands);
    cr_assert_eq(asked_count(), 2);
    cr_assert(!asked_first()->origin.is_parking);
    answer(ERR_OK);
    ask(&next, PARTITION_PARK, 3);
    answer(ERR_OK);
    answer(ERR_OK);
    asker_fini(&parked);
    asker_fini(&write);
    asker_fini(&next);
}

Test(commands, an_answered_parking_number_is_confirmed_until_what_confirms_it_is_executed)
{
    begin(0);
    struct asker a, b, c, d, e;
    ask(&a, PARTITION_PARK, 1);
    ask(&b, PARTITION_PARK, 2);
    struct partition_request *first = asked_first();
    list_remove(&first->link);
    answer(ERR_OK); /* b */
    ask(&c, PARTITION_PARK, 3);
    cr_assert_eq(asked_first()->acked_count, 1);
    cr_assert_eq(asked_first()->acked[0], 2);
    cr_assert_eq(asked_first()->origin.acked_low, 1);
    asked_first()->is_unparked = true;
    answer(ERR_OK); /* c, not executed */
    ask(&d, PARTITION_PARK, 4);
    cr_assert_eq(asked_first()->acked_count, 1);
    answer(ERR_OK); /* d, executed */
    ask(&e, PARTITION_PARK, 5);
    cr_assert_eq(asked_first()->acked_count, 1);
    cr_assert_eq(asked_first()->acked[0], 4);
    list_push_back(&fake.asked, &first->link);
    answer(ERR_OK);
    answer(ERR_OK);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
    asker_fini(&d);
    asker_fini(&e);
}

/* Of several askings one is executed, maybe the first, which carried less. */
Test(commands, what_is_asked_again_confirms_what_it_carried_first)
{
    begin(MS_FOREVER);
    struct asker a, b, c, d;
    ask(&a, PARTITION_PARK, 1);
    answer(ERR_OK);
    ask(&b, PARTITION_PARK, 2); /* carries 1 */
    struct partition_request *second = asked_first();
    list_remove(&second->link);
    ask(&c, PARTITION_PARK, 3);
    answer(ERR_OK);
    list_push_back(&fake.asked, &second->link);
    answer(ERR_INDOUBT);
    commands_tick(commands);
    cr_assert_eq(asked_first()->acked_count, 1);
    cr_assert_eq(asked_first()->acked[0], 3);
    answer(ERR_OK);
    ask(&d, PARTITION_PARK, 4);
    cr_assert_eq(asked_first()->acked_count, 2);
    cr_assert_eq(asked_first()->acked[0], 3);
    cr_assert_eq(asked_first()->acked[1], 2);
    answer(ERR_OK);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
    asker_fini(&d);
}

static void ask_lent(struct asker *asker, uint64_t name)
{
    *asker = (struct asker){
        .argv = {SLICE("BLPOP"), SLICE("k")},
        .request = {.ask = PARTITION_PARK,
                    .partition = PARTITION,
                    .ticket = name,
                    .on_done = on_done,
                    .is_lent = true},
    };
    asker->call = (struct partition_call){.argc = 2, .argv = asker->argv};
    asker->request.call = &asker->call;
    asker->request.call_count = 1;
    commands_ask(commands, &asker->request);
}

Test(commands, what_is_lent_is_confirmed_when_it_is_handed_over_and_not_before)
{
    begin(MS_FOREVER);
    struct asker a, b, c;
    ask_lent(&a, 1);
    cr_assert(asked_first()->is_lent);
    answer(ERR_OK);
    ask(&b, PARTITION_PARK, 2);
    cr_assert_eq(asked_first()->acked_count, 0);
    cr_assert_eq(asked_first()->origin.acked_low, 1, "not by the way either");
    commands_confirm(commands, &a.request);
    cr_assert_eq(asked_count(), 2);
    struct partition_request *parked = asked_first();
    list_remove(&parked->link);
    cr_assert_eq(asked_first()->ask, PARTITION_CONFIRM);
    cr_assert(asked_first()->origin.is_parking);
    cr_assert_eq(asked_first()->origin.seq, 0);
    cr_assert_eq(asked_first()->origin.acked_low, 2);
    cr_assert_eq(asked_first()->acked_count, 1);
    cr_assert_eq(asked_first()->acked[0], 1);
    ask_lent(&c, 3);
    answer(ERR_NOT_LEADER); /* what confirms goes again */
    list_push_back(&fake.asked, &parked->link);
    answer(ERR_OK); /* c */
    commands_confirm(commands, &c.request);
    cr_assert_eq(asked_count(), 2, "one at a time");
    answer(ERR_OK); /* b */
    cr_assert_eq(asked_first()->ask, PARTITION_CONFIRM);
    answer(ERR_OK);
    cr_assert_eq(asked_count(), 1, "and then what has come since: c's number is not answered for");
    answer(ERR_OK);
    cr_assert_eq(asked_count(), 0);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
}

Test(commands, one_that_is_taken_back_ends_with_what_the_partition_says)
{
    begin(MS_FOREVER);
    struct asker a;
    ask(&a, PARTITION_PARK, 1);
    commands_unpark(commands, &a.request, true);
    commands_unpark(commands, &a.request, false);
    cr_assert_eq(fake.unparked_count, 1);
    cr_assert_eq(fake.unparked_seq, 1);
    answer(ERR_OK);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(!a.request.is_unparked);
    asker_fini(&a);
}

Test(commands, one_that_nobody_asks_for_and_was_not_executed_needs_no_leader)
{
    begin(MS_FOREVER);
    struct asker a, b, c;
    ask(&a, PARTITION_PARK, 1);
    commands_unpark(commands, &a.request, false);
    answer(ERR_NOT_LEADER);
    fake.term = 0;
    ask(&b, PARTITION_PARK, 2);
    commands_unpark(commands, &b.request, false);
    cr_assert_eq(b.done_count, 0, "not from inside");
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(a.request.is_unparked);
    cr_assert(b.request.is_unparked);
    fake.term = 1;
    ask(&c, PARTITION_PARK, 3);
    answer(ERR_INDOUBT);
    commands_unpark(commands, &c.request, false);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(c.done_count, 0, "whether it was executed has to be found out");
    commands_tick(commands);
    cr_assert_eq(fake.unparked_count, 2);
    asked_first()->is_unparked = true;
    answer(ERR_OK);
    cr_assert(c.request.is_unparked);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
}

Test(commands, whether_there_was_something_for_one_whose_time_is_up_is_told_by_who_leads_next)
{
    begin(MS_FOREVER);
    struct asker a, b, c;
    ask(&a, PARTITION_PARK, 1);
    commands_unpark(commands, &a.request, true);
    answer(ERR_NOT_LEADER);
    fake.term = 0;
    ask(&b, PARTITION_PARK, 2);
    ask(&c, PARTITION_PARK, 3);
    commands_unpark(commands, &b.request, true);
    commands_unpark(commands, &c.request, true);
    commands_tick(commands);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.done_count + b.done_count + c.done_count, 0);
    commands_unpark(commands, &c.request, false); /* its client has gone */
    mailbox_run(&fake.mailbox);
    cr_assert(c.request.is_unparked);
    fake.term = 2;
    commands_tick(commands);
    cr_assert_eq(asked_count(), 2);
    cr_assert_eq(fake.unparked_count, 3, "each is taken back where it is asked");
    answer(ERR_OK);
    asked_first()->is_unparked = true;
    answer(ERR_OK);
    cr_assert_eq(a.request.is_unparked + b.request.is_unparked, 1);
    asker_fini(&a);
    asker_fini(&b);
    asker_fini(&c);
}

Test(commands, one_whose_time_is_up_is_an_error_where_nobody_leads_for_too_long)
{
    begin(0);
    struct asker a;
    fake.term = 0;
    ask(&a, PARTITION_PARK, 1);
    commands_tick(commands);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.done_count, 0, "until then it waits");
    commands_unpark(commands, &a.request, true);
    commands_tick(commands);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(a.request.err, ERR_CLUSTER_DOWN);
    asker_fini(&a);
}

/* ---- the end ---- */

Test(commands, at_the_end_everybody_is_told)
{
    begin(MS_FOREVER);
    struct asker waiting, refused, here, doubtful, parked, late;
    ask(&refused, PARTITION_WRITE, 1);
    ask(&doubtful, PARTITION_WRITE, 2);
    ask(&here, PARTITION_WRITE, 3);
    answer(ERR_SLOW);
    answer(ERR_INDOUBT);
    ask(&waiting, PARTITION_WRITE, 4);
    fake.term = 0;
    ask(&parked, PARTITION_PARK, 5);
    commands_stop(commands);
    ask(&late, PARTITION_WRITE, 6);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(waiting.request.err, ERR_CLUSTER_DOWN);
    cr_assert_eq(refused.request.err, ERR_CLUSTER_DOWN);
    cr_assert_eq(doubtful.request.err, ERR_INDOUBT);
    cr_assert_eq(parked.request.err, ERR_CLUSTER_DOWN);
    cr_assert_eq(late.request.err, ERR_CLUSTER_DOWN);
    cr_assert_eq(here.done_count, 0);
    answer(ERR_NOT_LEADER);
    mailbox_run(&fake.mailbox);
    cr_assert_eq(here.request.err, ERR_CLUSTER_DOWN);
    asker_fini(&waiting);
    asker_fini(&refused);
    asker_fini(&here);
    asker_fini(&doubtful);
    asker_fini(&parked);
    asker_fini(&late);
}
