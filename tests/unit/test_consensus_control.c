/* test_consensus_control: each command's rules; and long random histories against a model that keeps
 * members and owners in plain arrays. */
#include "consensus/map/control.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

enum { CLUSTER_ID = 77 };

/* ---- helpers: one command each, at the next index ---- */

static bool apply(struct control *control, const struct control_command *command)
{
    struct buf bytes = {0};
    control_encode(&bytes, command);
    bool is_changed = control_apply(control, control_applied(control) + 1, buf_slice(&bytes));
    buf_fini(&bytes);
    return is_changed;
}

static bool create(struct control *control, uint32_t partition_count)
{
    return apply(control, &(struct control_command){.op = CONTROL_CREATE,
                                                    .cluster_id = CLUSTER_ID,
                                                    .partition_count = partition_count});
}

static bool join(struct control *control, uint64_t id, const char *name)
{
    struct control_command command = {.op = CONTROL_JOIN, .node_id = id};
    snprintf(command.node.name, sizeof command.node.name, "%s", name);
    return apply(control, &command);
}

static bool about(struct control *control, enum control_op op, uint64_t id, uint64_t incarnation)
{
    return apply(control,
                 &(struct control_command){.op = op, .node_id = id, .incarnation = incarnation});
}

static bool assign(struct control *control, uint32_t partition, uint64_t epoch, uint64_t id,
                   uint64_t incarnation)
{
    return apply(control, &(struct control_command){.op = CONTROL_ASSIGN,
                                                    .partition = partition,
                                                    .epoch = epoch,
                                                    .node_id = id,
                                                    .incarnation = incarnation});
}

static const struct pmap_node *member(const struct control *control, uint64_t id)
{
    uint32_t index = pmap_find_id(control_map(control), id);
    cr_assert_neq(index, PMAP_NOBODY);
    return &control_map(control)->node[index];
}

static void assert_partition(const struct control *control, uint32_t partition, uint32_t owner,
                             uint32_t previous, uint64_t epoch)
{
    const struct pmap_partition *p = &control_map(control)->partition[partition];
    cr_assert_eq(p->owner, owner);
    cr_assert_eq(p->previous, previous);
    cr_assert_eq(p->epoch, epoch);
}

/* Members 1 (a), 2 (b), 3 (c) at the places 0, 1, 2 with these incarnations; four partitions. */
static struct control *three_members(void)
{
    struct control *control = control_new();
    cr_assert(create(control, 4));
    cr_assert(join(control, 1, "a"));
    cr_assert(join(control, 2, "b"));
    cr_assert(join(control, 3, "c"));
    return control;
}

/* ---- the rules ---- */

Test(consensus_control, nothing_happens_before_the_cluster_is_created)
{
    struct control *control = control_new();
    cr_assert_null(control_map(control));
    cr_assert_not(join(control, 1, "a"));
    cr_assert_not(about(control, CONTROL_DOWN, 1, 1));
    cr_assert_not(assign(control, 0, 0, 1, 1));
    cr_assert_null(control_map(control));
    cr_assert_eq(control_applied(control), 3);
    control_free(control);
    control_free(NULL);
}

Test(consensus_control, a_cluster_is_created_once_and_within_the_limits)
{
    struct control *control = control_new();
    cr_assert_not(create(control, 0));
    cr_assert_not(create(control, PMAP_PARTITIONS_MAX + 1));
    cr_assert_not(
        apply(control, &(struct control_command){.op = CONTROL_CREATE, .partition_count = 4}),
        "no id");
    cr_assert(create(control, PMAP_PARTITIONS_MAX));
    cr_assert_eq(control_map(control)->cluster_id, CLUSTER_ID);
    cr_assert_eq(control_map(control)->partition_count, PMAP_PARTITIONS_MAX);
    cr_assert_eq(control_map(control)->node_count, 0);
    cr_assert_eq(control_map(control)->version, 4);
    cr_assert_not(create(control, 4));
    cr_assert_eq(control_map(control)->version, 4);
    control_free(control);
}

