/* acl: rules, questions, tables, the log, without a broker. */
#include <criterion/criterion.h>

#include "acl/acl.h"
#include "acl/acl_password.h"

enum { GET, SET, CONFIG, CONFIG_GET, CONFIG_SET, COMMANDS };
enum { READ = 1, WRITE = 2 };

static const struct acl_command commands[COMMANDS] = {
    [GET] = {"get", READ, ACL_NO_CONTAINER, false},
    [SET] = {"set", WRITE, ACL_NO_CONTAINER, false},
    [CONFIG] = {"config", 0, ACL_NO_CONTAINER, true},
    [CONFIG_GET] = {"config|get", READ, CONFIG, false},
    [CONFIG_SET] = {"config|set", WRITE, CONFIG, false},
};
static const char *const categories[] = {"@read", "@write"};
static const struct acl_catalogue catalogue = {commands, COMMANDS, categories, 2};

static struct acl_user *user_of(const char *rules)
{
    struct acl_user *user = acl_user_new(&catalogue, SLICE("al"));
    struct buf why = {0};
    cr_assert(acl_user_parse(user, slice_of_str(rules), &why), "%s: %.*s", rules, (int)why.len,
              why.data);
    buf_fini(&why);
    return user;
}

static enum acl_verdict may(const struct acl_user *user, uint32_t command, const char *key,
                            uint8_t access)
{
    const struct slice argv[] = {SLICE("x"), slice_of_str(key)};
    const struct acl_question question = {
        .command = command,
        .argc = 2,
        .argv = argv,
        .range = {{.first = 1, .step = 1, .count = 1, .access = access}},
        .range_count = 1,
    };
    uint32_t at;
    return acl_user_may(user, &question, &at);
}

static void expect_rules(const char *rules, const char *printed)
{
    struct acl_user *user = user_of(rules);
    struct buf text = {0};
    acl_user_print(user, &text);
    cr_assert(slice_equal(buf_slice(&text), slice_of_str(printed)), "%s: %.*s", rules,
              (int)text.len, text.data);
    struct acl_user *again = acl_user_new(&catalogue, SLICE("al"));
    struct buf twice = {0};
    cr_assert(acl_user_parse(again, buf_slice(&text), &twice));
    acl_user_print(again, &twice);
    cr_assert(slice_equal(buf_slice(&twice), buf_slice(&text)));
    buf_fini(&twice);
    buf_fini(&text);
    acl_user_unref(again);
    acl_user_unref(user);
}

Test(acl, what_is_printed_makes_the_same_user)
{
    expect_rules("", "off sanitize-payload resetchannels -@all");
    expect_rules("on nopass ~* &* +@all", "on nopass sanitize-payload ~* &* +@all");
    expect_rules("on ~a %R~b %W~c %RW~d &x +@read -get +config|set (+set ~z)",
                 "on sanitize-payload ~a %R~b %W~c ~d resetchannels &x -@all +@read -get "
                 "+config|set (~z resetchannels -@all +set)");
    expect_rules("+@all -@write +set", "off sanitize-payload resetchannels +@all -@write +set");
    expect_rules("+@all -get +@all", "off sanitize-payload resetchannels +@all");
    expect_rules("+get|a +get|b", "off sanitize-payload resetchannels -@all +get|a +get|b");
    expect_rules("%R~a %W~a", "off sanitize-payload ~a resetchannels -@all");
    expect_rules("on ~a +get (+set) reset", "off sanitize-payload resetchannels -@all");
}

Test(acl, rights_travel_without_passwords)
{
    struct buf text = {0};
    struct buf again = {0};
    struct acl_user *user = user_of("on >secret ~a %R~b &x +@read -config|get (+set ~z)");
    acl_user_print_rights(user, &text);
    cr_assert(slice_equal(buf_slice(&text), SLICE("al ~a %R~b resetchannels &x -@all +@read "
                                                  "-config|get (~z resetchannels -@all +set)")));
    struct acl_user *copy = acl_user_of_rights(&catalogue, buf_slice(&text));
    cr_assert_not_null(copy);
    acl_user_print_rights(copy, &again);
    cr_assert(slice_equal(buf_slice(&text), buf_slice(&again)));
    cr_expect(slice_equal(acl_user_name(copy), SLICE("al")));
    cr_expect_eq(may(copy, GET, "b", ACL_READS), ACL_ALLOWED);
    cr_expect_eq(may(copy, SET, "b", ACL_WRITES), ACL_NO_KEY);
    cr_expect_eq(may(copy, SET, "z", ACL_WRITES), ACL_ALLOWED);
    cr_expect_null(acl_user_of_rights(&catalogue, SLICE("")));
    cr_expect_null(acl_user_of_rights(&catalogue, SLICE("al +nosuch")));
    acl_user_unref(user);
    acl_user_unref(copy);
    buf_fini(&text);
    buf_fini(&again);
}

