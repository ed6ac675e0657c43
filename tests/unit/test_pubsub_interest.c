/* What other nodes want, against a model: counted, forgotten by node and by partition, swept whenever. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "pubsub/fanout.h"
#include "pubsub/interest.h"
#include "pubsub/lane.h"
#include "pubsub/remote.h"

enum { PARTITIONS = 5, NODES = 4, NAMES = 40, STEPS = 4000 };

struct model {
    struct directory *directory;
    struct mailbox mailbox;
    struct mailbox *mailboxes[1];
    struct fanout *fanout;
    unsigned snapshots; /* that have come into force */
    unsigned acknowledged;
    unsigned seed;
    char name[NAMES][16];
    uint32_t partition[NAMES];
    uint32_t channel[NODES][NAMES];
    uint32_t pattern[NODES][NAMES];
    uint32_t staged[NODES][NAMES];
    bool is_staged[NODES];
    uint32_t staged_channel[NODES][NAMES];
    bool has_staged[NODES][PARTITIONS];
};

/* What a body of directory_exclusive is to do. */
struct act {
    struct model *m;
    uint32_t node;
    uint32_t partition;
    unsigned name;
    uint32_t count;
};

static unsigned pick(struct model *m, unsigned below)
{
    return (unsigned)rand_r(&m->seed) % below;
}

static struct slice name_of(const struct model *m, unsigned i)
{
    return slice_of_str(m->name[i]);
}

static void own_all(void *arg)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        directory_partition(arg, p)->phase = PARTITION_OWNED;
    }
}

static void no_wake(void *arg)
{
    (void)arg;
}

static void on_lane_item(struct task *task)
{
    struct lane_item *item = CONTAINER_OF(task, struct lane_item, task);
    struct model *m = item->remote_arg;
    cr_assert(item->type == LANE_ACK && item->id_count == 1 && item->ids[0] == 0);
    m->acknowledged++;
    mem_free(item->ids);
    mem_free(item);
}

static const struct fanout_ops ops = {0};
static const struct fanout_remote_ops remote_ops = {.on_lane_item = on_lane_item};

static struct model *model_new(unsigned seed)
{
    struct model *m = mem_new0(sizeof *m);
    m->seed = seed;
    m->directory = directory_new(1);
    directory_set_partitions(m->directory, PARTITIONS, SIZE_MAX);
    directory_exclusive(m->directory, own_all, m->directory);
    mailbox_init(&m->mailbox, no_wake, NULL);
    m->mailboxes[0] = &m->mailbox;
    m->fanout = fanout_new(m->directory, m->mailboxes, 1, 0, &ops);
    fanout_set_remote(m->fanout, &remote_ops, m);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(m->name[i], sizeof m->name[i], "name%u", i);
        m->partition[i] = directory_partition_of(m->directory, name_of(m, i));
    }
    return m;
}

static void model_free(struct model *m)
{
    mailbox_run(fanout_lanes(m->fanout));
    cr_assert_eq(m->acknowledged, m->snapshots);
    fanout_free(m->fanout);
    directory_free(m->directory); /* which checks that nothing is left */
    mem_free(m);
}

/* ---- acts: what is done, and what the model makes of it ---- */

static uint32_t changed(uint32_t count, int32_t change)
{
    int64_t sum = (int64_t)count + change;
    return sum > 0 ? (uint32_t)sum : 0;
}

static void change_channel(struct act *a)
{
    int32_t change = (int32_t)pick(a->m, 7) - 3;
    if (change == 0) { return; }
    const struct interest_told told = {.node = a->node,
                                       .partition = a->m->partition[a->name],
                                       .kind = TOPIC_CHANNEL,
                                       .name = name_of(a->m, a->name),
                                       .change = change};
    cr_assert(directory_change_interest(a->m->directory, &told));
    uint32_t *count = &a->m->channel[a->node][a->name];
    *count = changed(*count, change);
}

static void change_pattern(struct act *a)
{
    const struct pattern_delta delta = {name_of(a->m, a->name), (int32_t)pick(a->m, 7) - 3, 0};
    directory_change_patterns(a->m->directory, a->node, &delta, 1);
    uint32_t *count = &a->m->pattern[a->node][a->name];
    *count = changed(*count, delta.change);
}