Test(consensus_control, a_node_that_joins_gets_the_first_free_place_and_is_up)
{
    struct control *control = three_members();
    cr_assert_eq(control_map(control)->node_count, 3);
    cr_assert_eq(pmap_find_name(control_map(control), SLICE("b")), 1);
    cr_assert(member(control, 2)->is_up);
    cr_assert_not(member(control, 2)->is_draining);
    cr_assert(about(control, CONTROL_DOWN, 2, 2));
    cr_assert(about(control, CONTROL_FORGET, 2, 0));
    cr_assert(join(control, 4, "d"));
    cr_assert_eq(pmap_find_id(control_map(control), 4), 1);
    cr_assert_gt(member(control, 4)->incarnation, 3, "no incarnation is given twice");
    cr_assert_not(join(control, 0, "e"));
    control_free(control);
}

Test(consensus_control, a_known_id_comes_up_anew_with_new_addresses_and_owns_nothing)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 1, 1));
    cr_assert(assign(control, 1, 0, 2, 2));
    cr_assert(about(control, CONTROL_DRAIN, 1, 1));
    struct control_command set = {.op = CONTROL_SET_VOTER, .node_id = 1, .is_voter = true};
    cr_assert(apply(control, &set));
    struct control_command command = {.op = CONTROL_JOIN, .node_id = 1};
    snprintf(command.node.name, sizeof command.node.name, "a2");
    snprintf(command.node.zone, sizeof command.node.zone, "z");
    snprintf(command.node.peer.host, sizeof command.node.peer.host, "10.0.0.9");
    command.node.peer.port = 65535;
    cr_assert(apply(control, &command));
    const struct pmap_node *node = &control_map(control)->node[0];
    cr_assert_eq(node->id, 1);
    cr_assert_eq(node->incarnation, 4);
    cr_assert_str_eq(node->name, "a2");
    cr_assert_str_eq(node->zone, "z");
    cr_assert_str_eq(node->peer.host, "10.0.0.9");
    cr_assert_eq(node->peer.port, 65535);
    cr_assert(node->is_up && !node->is_draining && node->is_voter);
    assert_partition(control, 0, PMAP_NOBODY, PMAP_NOBODY, 2);
    assert_partition(control, 1, 1, PMAP_NOBODY, 1);
    control_free(control);
}

Test(consensus_control, a_known_name_with_another_id_replaces_the_member)
{
    struct control *control = three_members();
    struct control_command set = {.op = CONTROL_SET_VOTER, .node_id = 2, .is_voter = true};
    cr_assert(apply(control, &set));
    cr_assert(assign(control, 3, 0, 2, 2));
    cr_assert(join(control, 9, "b"));
    const struct pmap_node *node = &control_map(control)->node[1];
    cr_assert_eq(node->id, 9);
    cr_assert_eq(node->incarnation, 4);
    cr_assert_not(node->is_voter, "its replica is another one");
    cr_assert_eq(pmap_find_id(control_map(control), 2), PMAP_NOBODY);
    assert_partition(control, 3, PMAP_NOBODY, PMAP_NOBODY, 2);
    control_free(control);
}

Test(consensus_control, a_known_id_with_another_members_name_is_refused)
{
    struct control *control = three_members();
    cr_assert_not(join(control, 1, "b"));
    cr_assert_str_eq(member(control, 1)->name, "a");
    control_free(control);
}

Test(consensus_control, a_full_cluster_refuses_new_members_and_lets_known_ones_back)
{
    struct control *control = control_new();
    char name[16];
    cr_assert(create(control, 1));
    for (uint64_t id = 1; id <= PMAP_NODES_MAX; id++) {
        snprintf(name, sizeof name, "n%lu", (unsigned long)id);
        cr_assert(join(control, id, name));
    }
    cr_assert_not(join(control, 1000, "more"));
    cr_assert(join(control, 5, "n5"));
    cr_assert(join(control, 1000, "n7"), "in the place of another");
    cr_assert_eq(control_map(control)->node_count, PMAP_NODES_MAX);
    control_free(control);
}

