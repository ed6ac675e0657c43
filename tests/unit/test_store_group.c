/* Consumer groups beside an array of what is pending: owners, counts, and that nothing stays behind. */
#include "store/store_group.h"

#include "base/mem.h"
#include "store_scratch.h"

enum { IDS = 400, CONSUMERS = 5 };

struct run {
    struct scratch scratch;
    struct store_ref ref;
    struct store_object stream;
    struct store_group group;
    uint32_t owner[IDS]; /* 1 + consumer; 0: not pending */
    uint64_t count[IDS];
};

static const struct slice group_name = {"group", 5};

static struct slice consumer_name(unsigned consumer, char out[600])
{
    int len = snprintf(out, 600, "consumer:%u", consumer);
    if (consumer == 3) { /* longer than a key */
        memset(out + len, 'c', 570);
        len += 570;
    }
    return slice_of(out, (size_t)len);
}

static struct run *run_new(uint64_t seed)
{
    struct run *run = mem_new0(sizeof *run);
    scratch_init(&run->scratch, seed);
    run->ref = (struct store_ref){0, 0, SLICE("stream")};
    store_key_create(run->scratch.txn, STORE_STREAM, &run->stream);
    run->group = (struct store_group){.last = {0, 0}, .read = 0};
    store_group_create(run->scratch.txn, &run->stream, group_name, &run->group);
    return run;
}

static void run_free(struct run *run)
{
    store_key_save(run->scratch.txn, &run->ref, &run->stream);
    store_key_remove(run->scratch.txn, &run->ref, &run->stream);
    scratch_expect_empty(&run->scratch);
    scratch_fini(&run->scratch);
    mem_free(run);
}

static struct store_consumer consumer_of(struct run *run, unsigned number)
{
    char text[600];
    struct store_consumer consumer;
    struct slice name = consumer_name(number, text);
    if (!store_consumer_find(run->scratch.txn, &run->stream, &run->group, name, &consumer)) {
        store_consumer_create(run->scratch.txn, &run->stream, &run->group, name, &consumer);
    }
    return consumer;
}

/* Deliver or claim: the entry is the consumer's from now on. */
static void deliver(struct run *run, unsigned id, unsigned number)
{
    char text[600];
    struct store_consumer consumer = consumer_of(run, number);
    const struct store_pending pending = {{7, id}, consumer.cid, 1000 + id, ++run->count[id]};
    store_pending_put(run->scratch.txn, &run->stream, &run->group, &consumer, &pending);
    store_consumer_save(run->scratch.txn, &run->stream, &run->group, consumer_name(number, text),
                        &consumer);
    run->owner[id] = 1 + number;
}

static void acknowledge(struct run *run, unsigned id)
{
    struct store_id entry = {7, id};
    bool was = store_pending_delete(run->scratch.txn, &run->stream, &run->group, entry);
    cr_assert_eq(was, run->owner[id] != 0);
    run->owner[id] = 0;
    run->count[id] = 0;
}

static void remove_consumer(struct run *run, unsigned number)
{
    char text[600];
    struct store_consumer consumer = consumer_of(run, number);
    uint64_t expected = 0;
    for (unsigned id = 0; id < IDS; id++) {
        if (run->owner[id] != 1 + number) { continue; }
        expected++;
        run->owner[id] = 0;
        run->count[id] = 0;
    }
    cr_assert_eq(consumer.pending, expected);
    cr_assert_eq(store_consumer_remove(run->scratch.txn, &run->stream, &run->group,
                                       consumer_name(number, text), &consumer),
                 expected);
}

static void check_consumer(struct run *run, unsigned number)
{
    char text[600];
    struct store_consumer consumer = consumer_of(run, number);
    struct slice name =
        store_consumer_name(run->scratch.txn, &run->stream, &run->group, consumer.cid);
    bool is_saved = name.len > 0;
    cr_assert(!is_saved || slice_equal(name, consumer_name(number, text)));
    struct store_walk walk;
    uint64_t seen = 0;
    bool any = store_pending_walk(&walk, run->scratch.txn, &run->stream, &run->group, consumer.cid,
                                  (struct store_id){7, 0});
    for (unsigned id = 0; id < IDS; id++) {
        if (run->owner[id] != 1 + number) { continue; }
        cr_assert(any);
        struct store_pending pending = store_pending_of(&walk, &run->stream, &run->group);
        cr_assert_eq(pending.id.seq, id);
        cr_assert_eq(pending.count, run->count[id]);
        cr_assert_eq(pending.cid, consumer.cid);
        any = store_walk_next(&walk);
        seen++;
    }
    store_walk_end(&walk);
    cr_assert_not(any);
    cr_assert_eq(consumer.pending, seen);
    store_consumer_save(run->scratch.txn, &run->stream, &run->group, consumer_name(number, text),
                        &consumer);
}