Test(acl, a_container_is_its_subcommands)
{
    struct acl_user *user = user_of("~* +config -config|set");
    cr_assert_eq(may(user, CONFIG, "k", 0), ACL_ALLOWED);
    cr_assert_eq(may(user, CONFIG_GET, "k", 0), ACL_ALLOWED);
    cr_assert_eq(may(user, CONFIG_SET, "k", 0), ACL_NO_COMMAND);
    acl_user_unref(user);
}

Test(acl, a_first_argument_can_be_what_is_allowed)
{
    struct acl_user *user = user_of("~* +get|a");
    cr_assert_eq(may(user, GET, "A", 0), ACL_ALLOWED);
    cr_assert_eq(may(user, GET, "b", 0), ACL_NO_COMMAND);
    acl_user_unref(user);
    user = user_of("~* +get|a -get");
    cr_assert_eq(may(user, GET, "a", 0), ACL_NO_COMMAND);
    acl_user_unref(user);
}

Test(acl, one_pattern_has_to_allow_all_that_is_done_with_a_key)
{
    struct acl_user *user = user_of("+@all %R~a* %W~ab*");
    cr_assert_eq(may(user, GET, "abc", ACL_READS), ACL_ALLOWED);
    cr_assert_eq(may(user, SET, "abc", ACL_WRITES), ACL_ALLOWED);
    cr_assert_eq(may(user, SET, "abc", ACL_READS | ACL_WRITES), ACL_NO_KEY);
    cr_assert_eq(may(user, GET, "x", 0), ACL_NO_KEY);
    acl_user_unref(user);
}

Test(acl, of_several_selectors_the_one_that_came_furthest_says_why)
{
    struct acl_user *user = user_of("+get ~a (+set ~b)");
    cr_assert_eq(may(user, SET, "b", ACL_WRITES), ACL_ALLOWED);
    cr_assert_eq(may(user, SET, "a", ACL_WRITES), ACL_NO_KEY);
    cr_assert_eq(may(user, CONFIG, "a", 0), ACL_NO_COMMAND);
    cr_assert_not(acl_user_is_free(user));
    acl_user_unref(user);
}

Test(acl, a_new_command_is_allowed_to_who_may_run_all_only)
{
    struct acl_user *user = user_of("~* &* +@all");
    cr_assert(acl_user_is_free(user));
    acl_user_unref(user);
    user = user_of("~* &* +@read +@write +config");
    cr_assert_not(acl_user_is_free(user));
    acl_user_unref(user);
}