Test(consensus_control, what_a_node_owned_has_no_owner_when_it_is_down)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 2, 2));
    cr_assert(assign(control, 1, 0, 2, 2));
    cr_assert(assign(control, 2, 0, 3, 3));
    cr_assert_not(about(control, CONTROL_DOWN, 2, 1), "another life of it");
    cr_assert_not(about(control, CONTROL_DOWN, 8, 2), "no member");
    cr_assert(about(control, CONTROL_DOWN, 2, 2));
    cr_assert_not(member(control, 2)->is_up);
    assert_partition(control, 0, PMAP_NOBODY, PMAP_NOBODY, 2);
    assert_partition(control, 1, PMAP_NOBODY, PMAP_NOBODY, 2);
    assert_partition(control, 2, 2, PMAP_NOBODY, 1);
    cr_assert_not(about(control, CONTROL_DOWN, 2, 2), "it is down already");
    cr_assert_not(assign(control, 0, 2, 2, 2), "it is down");
    control_free(control);
}

Test(consensus_control, an_orderly_move_names_the_previous_owner_until_that_one_is_gone)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 1, 1));
    assert_partition(control, 0, 0, PMAP_NOBODY, 1);
    cr_assert(assign(control, 0, 1, 2, 2));
    assert_partition(control, 0, 1, 0, 2);
    cr_assert(about(control, CONTROL_DOWN, 1, 1));
    assert_partition(control, 0, 1, PMAP_NOBODY, 2);
    cr_assert(assign(control, 0, 2, 3, 3));
    assert_partition(control, 0, 2, 1, 3);
    cr_assert(join(control, 2, "b"));
    assert_partition(control, 0, 2, PMAP_NOBODY, 3);
    control_free(control);
}

Test(consensus_control, a_move_of_an_old_epoch_or_to_who_may_not_own_is_refused)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 1, 1));
    cr_assert_not(assign(control, 0, 0, 2, 2), "the epoch is 1");
    cr_assert_not(assign(control, 0, 2, 2, 2), "not yet");
    cr_assert_not(assign(control, 0, 1, 1, 1), "it owns it");
    cr_assert_not(assign(control, 0, 1, 2, 3), "another life");
    cr_assert_not(assign(control, 4, 0, 2, 2), "no such partition");
    cr_assert(about(control, CONTROL_DRAIN, 2, 2));
    cr_assert_not(assign(control, 0, 1, 2, 2), "it drains");
    assert_partition(control, 0, 0, PMAP_NOBODY, 1);
    control_free(control);
}

Test(consensus_control, a_draining_node_keeps_what_it_owns_until_that_moves)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 1, 1));
    cr_assert_not(about(control, CONTROL_DRAIN, 1, 2), "another life");
    cr_assert(about(control, CONTROL_DRAIN, 1, 1));
    cr_assert_not(about(control, CONTROL_DRAIN, 1, 1), "it drains already");
    cr_assert(member(control, 1)->is_up && member(control, 1)->is_draining);
    assert_partition(control, 0, 0, PMAP_NOBODY, 1);
    control_free(control);
}

Test(consensus_control, only_who_is_down_or_draining_and_owns_nothing_is_forgotten)
{
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 1, 1));
    cr_assert_not(about(control, CONTROL_FORGET, 2, 0), "it is up");
    cr_assert_not(about(control, CONTROL_FORGET, 8, 0), "no member");
    cr_assert(about(control, CONTROL_DRAIN, 1, 1));
    cr_assert_not(about(control, CONTROL_FORGET, 1, 0), "it owns a partition");
    cr_assert(assign(control, 0, 1, 2, 2));
    assert_partition(control, 0, 1, 0, 2);
    cr_assert(about(control, CONTROL_FORGET, 1, 0));
    assert_partition(control, 0, 1, PMAP_NOBODY, 2);
    cr_assert_eq(control_map(control)->node_count, 3, "a hole");
    cr_assert(about(control, CONTROL_DOWN, 3, 3));
    cr_assert(about(control, CONTROL_FORGET, 3, 0));
    cr_assert_eq(control_map(control)->node_count, 2);
    control_free(control);
}

