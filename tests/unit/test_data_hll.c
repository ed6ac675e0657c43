/* HyperLogLogs: what is counted, and which bytes are refused. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "data/data_hll.h"

static void count_up_to(struct buf *hll, unsigned count)
{
    hll_new(hll);
    for (unsigned i = 0; i < count; i++) {
        char text[16];
        bool is_changed;
        size_t len = (size_t)snprintf(text, sizeof text, "element %u", i);
        cr_assert(hll_add(hll, slice_of(text, len), &is_changed));
    }
}

static uint64_t estimate(const struct buf *hll)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    cr_assert(hll_merge(buf_slice(hll), registers));
    return hll_estimate(registers);
}

Test(data_hll, the_estimate_is_within_two_percent_sparse_and_dense)
{
    const unsigned counts[] = {1, 10, 100, 1000, 5000, 20000, 100000};
    struct buf hll = {0};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        count_up_to(&hll, counts[i]);
        double share = (double)estimate(&hll) / counts[i];
        cr_assert(share > 0.98 && share < 1.02, "%u: %f", counts[i], share);
        cr_assert(hll_is_one(buf_slice(&hll)));
        cr_assert_eq(hll_is_dense(buf_slice(&hll)), counts[i] >= 5000);
    }
    buf_fini(&hll);
}

Test(data_hll, an_element_that_was_counted_changes_nothing)
{
    struct buf hll = {0};
    bool is_changed;
    count_up_to(&hll, 300);
    cr_assert(hll_add(&hll, SLICE("element 7"), &is_changed));
    cr_assert_not(is_changed);
    cr_assert(hll_add(&hll, SLICE("another"), &is_changed));
    cr_assert(is_changed);
    buf_fini(&hll);
}

Test(data_hll, the_sparse_form_of_registers_has_them_all)
{
    struct buf hll = {0};
    struct buf again = {0};
    uint8_t registers[HLL_REGISTERS] = {0};
    uint8_t after[HLL_REGISTERS] = {0};
    count_up_to(&hll, 700);
    cr_assert(hll_merge(buf_slice(&hll), registers));
    hll_make(&again, registers, false);
    cr_assert_not(hll_is_dense(buf_slice(&again)));
    cr_assert(hll_merge(buf_slice(&again), after));
    cr_assert_arr_eq(registers, after, sizeof registers);
    hll_make(&again, registers, true);
    cr_assert(hll_is_dense(buf_slice(&again)));
    memset(after, 0, sizeof after);
    cr_assert(hll_merge(buf_slice(&again), after));
    cr_assert_arr_eq(registers, after, sizeof registers);
    buf_fini(&hll);
    buf_fini(&again);
}

Test(data_hll, a_value_that_is_too_high_for_a_run_makes_it_dense)
{
    struct buf hll = {0};
    uint8_t registers[HLL_REGISTERS] = {[3] = HLL_SPARSE_VALUE_MAX};
    hll_make(&hll, registers, false);
    cr_assert_not(hll_is_dense(buf_slice(&hll)));
    registers[3]++;
    hll_make(&hll, registers, false);
    cr_assert(hll_is_dense(buf_slice(&hll)));
    buf_fini(&hll);
}

Test(data_hll, a_cut_or_overlong_text_is_refused_whole)
{
    struct buf hll = {0};
    uint8_t registers[HLL_REGISTERS] = {0};
    bool is_changed;
    count_up_to(&hll, 200);
    for (size_t len = HLL_HEAD_BYTES; len < hll.len; len++) {
        cr_assert_not(hll_merge(slice_of(hll.data, len), registers), "%zu", len);
    }
    buf_append(&hll, slice_of("", 1));
    cr_assert_not(hll_merge(buf_slice(&hll), registers));
    cr_assert_not(hll_is_one(SLICE("HYLL")));
    cr_assert_not(hll_is_one(slice_of("HYLL\0\0\0\0\0\0\0\0\0\0\0\0too short", 25)));
    hll.len = HLL_HEAD_BYTES;
    cr_assert_not(hll_add(&hll, SLICE("x"), &is_changed));
    buf_fini(&hll);
}