Test(acl, passwords_are_hashes_that_are_compared_whole)
{
    char hex[ACL_HASH_HEX + 1];
    acl_password_hash(SLICE("abc"), hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct acl_user *user = user_of("on >a >b <a");
    cr_assert(acl_user_knows(user, SLICE("b")));
    cr_assert_not(acl_user_knows(user, SLICE("a")));
    cr_assert_not(acl_user_knows(user, SLICE("")));
    acl_user_unref(user);
}

Test(acl, rules_have_a_bound)
{
    struct acl_user *user = user_of("on");
    struct buf line = {0};
    for (int i = 0; i < 20000; i++) {
        buf_appendf(&line, "~key%d ", i);
    }
    struct buf why = {0};
    cr_assert_not(acl_user_parse(user, buf_slice(&line), &why));
    cr_assert(why.len > 0);
    buf_fini(&why);
    buf_fini(&line);
    acl_user_unref(user);
}

static void own_count(void *arg, struct slice name, struct slice rules)
{
    (void)name;
    cr_assert_gt(rules.len, 0);
    ++*(uint32_t *)arg;
}

Test(acl, the_clusters_users_take_the_place_of_the_nodes)
{
    struct acl *acl = acl_new(&catalogue, false);
    struct buf why = {0};
    cr_assert(acl_replace(acl, SLICE("user al on +get\nuser bo on +get\n"), &why));
    cr_assert_not(acl_is_agreed(acl));
    uint64_t version = acl_version(acl);
    struct acl_agreed agreed[] = {
        {.name = SLICE("al"), .rules = SLICE("on +set")},
        {.name = SLICE("cy"), .rules = SLICE("on +fromthefuture")},
    };
    acl_agree(acl, agreed, COUNT_OF(agreed));
    cr_assert(acl_is_agreed(acl));
    cr_assert_gt(acl_version(acl), version);
    struct acl_users *users = acl_users_now(acl);
    cr_assert_eq(acl_users_count(users), 3);
    cr_assert_null(acl_users_find(users, SLICE("bo")));
    cr_assert_not(acl_user_is_on(acl_users_find(users, SLICE("cy"))), "not understood: off");
    cr_assert_not(acl_user_is_on(acl_users_default(users)), "nobody agreed on it: off");
    struct buf text = {0};
    acl_user_print_commands(acl_users_find(users, SLICE("al")), 0, &text);
    cr_assert(slice_equal(buf_slice(&text), SLICE("-@all +set")));
    const struct acl_user *same = acl_users_find(users, SLICE("al"));
    agreed[0].is_same = true;
    acl_agree(acl, agreed, 1);
    struct acl_users *after = acl_users_now(acl);
    cr_assert_eq(acl_users_find(after, SLICE("al")), same);
    cr_assert_eq(acl_users_count(after), 2);
    acl_users_unref(after);
    acl_users_unref(users);
    cr_assert(acl_replace(acl, SLICE("user dy on\n"), &why));
    users = acl_users_now(acl);
    cr_assert_null(acl_users_find(users, SLICE("dy")), "the node's own are not in force");
    acl_users_unref(users);
    uint32_t own = 0;
    acl_each_own(acl, own_count, &own);
    cr_assert_eq(own, 2);
    buf_fini(&text);
    buf_fini(&why);
    acl_free(acl);
}

Test(acl, a_change_is_planned_from_the_rules_that_are)
{
    struct acl *acl = acl_new(&catalogue, false);
    struct buf why = {0};
    struct buf rules = {0};
    const struct slice present = SLICE("on nopass resetchannels -@all +get");
    const struct slice more[] = {SLICE("+set"), SLICE("&a")};
    cr_assert(acl_plan_user(acl, SLICE("al"), &present, more, 2, &rules, &why));
    cr_assert(slice_equal(buf_slice(&rules),
                          SLICE("on nopass sanitize-payload resetchannels &a -@all +get +set")),
              "%.*s", (int)rules.len, rules.data);
    rules.len = 0;
    cr_assert(acl_plan_user(acl, SLICE("al"), NULL, more, 1, &rules, &why));
    cr_assert(
        slice_equal(buf_slice(&rules), SLICE("off sanitize-payload resetchannels -@all +set")),
        "%.*s", (int)rules.len, rules.data);
    const struct slice wrong = SLICE("+nope");
    cr_assert_not(acl_plan_user(acl, SLICE("al"), &present, &wrong, 1, &rules, &why));
    cr_assert_gt(why.len, 0);
    cr_assert_not(acl_plan_user(acl, SLICE("a b"), NULL, more, 1, &rules, &why));
    buf_fini(&rules);
    buf_fini(&why);
    acl_free(acl);
}

Test(acl, default_is_always_there)
{
    struct acl *acl = acl_new(&catalogue, false);
    struct buf why = {0};
    acl_set_standard_password(acl, SLICE("door"));
    cr_assert(acl_replace(acl, SLICE("user al on\n"), &why));
    struct acl_users *users = acl_users_now(acl);
    cr_assert_not(acl_user_has_nopass(acl_users_default(users)));
    cr_assert(acl_user_knows(acl_users_default(users), SLICE("door")));
    acl_users_unref(users);
    cr_assert(acl_replace(acl, SLICE("user default on nopass +get\n"), &why));
    users = acl_users_now(acl);
    cr_assert(acl_user_has_nopass(acl_users_default(users)), "the file's word counts");
    cr_assert_not(acl_user_is_free(acl_users_default(users)));
    acl_users_unref(users);
    buf_fini(&why);
    acl_free(acl);
}

struct seen {
    uint32_t count;
    uint64_t hits;
    uint64_t newest;
};

static void on_begin(void *arg, uint32_t count)
{
    ((struct seen *)arg)->count = count;
}

static void on_entry(void *arg, const struct acl_log_entry *entry)
{
    struct seen *seen = arg;
    seen->hits += entry->count;
    if (entry->id > seen->newest) { seen->newest = entry->id; }
}

Test(acl, the_log_counts_what_happens_again_within_a_minute)
{
    struct acl_log *log = acl_log_new();
    const struct acl_log_entry entry = {
        .reason = ACL_NO_KEY, .context = "toplevel", .object = SLICE("k"), .user = SLICE("al")};
    acl_log_add(log, &entry, 1000);
    acl_log_add(log, &entry, 60000);
    acl_log_add(log, &entry, 200000);
    struct seen seen = {0};
    const struct acl_log_visitor visitor = {on_begin, on_entry, &seen};
    acl_log_each(log, 10, &visitor);
    cr_assert_eq(seen.count, 2);
    cr_assert_eq(seen.hits, 3);
    acl_log_limit(log, 1);
    acl_log_each(log, 10, &visitor);
    cr_assert_eq(seen.count, 2);
    cr_assert_eq(seen.newest, 2);
    acl_log_clear(log);
    acl_log_each(log, 10, &visitor);
    cr_assert_eq(seen.count, 0);
    acl_log_free(log);
}