static void forget_in_model(struct model *m, uint32_t node, uint32_t partition)
{
    for (unsigned i = 0; i < NAMES; i++) {
        if (m->partition[i] == partition) { m->channel[node][i] = 0; }
    }
}

static void stage_interest(void *arg)
{
    const struct act *a = arg;
    directory_stage_interest(a->m->directory, a->node, a->partition);
    for (unsigned i = 0; i < NAMES; i++) {
        if (a->m->partition[i] == a->partition) { a->m->staged_channel[a->node][i] = 0; }
    }
    a->m->has_staged[a->node][a->partition] = true;
}

static void stage_more_interest(struct act *a)
{
    directory_stage_more_interest(a->m->directory, a->node, TOPIC_CHANNEL, name_of(a->m, a->name),
                                  2);
    bool is_staged = a->m->has_staged[a->node][a->m->partition[a->name]];
    if (is_staged) { a->m->staged_channel[a->node][a->name] += 2; }
}

static void unstage_interest(void *arg)
{
    const struct act *a = arg;
    directory_unstage_interest(a->m->directory, a->node, a->partition);
    a->m->has_staged[a->node][a->partition] = false;
}

static void take_staged_interest(void *arg)
{
    const struct act *a = arg;
    directory_take_staged_interest(a->m->directory, a->node, a->partition, 1);
    forget_in_model(a->m, a->node, a->partition);
    for (unsigned i = 0; i < NAMES; i++) {
        bool is_staged = a->m->has_staged[a->node][a->partition];
        if (is_staged && a->m->partition[i] == a->partition) {
            a->m->channel[a->node][i] = a->m->staged_channel[a->node][i];
        }
    }
    a->m->has_staged[a->node][a->partition] = false;
}

static void stage_patterns(struct act *a)
{
    directory_stage_patterns(a->m->directory, a->node);
    memset(a->m->staged[a->node], 0, sizeof a->m->staged[a->node]);
    a->m->is_staged[a->node] = true;
}

static void stage_more(struct act *a)
{
    const struct pattern_delta delta = {name_of(a->m, a->name), 1 + (int32_t)pick(a->m, 3), 0};
    directory_stage_more_patterns(a->m->directory, a->node, &delta, 1);
    if (a->m->is_staged[a->node]) { a->m->staged[a->node][a->name] += (uint32_t)delta.change; }
}

static void take_staged(struct act *a)
{
    directory_take_staged_patterns(a->m->directory, a->node);
    if (!a->m->is_staged[a->node]) { return; }
    a->m->snapshots++;
    a->m->is_staged[a->node] = false;
    memcpy(a->m->pattern[a->node], a->m->staged[a->node], sizeof a->m->pattern[a->node]);
}

static void forget_node(void *arg)
{
    const struct act *a = arg;
    directory_forget_node(a->m->directory, a->node);
    memset(a->m->pattern[a->node], 0, sizeof a->m->pattern[a->node]);
    memset(a->m->channel[a->node], 0, sizeof a->m->channel[a->node]);
    a->m->is_staged[a->node] = false;
    memset(a->m->has_staged[a->node], false, sizeof a->m->has_staged[a->node]);
}

static void forget_interest(void *arg)
{
    const struct act *a = arg;
    bool concerns[PARTITIONS] = {false};
    concerns[a->partition] = true;
    directory_forget_interest(a->m->directory, concerns);
    for (uint32_t node = 0; node < NODES; node++) {
        forget_in_model(a->m, node, a->partition);
    }
}