Test(consensus_control, a_vote_is_shown_as_it_was_told)
{
    struct control *control = three_members();
    struct control_command set = {.op = CONTROL_SET_VOTER, .node_id = 3, .is_voter = true};
    cr_assert(apply(control, &set));
    cr_assert(member(control, 3)->is_voter);
    cr_assert_not(apply(control, &set));
    set.is_voter = false;
    cr_assert(apply(control, &set));
    cr_assert_not(member(control, 3)->is_voter);
    control_free(control);
}

Test(consensus_control, a_map_that_was_taken_does_not_change)
{
    struct control *control = three_members();
    struct pmap *taken = pmap_ref(control_map(control));
    cr_assert(assign(control, 0, 0, 1, 1));
    cr_assert(about(control, CONTROL_DOWN, 2, 2));
    cr_assert_eq(taken->partition[0].owner, PMAP_NOBODY);
    cr_assert(taken->node[1].is_up);
    cr_assert_lt(taken->version, control_map(control)->version);
    control_free(control);
    pmap_unref(taken);
}

Test(consensus_control, bytes_that_are_no_command_change_nothing)
{
    static const struct slice garbage[] = {
        SLICE(""),         SLICE("garbage"), SLICE("\xff\xff\xff\xff\xff"),
        SLICE("\x12\x00"), /* a JOIN without a node */
        SLICE("\x7a\x00"), /* an operation of a later version */
    };
    struct control *control = three_members();
    const struct pmap *before = control_map(control);
    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        uint64_t index = control_applied(control) + 1;
        cr_assert_not(control_apply(control, index, garbage[i]));
        cr_assert_eq(control_applied(control), index);
        cr_assert_eq(control_map(control), before);
    }
    control_free(control);
}

/* ---- bytes ---- */

static bool survives(const struct control_command *command)
{
    struct control_command back;
    struct buf bytes = {0};
    control_encode(&bytes, command);
    bool is_good = control_decode(buf_slice(&bytes), &back);
    buf_fini(&bytes);
    return is_good;
}

static struct control_command longest_join(void)
{
    struct control_command command = {.op = CONTROL_JOIN, .node_id = UINT64_MAX};
    struct pmap_address *addresses[] = {&command.node.client, &command.node.peer,
                                        &command.node.raft};
    memset(command.node.name, 'n', PMAP_NAME_BYTES - 1);
    memset(command.node.zone, 'z', PMAP_NAME_BYTES - 1);
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        memset(addresses[i]->host, 'a' + (int)i, PMAP_HOST_BYTES - 1);
        addresses[i]->port = (uint16_t)(UINT16_MAX - i);
    }
    return command;
}

Test(consensus_control, a_command_comes_back_from_its_bytes_as_it_was)
{
    struct control_command command = longest_join();
    struct control_command back;
    struct buf bytes = {0};
    control_encode(&bytes, &command);
    cr_assert(control_decode(buf_slice(&bytes), &back));
    cr_assert_eq(back.op, CONTROL_JOIN);
    cr_assert_eq(back.node_id, UINT64_MAX);
    cr_assert_str_eq(back.node.name, command.node.name);
    cr_assert_str_eq(back.node.zone, command.node.zone);
    cr_assert_str_eq(back.node.client.host, command.node.client.host);
    cr_assert_str_eq(back.node.peer.host, command.node.peer.host);
    cr_assert_str_eq(back.node.raft.host, command.node.raft.host);
    cr_assert_eq(back.node.client.port, UINT16_MAX);
    cr_assert_eq(back.node.peer.port, UINT16_MAX - 1);
    cr_assert_eq(back.node.raft.port, UINT16_MAX - 2);
    for (size_t len = 0; len < bytes.len; len++) {
        cr_assert_not(control_decode(slice_of(bytes.data, len), &back), "cut off at %zu", len);
    }
    buf_fini(&bytes);
}

Test(consensus_control, names_zones_and_hosts_are_text_without_blanks)
{
    struct control_command command = longest_join();
    command.node.zone[0] = '\0';
    command.node.client.host[0] = '\0';
    cr_assert(survives(&command), "a zone and an address may be missing");
    command.node.name[3] = ' ';
    cr_assert_not(survives(&command));
    command.node.name[3] = '\n';
    cr_assert_not(survives(&command));
    command.node.name[0] = '\0';
    cr_assert_not(survives(&command), "no name");
    command = longest_join();
    command.node.zone[0] = '\x7f';
    cr_assert_not(survives(&command));
    command = longest_join();
    command.node.raft.host[7] = '\t';
    cr_assert_not(survives(&command));
}

