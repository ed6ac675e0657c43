/* test_consensus_roster: the cluster's users: what a change needs to be made, the control group's command about it, its bytes, and
 * the file in which a node keeps them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "consensus/map/control.h"
#include "consensus/membership/membership_roster.h"

/* ---- helpers ---- */

static struct roster_change *change_of(uint64_t id, const char *name, const char *rules,
                                       uint64_t base)
{
    struct roster_change *change = roster_change_new(id);
    roster_change_add(change, &(struct roster_edit){.name = slice_of_str(name),
                                                    .rules = slice_of_str(rules),
                                                    .base = base});
    return change;
}

static struct roster_change *removal_of(uint64_t id, const char *name, uint64_t base)
{
    struct roster_change *change = roster_change_new(id);
    roster_change_add(change, &(struct roster_edit){
                                  .name = slice_of_str(name), .base = base, .is_removal = true});
    return change;
}

/* Apply it at the next index. Takes: change. */
static bool apply(struct control *control, struct roster_change *change)
{
    struct control_command command = {.op = CONTROL_CHANGE_USERS, .users = change};
    struct buf bytes = {0};
    control_encode(&bytes, &command);
    bool is_changed = control_apply(control, control_applied(control) + 1, buf_slice(&bytes));
    buf_fini(&bytes);
    roster_change_free(change);
    return is_changed;
}

static struct roster_change *first_of(uint64_t id)
{
    struct roster_change *change = change_of(id, "default", "on nopass", 0);
    roster_change_add(change, &(struct roster_edit){SLICE("al"), SLICE("on +get"), 0, false});
    change->is_first = true;
    change->is_all = true;
    return change;
}

/* A cluster of that level, without members: the next index is 2. */
static struct control *cluster_of(uint32_t level)
{
    struct control *control = control_new();
    const struct control_command create = {
        .op = CONTROL_CREATE, .cluster_id = 7, .partition_count = 1, .level = level};
    struct buf bytes = {0};
    control_encode(&bytes, &create);
    cr_assert(control_apply(control, 1, buf_slice(&bytes)));
    buf_fini(&bytes);
    return control;
}

static const struct roster *roster_of(const struct control *control)
{
    return control_map(control)->roster;
}

static void assert_rules(const struct control *control, const char *name, const char *rules,
                         uint64_t version)
{
    const struct roster_user *user = roster_find(roster_of(control), slice_of_str(name));
    cr_assert_not_null(user, "%s", name);
    cr_assert(slice_equal(user->rules, slice_of_str(rules)), "%s", name);
    cr_assert_eq(user->version, version, "%s", name);
}

/* ---- changes ---- */

Test(roster, the_first_users_come_once_and_only_where_all_members_know_of_them)
{
    struct control *old = cluster_of(PMAP_LEVEL_REPLICAS);
    cr_assert_not(apply(old, first_of(1)));
    control_free(old);
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    cr_assert_not(apply(control, change_of(1, "al", "on", 0)), "there are none to be changed yet");
    cr_assert(apply(control, first_of(2)));
    assert_rules(control, "al", "on +get", 3);
    assert_rules(control, "default", "on nopass", 3);
    cr_assert_eq(roster_of(control)->version, 3);
    cr_assert_not(apply(control, first_of(3)), "another leader brings its own");
    control_free(control);
}

Test(roster, a_change_is_made_of_the_user_as_it_is_or_not_at_all)
{
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    cr_assert(apply(control, first_of(1)));
    cr_assert(apply(control, change_of(2, "al", "on +set", 2)));
    assert_rules(control, "al", "on +set", 3);
    assert_rules(control, "default", "on nopass", 2);
    cr_assert_not(apply(control, change_of(3, "al", "on", 2)), "it is another one by now");
    cr_assert_not(apply(control, change_of(4, "al", "on", 0)), "there is one");
    cr_assert_not(apply(control, change_of(5, "bo", "on", 3)), "there is none");
    struct roster_change *two = change_of(6, "bo", "on", 0);
    roster_change_add(two, &(struct roster_edit){SLICE("al"), SLICE("off"), 2, false});
    cr_assert_not(apply(control, two), "a part of it does not fit");
    cr_assert_eq(roster_of(control)->count, 2);
    cr_assert_not(apply(control, removal_of(7, "al", 2)));
    cr_assert(apply(control, removal_of(8, "al", 3)));
    cr_assert_null(roster_find(roster_of(control), SLICE("al")));
    cr_assert(apply(control, removal_of(9, "al", 0)), "it is gone, as was wanted");
    control_free(control);
}

Test(roster, a_change_that_comes_again_is_not_made_again)
{
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    cr_assert(apply(control, first_of(1)));
    for (uint64_t id = 2; id < 2 + ROSTER_DONE_MAX; id++) {
        cr_assert(apply(control, removal_of(id, "nobody", 0)));
        cr_assert_not(apply(control, removal_of(id, "nobody", 0)));
    }
    cr_assert_not(roster_has_done(roster_of(control), 1), "so many are remembered");
    cr_assert(roster_has_done(roster_of(control), 2));
    cr_assert(roster_has_done(roster_of(control), 1 + ROSTER_DONE_MAX));
    cr_assert_not(roster_has_done(NULL, 1));
    control_free(control);
}

