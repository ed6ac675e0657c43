/* The promises of store/store_lane.h: a number is known from its execution to its confirmation, however entries share
 * transactions, and nothing of it is left afterwards. */
#include "store/store_lane.h"

#include "base/mem.h"
#include "store_scratch.h"

enum { LANES = 100, NUMBERS = 200 };

enum mark { MARK_NEW, MARK_KNOWN, MARK_CONFIRMED };

struct model {
    uint64_t low[LANES];
    uint64_t next[LANES];
    enum mark mark[LANES][NUMBERS];
};

static struct store_lane_id id_of(unsigned lane)
{
    return (struct store_lane_id){.node_id = lane % 3,
                                  .incarnation = lane % 7,
                                  .worker = (uint16_t)lane,
                                  .is_parking = lane % 2};
}

static size_t answer_of(unsigned lane, uint64_t seq, char out[512])
{
    size_t len = (lane * 31 + seq * 17) % 400;
    memset(out, (int)('a' + (lane + seq) % 26), len);
    return len;
}

static void expect_state(struct store_lanes *lanes, const struct store_lane *lane, unsigned at,
                         const struct model *m, uint64_t seq)
{
    struct slice kept;
    char answer[512];
    enum store_lane_state state = store_lane_find(lanes, lane, seq, &kept);
    switch (m->mark[at][seq]) {
    case MARK_NEW: cr_assert_eq(state, STORE_LANE_NEW); break;
    case MARK_KNOWN:
        cr_assert_eq(state, STORE_LANE_KNOWN, "lane %u seq %lu", at, seq);
        cr_assert(slice_equal(kept, slice_of(answer, answer_of(at, seq, answer))));
        break;
    case MARK_CONFIRMED: cr_assert_neq(state, STORE_LANE_KNOWN); break;
    }
}

/* One request of a lane, mostly new, now and then one that was there before. */
static void step(struct scratch *s, struct store_lanes *lanes, struct model *m)
{
    char answer[512];
    unsigned at = (unsigned)(scratch_random(s) % LANES);
    const struct store_lane_id id = id_of(at);
    struct store_lane *lane = store_lane_open(lanes, &id);
    if (scratch_random(s) % 4 == 0 && m->low[at] < m->next[at]) {
        m->low[at] += scratch_random(s) % (m->next[at] - m->low[at] + 1);
        store_lane_raise(lane, m->low[at]);
        for (uint64_t i = 0; i < m->low[at]; i++) {
            m->mark[at][i] = MARK_CONFIRMED;
        }
    }
    uint64_t known = m->low[at] + scratch_random(s) % 8;
    if (id.is_parking && known < m->next[at] && scratch_random(s) % 3 == 0) {
        store_lane_confirm(lanes, lane, known);
        m->mark[at][known] = MARK_CONFIRMED;
    }
    if (known < NUMBERS) { expect_state(lanes, lane, at, m, known); }
    uint64_t seq = m->next[at];
    if (seq >= NUMBERS) { return; }
    expect_state(lanes, lane, at, m, seq);
    store_lane_keep(lanes, lane, seq, slice_of(answer, answer_of(at, seq, answer)));
    m->mark[at][seq] = MARK_KNOWN;
    m->next[at]++;
}

static void forget_all(struct scratch *s)
{
    struct buf answers = {0};
    for (uint64_t node = 0; node < 3; node++) {
        while (!store_lanes_forget(s->txn, node, 100, &answers)) {}
    }
    buf_fini(&answers);
}

Test(store_lane, numbers_are_known_until_they_are_confirmed)
{
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct scratch s;
        struct store_lanes *lanes = mem_new0(sizeof *lanes);
        struct model *m = mem_new0(sizeof *m);
        scratch_init(&s, seed);
        for (unsigned at = 0; at < LANES; at++) {
            m->low[at] = m->next[at] = 1;
        }
        for (unsigned entry = 0; entry < 600; entry++) {
            store_txn_entry(s.txn, s.now_ms, entry);
            store_lanes_begin(lanes, s.txn);
            for (uint64_t i = scratch_random(&s) % 120; i > 0; i--) {
                step(&s, lanes, m);
            }
            store_lanes_end(lanes);
            if (scratch_random(&s) % 5 == 0) { scratch_next(&s); }
        }
        for (unsigned at = 0; at < LANES; at++) {
            const struct store_lane_id id = id_of(at);
            struct slice kept;
            for (uint64_t seq = 1; seq < NUMBERS; seq++) {
                bool is_known = store_lane_look(s.txn, &id, seq, &kept) == STORE_LANE_KNOWN;
                cr_assert_eq(is_known, m->mark[at][seq] == MARK_KNOWN, "seed %lu lane %u seq %lu",
                             seed, at, seq);
            }
        }
        forget_all(&s);
        cr_assert_leq(scratch_rows(&s), 2);
        store_lanes_fini(lanes);
        mem_free(lanes);
        mem_free(m);
        scratch_fini(&s);
    }
}

