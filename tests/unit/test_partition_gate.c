/* What was refused holds up what comes behind it, and nothing else. */
#include <criterion/criterion.h>

#include "partition/gate.h"

static struct gates gates;

static struct partition_request of(uint64_t incarnation, uint64_t seq, uint64_t acked_low)
{
    return (struct partition_request){.ask = PARTITION_WRITE,
                                      .origin = {.node_id = 1,
                                                 .incarnation = incarnation,
                                                 .worker = 2,
                                                 .seq = seq,
                                                 .acked_low = acked_low}};
}

static bool refuses(uint64_t incarnation, uint64_t seq, uint64_t acked_low)
{
    const struct partition_request request = of(incarnation, seq, acked_low);
    return gates_refuse(&gates, &request);
}

static void answer(uint64_t incarnation, uint64_t seq, enum err err)
{
    const struct partition_request request = of(incarnation, seq, 1);
    gates_answer(&gates, &request, err);
}

static void tear_down(void)
{
    gates_fini(&gates);
}

TestSuite(gate, .fini = tear_down);

Test(gate, a_later_number_waits_until_the_refused_one_comes_again)
{
    cr_assert(!refuses(1, 5, 5));
    answer(1, 5, ERR_SLOW);
    cr_assert(refuses(1, 6, 5));
    answer(1, 6, ERR_SLOW);
    cr_assert(refuses(1, 7, 5));
    cr_assert(!refuses(1, 5, 5));
    cr_assert(!refuses(1, 6, 5));
    cr_assert(!refuses(1, 7, 5));
    cr_assert_eq(gates.lanes.count, 0);
}

Test(gate, the_lowest_refused_number_is_what_counts)
{
    answer(1, 7, ERR_NOT_LEADER);
    answer(1, 5, ERR_INDOUBT);
    answer(1, 6, ERR_SLOW);
    cr_assert(refuses(1, 6, 5));
    cr_assert(!refuses(1, 4, 4));
}

Test(gate, one_that_will_not_come_again_holds_nobody_up)
{
    answer(1, 5, ERR_SLOW);
    cr_assert(refuses(1, 7, 5));
    cr_assert(!refuses(1, 7, 6));
    cr_assert(!refuses(1, 8, 6));
}

Test(gate, a_refusal_takes_the_place_of_one_that_is_over)
{
    answer(1, 5, ERR_NOT_LEADER);
    const struct partition_request later = of(1, 8, 7);
    gates_answer(&gates, &later, ERR_NOT_LEADER);
    cr_assert(refuses(1, 9, 7));
    cr_assert(!refuses(1, 8, 7));
}

Test(gate, answers_that_are_final_hold_nobody_up)
{
    answer(1, 5, ERR_OK);
    answer(1, 6, ERR_FULL);
    answer(1, 7, ERR_LIMIT);
    cr_assert(!refuses(1, 8, 5));
}

Test(gate, other_lanes_and_newer_lives_are_not_concerned)
{
    answer(2, 5, ERR_SLOW);
    struct partition_request other = of(2, 6, 5);
    other.origin.worker = 3;
    cr_assert(!gates_refuse(&gates, &other));
    other = of(2, 6, 5);
    other.origin.is_parking = true;
    cr_assert(!gates_refuse(&gates, &other));
    cr_assert(refuses(2, 6, 5));
    cr_assert(!refuses(1, 6, 5));
    cr_assert(!refuses(3, 6, 1));
    cr_assert(!refuses(3, 7, 1));
    answer(3, 8, ERR_SLOW);
    answer(4, 9, ERR_SLOW);
    cr_assert(!refuses(4, 9, 9));
}