/* The encoding of a JOIN of this name and a host of that many bytes, without control_encode's limits. */
static void long_join(struct buf *out, size_t name_len, size_t host_len, uint32_t port)
{
    CHECK(name_len < 128 && host_len > 128 && port >= 1u << 14 && port < 1u << 21);
    size_t address_len = 3 + host_len + 4;
    struct buf node = {0};
    buf_appendf(&node, "\x0a%c", (int)name_len);
    for (size_t i = 0; i < name_len; i++) {
        buf_appendf(&node, "n");
    }
    for (int field = 3; field <= 5; field++) {
        buf_appendf(&node, "%c%c%c", field << 3 | 2, (int)(address_len & 127) | 128,
                    (int)(address_len >> 7));
        buf_appendf(&node, "\x0a%c%c", (int)(host_len & 127) | 128, (int)(host_len >> 7));
        for (size_t i = 0; i < host_len; i++) {
            buf_appendf(&node, "h");
        }
        buf_appendf(&node, "\x10%c%c%c", (int)(port & 127) | 128, (int)(port >> 7 & 127) | 128,
                    (int)(port >> 14));
    }
    size_t join_len = 9 + 3 + node.len;
    buf_appendf(out, "\x12%c%c", (int)(join_len & 127) | 128, (int)(join_len >> 7));
    buf_append(out, slice_of("\x09\x01\0\0\0\0\0\0\0", 9));
    buf_appendf(out, "\x12%c%c", (int)(node.len & 127) | 128, (int)(node.len >> 7));
    buf_append(out, buf_slice(&node));
    buf_fini(&node);
}

static bool long_join_is_good(size_t name_len, size_t host_len, uint32_t port)
{
    struct control_command command;
    struct buf bytes = {0};
    long_join(&bytes, name_len, host_len, port);
    bool is_good = control_decode(buf_slice(&bytes), &command);
    buf_fini(&bytes);
    return is_good;
}

Test(consensus_control, a_name_a_host_or_a_port_over_its_limit_is_refused)
{
    cr_assert(long_join_is_good(PMAP_NAME_BYTES - 1, PMAP_HOST_BYTES - 1, UINT16_MAX));
    cr_assert_not(long_join_is_good(PMAP_NAME_BYTES, PMAP_HOST_BYTES - 1, UINT16_MAX));
    cr_assert_not(long_join_is_good(PMAP_NAME_BYTES - 1, PMAP_HOST_BYTES, UINT16_MAX));
    cr_assert_not(long_join_is_good(PMAP_NAME_BYTES - 1, PMAP_HOST_BYTES - 1, UINT16_MAX + 1));
}

static void assert_same_bytes(const struct control *a, const struct control *b)
{
    struct buf bytes_a = {0}, bytes_b = {0};
    control_save(a, &bytes_a);
    control_save(b, &bytes_b);
    cr_assert(slice_equal(buf_slice(&bytes_a), buf_slice(&bytes_b)));
    buf_fini(&bytes_a);
    buf_fini(&bytes_b);
}

/* Gives: a copy by way of bytes. */
static struct control *reloaded(const struct control *control)
{
    struct control *copy = control_new();
    struct buf bytes = {0};
    control_save(control, &bytes);
    cr_assert_eq(control_load(copy, buf_slice(&bytes)), ERR_OK);
    assert_same_bytes(control, copy);
    buf_fini(&bytes);
    return copy;
}