static void check(struct run *run)
{
    uint64_t pending = 0;
    struct store_walk walk;
    bool any = store_pending_walk(&walk, run->scratch.txn, &run->stream, &run->group, 0,
                                  (struct store_id){0, 0});
    for (unsigned id = 0; id < IDS; id++) {
        if (run->owner[id] == 0) { continue; }
        cr_assert(any && store_pending_of(&walk, &run->stream, &run->group).id.seq == id);
        any = store_walk_next(&walk);
        pending++;
    }
    store_walk_end(&walk);
    cr_assert_not(any);
    cr_assert_eq(run->group.pending, pending);
    for (unsigned number = 0; number < CONSUMERS; number++) {
        check_consumer(run, number);
    }
    cr_assert_eq(run->group.consumers, CONSUMERS);
    unsigned seen = 0;
    any = store_consumers_walk(&walk, run->scratch.txn, &run->stream, &run->group);
    for (; any; any = store_walk_next(&walk), seen++) {
        cr_assert_eq(store_consumers_name(&walk).data[0], 'c');
        cr_assert_gt(store_consumers_consumer(&walk).cid, 0);
    }
    store_walk_end(&walk);
    cr_assert_eq(seen, CONSUMERS);
    cr_assert_eq(store_txn_err(run->scratch.txn), ERR_OK);
}

Test(store_group, what_is_pending_is_its_owners)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct run *run = run_new(seed);
        for (unsigned i = 0; i < 4000; i++) {
            uint64_t random = scratch_random(&run->scratch);
            unsigned id = (unsigned)(random % IDS);
            unsigned number = (unsigned)(random / IDS % CONSUMERS);
            switch (random / IDS / CONSUMERS % 100) {
            case 0: remove_consumer(run, number); break;
            case 1: check(run); break;
            case 2:
                store_group_save(run->scratch.txn, &run->stream, group_name, &run->group);
                store_key_save(run->scratch.txn, &run->ref, &run->stream);
                scratch_next(&run->scratch);
                cr_assert(
                    store_group_find(run->scratch.txn, &run->stream, group_name, &run->group));
                break;
            default:
                if (random % 3 == 0) {
                    acknowledge(run, id);
                } else {
                    deliver(run, id, number);
                }
            }
        }
        check(run);
        run_free(run);
    }
}

Test(store_group, a_removed_group_takes_only_its_own)
{
    struct run *run = run_new(9);
    struct store_group other = {.last = {5, 5}, .read = STORE_READ_UNKNOWN};
    struct store_group found;
    store_group_create(run->scratch.txn, &run->stream, SLICE("other"), &other);
    for (unsigned id = 0; id < IDS; id++) {
        deliver(run, id, id % CONSUMERS);
    }
    store_group_remove(run->scratch.txn, &run->stream, group_name, &run->group);
    cr_assert_eq(run->stream.stream.groups, 1);
    cr_assert_not(store_group_find(run->scratch.txn, &run->stream, group_name, &found));
    cr_assert(store_group_find(run->scratch.txn, &run->stream, SLICE("other"), &found));
    cr_assert_eq(found.read, STORE_READ_UNKNOWN);
    struct store_walk walk;
    cr_assert(store_groups_walk(&walk, run->scratch.txn, &run->stream));
    cr_assert(slice_equal(store_groups_name(&walk), SLICE("other")));
    cr_assert_eq(store_groups_group(&walk).last.ms, 5);
    cr_assert_not(store_walk_next(&walk));
    store_walk_end(&walk);
    while (store_purge(run->scratch.txn, 100)) {
        scratch_next(&run->scratch);
    }
    cr_assert(store_group_find(run->scratch.txn, &run->stream, SLICE("other"), &found));
    run_free(run);
}