static void act(struct model *m)
{
    struct act a = {m, pick(m, NODES), pick(m, PARTITIONS), pick(m, NAMES), 0};
    switch (pick(m, 40)) {
    case 0: directory_exclusive(m->directory, stage_interest, &a); break;
    case 1: stage_patterns(&a); break;
    case 2: directory_exclusive(m->directory, forget_node, &a); break;
    case 3: directory_exclusive(m->directory, forget_interest, &a); break;
    case 4: directory_exclusive(m->directory, take_staged_interest, &a); break;
    case 5:
        directory_exclusive(m->directory, pick(m, 4) > 0 ? take_staged_interest : unstage_interest,
                            &a);
        break;
    case 6 ... 9: stage_more_interest(&a); break;
    case 10 ... 16: change_pattern(&a); break;
    case 17 ... 19: stage_more(&a); break;
    case 20: take_staged(&a); break;
    case 21 ... 22: (void)!directory_sweep(m->directory); break;
    default: change_channel(&a); break;
    }
}

/* ---- */

struct interested {
    struct model *m;
    unsigned name;
    uint64_t nodes;
};

static void ask_interested(void *arg)
{
    struct interested *i = arg;
    i->nodes = directory_interested(i->m->directory, TOPIC_CHANNEL, name_of(i->m, i->name));
}

static void check(struct model *m)
{
    uint64_t pattern_count = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        uint64_t subscribers = 0;
        uint64_t nodes = 0;
        bool is_pattern = false;
        for (uint32_t node = 0; node < NODES; node++) {
            subscribers += m->channel[node][i];
            is_pattern |= m->pattern[node][i] > 0;
            bool wants = m->channel[node][i] > 0 || m->pattern[node][i] > 0;
            nodes |= (uint64_t)wants << node;
        }
        pattern_count += is_pattern;
        cr_assert_eq(directory_subscribers(m->directory, TOPIC_CHANNEL, name_of(m, i)), subscribers,
                     "%s", m->name[i]);
        struct interested interested = {m, i, 0};
        directory_exclusive(m->directory, ask_interested, &interested);
        cr_assert_eq(interested.nodes, nodes, "%s", m->name[i]);
    }
    cr_assert_eq(directory_count(m->directory, TOPIC_PATTERN), pattern_count);
}

Test(interest, what_nodes_want_is_what_they_have_told_since_it_was_forgotten)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct model *m = model_new(seed);
        for (unsigned step = 0; step < STEPS; step++) {
            act(m);
            if (step % 50 == 0) { check(m); }
        }
        while (directory_sweep(m->directory)) {}
        check(m);
        model_free(m);
    }
}

static void add_many(const struct act *a)
{
    struct directory *d = a->m->directory;
    for (uint32_t i = 0; i < a->count; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "many%u", i);
        const struct interest_told told = {
            .node = a->node,
            .partition = directory_partition_of(d, slice_of(name, (size_t)len)),
            .kind = TOPIC_CHANNEL,
            .name = slice_of(name, (size_t)len),
            .change = 1};
        cr_assert(directory_change_interest(d, &told));
        const struct pattern_delta delta = {.name = told.name, .change = 1};
        directory_change_patterns(d, a->node, &delta, 1);
    }
}

static uint64_t names_of(struct directory *d, enum topic_kind kind);

Test(interest, what_a_node_wanted_is_void_at_once_and_is_removed_in_slices)
{
    struct model *m = model_new(1);
    struct act a = {.m = m, .node = 1, .count = 20000};
    add_many(&a);
    cr_assert(!directory_sweep(m->directory), "nothing is forgotten");
    cr_assert_eq(names_of(m->directory, TOPIC_CHANNEL), a.count);
    cr_assert_eq(directory_count(m->directory, TOPIC_PATTERN), a.count);
    directory_exclusive(m->directory, forget_node, &a);
    cr_assert_eq(names_of(m->directory, TOPIC_CHANNEL), 0);
    cr_assert_eq(names_of(m->directory, TOPIC_PATTERN), 0);
    cr_assert_eq(directory_count(m->directory, TOPIC_PATTERN), 0);
    unsigned slices = 1;
    while (directory_sweep(m->directory)) {
        slices++;
    }
    cr_assert_geq(slices, 64, "no slice does much");
    model_free(m);
}

static void count_name(void *arg, struct slice name)
{
    (void)name;
    ++*(uint64_t *)arg;
}

static uint64_t names_of(struct directory *d, enum topic_kind kind)
{
    uint64_t count = 0;
    directory_each(d, kind, count_name, &count);
    return count;
}
