/* fuzz_data_hll: a text that a client set, taken for a HyperLogLog: reading and counting stay inside it, what is whole keeps
 * its registers through both forms, and what is damaged is refused by all that reads it. */
#include "data/data_hll.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_forms(const uint8_t registers[HLL_REGISTERS])
{
    struct buf made = {0};
    for (int is_dense = 0; is_dense < 2; is_dense++) {
        uint8_t again[HLL_REGISTERS] = {0};
        hll_make(&made, registers, is_dense);
        CHECK(hll_is_one(buf_slice(&made)));
        CHECK(hll_merge(buf_slice(&made), again));
        CHECK(memcmp(registers, again, sizeof again) == 0);
    }
    buf_fini(&made);
}

/* Counting changes one register at most, upwards. */
static void check_add(struct slice text, const uint8_t before[HLL_REGISTERS])
{
    struct buf copy = {0};
    bool is_changed = false;
    buf_append(&copy, text);
    CHECK(hll_add(&copy, text, &is_changed));
    uint8_t after[HLL_REGISTERS] = {0};
    uint32_t changed = 0;
    CHECK(hll_is_one(buf_slice(&copy)) && hll_merge(buf_slice(&copy), after));
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        CHECK(after[i] >= before[i]);
        changed += after[i] != before[i];
    }
    CHECK(changed == is_changed);
    buf_fini(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1);
    CHECK(exact != NULL);
    if (size > 0) { memcpy(exact, data, size); }
    struct slice text = slice_of(exact, size);
    if (hll_is_one(text)) {
        uint8_t registers[HLL_REGISTERS] = {0};
        struct buf out = {0};
        bool is_whole = hll_merge(text, registers);
        CHECK(hll_is_dense(text) || hll_runs_text(text, &out) == is_whole);
        (void)hll_estimate(registers);
        if (is_whole) {
            check_forms(registers);
            check_add(text, registers);
        } else { /* it may be refused here, or not: it is as long as it was, or longer by a few runs */
            struct buf copy = {0};
            bool is_changed;
            buf_append(&copy, text);
            bool is_added = hll_add(&copy, SLICE("x"), &is_changed);
            CHECK(is_added || copy.len == text.len);
            buf_fini(&copy);
        }
        buf_fini(&out);
    }
    free(exact);
    return 0;
}