Test(roster, all_of_them_are_replaced_and_who_stays_the_same_is_the_same)
{
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    cr_assert(apply(control, first_of(1)));
    struct roster_change *change = change_of(2, "default", "on nopass", 0);
    roster_change_add(change, &(struct roster_edit){SLICE("cy"), SLICE("on"), 0, false});
    change->is_all = true;
    cr_assert(apply(control, change));
    cr_assert_eq(roster_of(control)->count, 2);
    assert_rules(control, "default", "on nopass", 2);
    assert_rules(control, "cy", "on", 3);
    control_free(control);
}

Test(roster, it_has_a_bound)
{
    struct roster *roster = NULL;
    struct roster *next = NULL;
    char *rules = mem_new0(ROSTER_RULES_BYTES_MAX);
    memset(rules, 'x', ROSTER_RULES_BYTES_MAX);
    struct roster_change *change = first_of(1);
    cr_assert_eq(roster_next(NULL, change, 1, &roster), ROSTER_DONE);
    roster_change_free(change);
    enum roster_fate fate = ROSTER_DONE;
    uint64_t count = 1;
    while (fate == ROSTER_DONE) {
        char name[16];
        snprintf(name, sizeof name, "u%lu", (unsigned long)count);
        change = roster_change_new(++count);
        roster_change_add(change, &(struct roster_edit){.name = slice_of_str(name),
                                                        .rules = {rules, ROSTER_RULES_BYTES_MAX}});
        fate = roster_next(roster, change, count, &next);
        roster_change_free(change);
        if (fate != ROSTER_DONE) { break; }
        roster_unref(roster);
        roster = next;
    }
    cr_assert_eq(fate, ROSTER_FULL);
    cr_assert_leq(roster->bytes, ROSTER_BYTES_MAX);
    cr_assert_gt(roster->bytes, ROSTER_BYTES_MAX - 2 * ROSTER_RULES_BYTES_MAX);
    roster_unref(roster);
    mem_free(rules);
}

/* ---- bytes ---- */

Test(roster, a_state_with_users_is_loaded_as_it_was_saved)
{
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    struct control *copy = control_new();
    struct buf once = {0}, twice = {0};
    cr_assert(apply(control, first_of(1)));
    cr_assert(apply(control, change_of(2, "bo", "on", 0)));
    control_save(control, &once);
    cr_assert_eq(control_load(copy, buf_slice(&once)), ERR_OK);
    control_save(copy, &twice);
    cr_assert(slice_equal(buf_slice(&once), buf_slice(&twice)));
    assert_rules(copy, "bo", "on", 3);
    cr_assert_not(apply(copy, change_of(2, "bo", "on", 3)), "it is remembered");
    cr_assert(apply(copy, change_of(3, "bo", "off", 3)));
    buf_fini(&once);
    buf_fini(&twice);
    control_free(copy);
    control_free(control);
}

static bool survives(struct roster_change *change)
{
    struct control_command command = {.op = CONTROL_CHANGE_USERS, .users = change};
    struct control_command back;
    struct buf bytes = {0};
    control_encode(&bytes, &command);
    bool is_good = control_decode(buf_slice(&bytes), &back);
    control_command_fini(&back);
    buf_fini(&bytes);
    return is_good;
}

Test(roster, a_command_over_a_limit_or_out_of_order_is_refused)
{
    struct roster_change *change = change_of(1, "b", "on", 0);
    char name[ROSTER_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof name);
    cr_assert(survives(change));
    change->id = 0;
    cr_assert_not(survives(change));
    change->id = 1;
    roster_change_add(change, &(struct roster_edit){.name = SLICE("a")});
    cr_assert(survives(change));
    const struct roster_edit swapped = change->edit[0];
    change->edit[0] = change->edit[1];
    change->edit[1] = swapped;
    cr_assert_not(survives(change));
    roster_change_free(change);
    change = roster_change_new(1);
    roster_change_add(change, &(struct roster_edit){.name = {name, sizeof name - 1}});
    cr_assert(survives(change));
    roster_change_add(change, &(struct roster_edit){.name = {name, sizeof name}});
    cr_assert_not(survives(change));
    roster_change_free(change);
}

/* ---- the file ---- */

Test(roster, a_file_is_read_as_it_was_written_and_a_damaged_one_is_refused)
{
    char dir[] = "/tmp/fanfare-test-XXXXXX";
    char path[64];
    struct roster *back = NULL;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/users", dir);
    cr_assert_eq(roster_file_load(dir, &back), ERR_OK);
    cr_assert_null(back);
    struct control *control = cluster_of(PMAP_LEVEL_USERS);
    cr_assert(apply(control, first_of(1)));
    cr_assert_eq(roster_file_save(dir, roster_of(control)), ERR_OK);
    cr_assert_eq(roster_file_load(dir, &back), ERR_OK);
    cr_assert_eq(back->version, 2);
    cr_assert_eq(back->count, 2);
    cr_assert(slice_equal(roster_find(back, SLICE("al"))->rules, SLICE("on +get")));
    roster_unref(back);
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, -3, SEEK_END), 0);
    cr_assert_eq(fputc('!', file), '!');
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(roster_file_load(dir, &back), ERR_CORRUPT);
    cr_assert_null(back);
    cr_assert_eq(truncate(path, 10), 0);
    cr_assert_eq(roster_file_load(dir, &back), ERR_CORRUPT);
    control_free(control);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}