Test(store_lane, a_life_that_goes_on_is_not_forgotten)
{
    struct scratch s;
    struct store_lanes *lanes = mem_new0(sizeof *lanes);
    struct slice kept;
    scratch_init(&s, 1);
    store_lanes_begin(lanes, s.txn);
    for (uint64_t life = 1; life <= 2; life++) {
        const struct store_lane_id id = {.node_id = 9, .incarnation = life, .worker = 1};
        store_lane_keep(lanes, store_lane_open(lanes, &id), 1, SLICE("answer"));
    }
    store_lanes_end(lanes);
    struct buf answers = {0};
    cr_assert(store_lanes_forget(s.txn, 9, 2, &answers));
    cr_assert_eq(answers.len, 0, "it does not park");
    const struct store_lane_id gone = {.node_id = 9, .incarnation = 1, .worker = 1};
    const struct store_lane_id stays = {.node_id = 9, .incarnation = 2, .worker = 1};
    cr_assert_eq(store_lane_look(s.txn, &gone, 1, &kept), STORE_LANE_NEW);
    cr_assert_eq(store_lane_look(s.txn, &stays, 1, &kept), STORE_LANE_KNOWN);
    store_lanes_fini(lanes);
    mem_free(lanes);
    scratch_fini(&s);
}

Test(store_lane, of_a_life_that_is_over_the_parked_answers_are_told)
{
    struct scratch s;
    struct store_lanes *lanes = mem_new0(sizeof *lanes);
    const struct store_lane_id id = {.node_id = 9, .incarnation = 1, .is_parking = true};
    scratch_init(&s, 1);
    store_lanes_begin(lanes, s.txn);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        struct store_lane *lane = store_lane_open(lanes, &id);
        store_lane_keep(lanes, lane, seq, slice_of("abcde" + seq, 1));
        if (seq == 3) { store_lane_confirm(lanes, lane, 2); }
    }
    store_lanes_end(lanes);
    struct buf answers = {0};
    cr_assert(store_lanes_forget(s.txn, 9, 2, &answers));
    static const char expected[] = "b\1\0\0\0d\1\0\0\0e\1\0\0";
    cr_assert_eq(answers.len, sizeof expected);
    cr_assert_arr_eq(answers.data, expected, sizeof expected);
    buf_fini(&answers);
    store_lanes_fini(lanes);
    mem_free(lanes);
    scratch_fini(&s);
}

Test(store_lane, what_is_confirmed_goes_from_the_disk)
{
    struct scratch s;
    struct store_lanes *lanes = mem_new0(sizeof *lanes);
    char answer[1000];
    scratch_init(&s, 1);
    memset(answer, 'a', sizeof answer);
    uint64_t rows = scratch_rows(&s);
    for (uint64_t seq = 1; seq <= 300; seq++) {
        const struct store_lane_id id = {.node_id = 9, .incarnation = 1, .is_parking = seq % 2};
        store_lanes_begin(lanes, s.txn);
        struct store_lane *lane = store_lane_open(lanes, &id);
        store_lane_raise(lane, seq > 10 ? seq - 10 : 0);
        store_lane_keep(lanes, lane, seq, slice_of(answer, sizeof answer));
        store_lanes_end(lanes);
        cr_assert_leq(scratch_rows(&s), rows + 16);
    }
    store_lanes_fini(lanes);
    mem_free(lanes);
    scratch_fini(&s);
}

Test(store_lane, what_differs_in_one_thing_is_another_lane)
{
    static const struct store_lane_id id[] = {
        {.node_id = 9, .incarnation = 1, .worker = 1},
        {.node_id = 8, .incarnation = 1, .worker = 1},
        {.node_id = 9, .incarnation = 2, .worker = 1},
        {.node_id = 9, .incarnation = 1, .worker = 2},
        {.node_id = 9, .incarnation = 1, .worker = 1, .is_parking = true},
    };
    struct scratch s;
    struct store_lanes *lanes = mem_new0(sizeof *lanes);
    struct slice kept;
    scratch_init(&s, 1);
    for (unsigned i = 0; i < COUNT_OF(id); i++) {
        store_lanes_begin(lanes, s.txn);
        struct store_lane *lane = store_lane_open(lanes, &id[i]);
        cr_assert_eq(store_lane_find(lanes, lane, 1, &kept), STORE_LANE_NEW, "lane %u", i);
        store_lane_keep(lanes, lane, 1, slice_of("abcde" + i, 1));
        store_lanes_end(lanes);
    }
    for (unsigned i = 0; i < COUNT_OF(id); i++) {
        cr_assert_eq(store_lane_look(s.txn, &id[i], 1, &kept), STORE_LANE_KNOWN);
        cr_assert(slice_equal(kept, slice_of("abcde" + i, 1)), "lane %u", i);
    }
    store_lanes_fini(lanes);
    mem_free(lanes);
    scratch_fini(&s);
}