Test(consensus_control, a_state_is_loaded_as_it_was_saved_and_goes_on_alike)
{
    struct control *empty = control_new();
    control_set_applied(empty, 5);
    struct control *empty_copy = reloaded(empty);
    cr_assert_eq(control_applied(empty_copy), 5);
    cr_assert_null(control_map(empty_copy));
    struct control *control = three_members();
    cr_assert(assign(control, 0, 0, 2, 2));
    cr_assert(assign(control, 0, 1, 3, 3));
    cr_assert(about(control, CONTROL_DOWN, 1, 1));
    cr_assert(about(control, CONTROL_FORGET, 1, 0));
    control_set_applied(control, 30);
    struct control *copy = reloaded(control);
    cr_assert_eq(control_applied(copy), 30);
    cr_assert_eq(control_map(copy)->version, control_map(control)->version);
    assert_partition(copy, 0, 2, 1, 2);
    cr_assert(join(control, 5, "e") && join(copy, 5, "e"));
    cr_assert_eq(member(copy, 5)->incarnation, 4, "also of the forgotten one none is given again");
    assert_same_bytes(control, copy);
    control_free(empty);
    control_free(empty_copy);
    control_free(control);
    control_free(copy);
}

Test(consensus_control, a_damaged_state_is_refused_and_the_present_one_stays)
{
    struct control *control = three_members();
    struct control *other = control_new();
    struct buf bytes = {0};
    size_t refused_count = 0;
    cr_assert(assign(control, 0, 0, 2, 2));
    control_save(control, &bytes);
    cr_assert(create(other, 2));
    for (size_t len = 1; len < bytes.len; len++) {
        struct slice part = slice_of(bytes.data, len);
        const struct pmap *before = control_map(other);
        enum err err = control_load(other, part);
        cr_assert(err == ERR_OK || err == ERR_CORRUPT);
        cr_assert(err == ERR_OK || control_map(other) == before);
        refused_count += err == ERR_CORRUPT;
    }
    cr_assert_gt(refused_count, bytes.len / 2);
    cr_assert_eq(control_load(other, SLICE("no state")), ERR_CORRUPT);
    buf_fini(&bytes);
    control_free(other);
    control_free(control);
}

/* ---- random histories against a model ---- */

enum { NONE = -1 };

struct model_member {
    uint64_t id; /* 0: nobody at this place */
    uint64_t incarnation;
    int name;
    bool is_up, is_draining, is_voter;
};

struct model_partition {
    int owner, previous;
    uint64_t epoch;
};

struct model {
    uint64_t random;
    uint64_t seed;
    uint64_t id_count;
    int name_count;
    uint64_t incarnation_last;
    int partition_count;
    struct model_member at[PMAP_NODES_MAX];
    struct model_partition partition[PMAP_PARTITIONS_MAX];
};

static uint64_t random_below(struct model *m, uint64_t below)
{
    uint64_t *state = &m->random; /* xorshift64*: the same numbers for the same seed everywhere */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 32) % below;
}

static int model_find_id(const struct model *m, uint64_t id)
{
    for (int i = 0; i < PMAP_NODES_MAX; i++) {
        if (m->at[i].id == id) { return i; } /* also the first free place, for 0 */
    }
    return NONE;
}

static int model_find_name(const struct model *m, int name)
{
    for (int i = 0; i < PMAP_NODES_MAX; i++) {
        if (m->at[i].id != 0 && m->at[i].name == name) { return i; }
    }
    return NONE;
}

static void model_take_away(struct model *m, int place)
{
    for (int p = 0; p < m->partition_count; p++) {
        struct model_partition *partition = &m->partition[p];
        if (partition->previous == place) { partition->previous = NONE; }
        if (partition->owner == place) {
            *partition = (struct model_partition){NONE, NONE, partition->epoch + 1};
        }
    }
}

static int model_owned(const struct model *m, int place)
{
    int count = 0;
    for (int p = 0; p < m->partition_count; p++) {
        count += m->partition[p].owner == place;
    }
    return count;
}

static bool model_join(struct model *m, uint64_t id, int name)
{
    int same_id = model_find_id(m, id);
    int same_name = model_find_name(m, name);
    int place = same_id;
    if (same_id != NONE && same_name != NONE && same_id != same_name) { return false; }
    if (place == NONE) { place = same_name; }
    if (place == NONE) { place = model_find_id(m, 0); }
    if (place == NONE) { return false; }
    model_take_away(m, place);
    m->at[place] = (struct model_member){.id = id,
                                         .incarnation = ++m->incarnation_last,
                                         .name = name,
                                         .is_up = true,
                                         .is_voter = same_id != NONE && m->at[place].is_voter};
    return true;
}

static bool model_assign(struct model *m, const struct control_command *c, int place)
{
    struct model_partition *partition = &m->partition[c->partition];
    if ((int)c->partition >= m->partition_count || partition->epoch != c->epoch ||
        m->at[place].is_draining || partition->owner == place) {
        return false;
    }
    *partition = (struct model_partition){place, partition->owner, partition->epoch + 1};
    return true;
}

/* What the command does to a member that is up in the life which it names. */
static bool model_apply_to_life(struct model *m, const struct control_command *c, int place)
{
    struct model_member *at = &m->at[place];
    if (!at->is_up || at->incarnation != c->incarnation) { return false; }
    if (c->op == CONTROL_ASSIGN) { return model_assign(m, c, place); }
    if (c->op == CONTROL_DOWN) {
        at->is_up = false;
        model_take_away(m, place);
        return true;
    }
    bool is_new = !at->is_draining;
    at->is_draining = true;
    return is_new;
}

static bool model_apply(struct model *m, const struct control_command *c, int name)
{
    if (c->op == CONTROL_CREATE) { return false; } /* it is created */
    if (c->op == CONTROL_JOIN) { return model_join(m, c->node_id, name); }
    int place = model_find_id(m, c->node_id);
    if (place == NONE) { return false; }
    struct model_member *at = &m->at[place];
    if (c->op == CONTROL_SET_VOTER) {
        bool is_new = at->is_voter != c->is_voter;
        at->is_voter = c->is_voter;
        return is_new;
    }
    if (c->op == CONTROL_FORGET) {
        if ((at->is_up && !at->is_draining) || model_owned(m, place) > 0) { return false; }
        model_take_away(m, place);
        *at = (struct model_member){0};
        return true;
    }
    return model_apply_to_life(m, c, place);
}

/* A command that mostly, but not always, fits the state; and the number of its name. */
static struct control_command random_command(struct model *m, int *name)
{
    static const enum control_op ops[] = {
        CONTROL_CREATE, CONTROL_JOIN,   CONTROL_JOIN,   CONTROL_JOIN,   CONTROL_DOWN,
        CONTROL_DOWN,   CONTROL_DRAIN,  CONTROL_FORGET, CONTROL_FORGET, CONTROL_SET_VOTER,
        CONTROL_ASSIGN, CONTROL_ASSIGN, CONTROL_ASSIGN, CONTROL_ASSIGN, CONTROL_ASSIGN,
    };
    struct control_command c = {.op = ops[random_below(m, COUNT_OF(ops))]};
    c.cluster_id = CLUSTER_ID + 1;
    c.partition_count = 1;
    c.node_id = 1 + random_below(m, m->id_count);
    c.partition = (uint32_t)random_below(m, (uint64_t)m->partition_count);
    c.epoch = m->partition[c.partition].epoch;
    c.is_voter = random_below(m, 2) == 0;
    int place = model_find_id(m, c.node_id);
    c.incarnation = place == NONE ? 1 : m->at[place].incarnation;
    if (random_below(m, 10) == 0) { c.incarnation--; }
    if (random_below(m, 10) == 0) { c.epoch += random_below(m, 3) - 1; }
    if (random_below(m, 50) == 0) { c.partition = (uint32_t)m->partition_count; }
    *name = (int)random_below(m, 4) == 0 ? (int)random_below(m, (uint64_t)m->name_count)
                                         : (int)c.node_id % m->name_count;
    if (c.op == CONTROL_JOIN) {
        snprintf(c.node.name, sizeof c.node.name, "n%d", *name);
        snprintf(c.node.zone, sizeof c.node.zone, "z%d", *name % 3);
    }
    return c;
}

static uint32_t model_index(int place)
{
    return place == NONE ? PMAP_NOBODY : (uint32_t)place;
}

static void assert_is_model(const struct control *control, const struct model *m)
{
    const struct pmap *map = control_map(control);
    char name[16];
    for (uint32_t i = 0; i < PMAP_NODES_MAX; i++) {
        const struct model_member *at = &m->at[i];
        if (i >= map->node_count) {
            cr_assert_eq(at->id, 0, "seed %lu", (unsigned long)m->seed);
            continue;
        }
        const struct pmap_node *node = &map->node[i];
        snprintf(name, sizeof name, "n%d", at->name);
        bool is_same = node->id == at->id && node->incarnation == at->incarnation &&
                       node->is_up == at->is_up && node->is_draining == at->is_draining &&
                       node->is_voter == at->is_voter;
        bool has_name = strcmp(node->name, at->id != 0 ? name : "") == 0;
        cr_assert(is_same && has_name, "seed %lu, place %u", (unsigned long)m->seed, i);
    }
    for (int p = 0; p < m->partition_count; p++) {
        const struct model_partition *partition = &m->partition[p];
        bool is_same = map->partition[p].owner == model_index(partition->owner) &&
                       map->partition[p].previous == model_index(partition->previous) &&
                       map->partition[p].epoch == partition->epoch;
        cr_assert(is_same, "seed %lu, partition %d", (unsigned long)m->seed, p);
    }
}

/* Whatever the model says: an epoch has one owner, in one life of it, and is never followed by a lower
 * one. */
struct witness {
    uint64_t epoch[PMAP_PARTITIONS_MAX];
    uint64_t owner[PMAP_PARTITIONS_MAX]; /* incarnation, which is given once; 0: nobody */
};

static void witness_look(struct witness *w, const struct pmap *map, uint64_t seed)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        uint64_t owner = 0;
        if (partition->owner != PMAP_NOBODY) {
            cr_assert(map->node[partition->owner].is_up, "seed %lu", (unsigned long)seed);
            owner = map->node[partition->owner].incarnation;
        }
        cr_assert_geq(partition->epoch, w->epoch[p], "seed %lu", (unsigned long)seed);
        cr_assert(partition->epoch > w->epoch[p] || owner == w->owner[p],
                  "seed %lu: two owners in epoch %lu", (unsigned long)seed,
                  (unsigned long)partition->epoch);
        w->epoch[p] = partition->epoch;
        w->owner[p] = owner;
    }
}

static void run_history(uint64_t seed, uint64_t id_count, int name_count, int partition_count,
                        int command_count)
{
    struct model *m = mem_new0(sizeof *m);
    struct witness *witness = mem_new0(sizeof *witness);
    struct control *control = control_new();
    int changed_count = 0;
    m->random = m->seed = seed;
    m->id_count = id_count;
    m->name_count = name_count;
    m->partition_count = partition_count;
    for (int p = 0; p < partition_count; p++) {
        m->partition[p] = (struct model_partition){NONE, NONE, 0};
    }
    cr_assert(create(control, (uint32_t)partition_count));
    for (int i = 0; i < command_count; i++) {
        int name;
        struct control_command command = random_command(m, &name);
        bool is_changed = apply(control, &command);
        cr_assert_eq(is_changed, model_apply(m, &command, name), "seed %lu, command %d",
                     (unsigned long)seed, i);
        changed_count += is_changed;
        assert_is_model(control, m);
        witness_look(witness, control_map(control), seed);
        if (i % 1000 == 999) { /* a restart from a snapshot */
            struct control *copy = reloaded(control);
            control_free(control);
            control = copy;
        }
    }
    cr_assert_gt(changed_count, command_count / 10, "the commands must fit often enough");
    control_free(control);
    mem_free(witness);
    mem_free(m);
}

Test(consensus_control, a_random_history_in_a_small_cluster_goes_as_in_the_model)
{
    run_history(1, 4, 4, 8, 100000);
}

Test(consensus_control, a_random_history_with_more_ids_than_names_goes_as_in_the_model)
{
    run_history(2, 12, 7, 16, 100000);
}

Test(consensus_control, a_random_history_in_a_cluster_that_is_full_goes_as_in_the_model)
{
    run_history(3, 80, 80, 5, 100000);
}

Test(consensus_control, a_random_history_of_the_most_partitions_goes_as_in_the_model)
{
    run_history(4, 9, 9, PMAP_PARTITIONS_MAX, 5000);
}
