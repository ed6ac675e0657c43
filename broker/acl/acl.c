/* acl: the node's table, and the cluster's, which takes its place. */
#include "acl/acl.h"

#include <stdatomic.h>
#include <string.h>

#include "acl/acl_password.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"

struct acl {
    const struct acl_catalogue *catalogue;
    struct lock lock; /* holds all below */
    bool hear_all;
    char standard[ACL_HASH_HEX +
                  2]; /* "#hash", the rule that gives `default` its password; empty: it has none */
    struct acl_users *own;
    struct acl_users *agreed; /* the cluster's; NULL: it has none yet */
    struct acl_users *in_force;
    atomic_uint_fast64_t version;
    struct acl_log *log;
    struct acl_failures *failures;
};

/* With the lock held. */
static void put_in_force(struct acl *acl)
{
    struct acl_users *before = acl->in_force;
    acl->in_force = acl_users_ref(acl->agreed != NULL ? acl->agreed : acl->own);
    acl_users_unref(before);
    atomic_fetch_add_explicit(&acl->version, 1, memory_order_release);
}

/* ---- life ---- */

struct acl *acl_new(const struct acl_catalogue *catalogue, bool hear_all)
{
    struct acl *acl = mem_new0(sizeof *acl);
    acl->catalogue = catalogue;
    lock_init(&acl->lock);
    acl->hear_all = hear_all;
    acl->own = acl_users_new(catalogue, hear_all);
    acl->log = acl_log_new();
    acl->failures = acl_failures_new();
    put_in_force(acl);
    return acl;
}

void acl_free(struct acl *acl)
{
    if (acl == NULL) { return; }
    acl_users_unref(acl->in_force);
    acl_users_unref(acl->own);
    acl_users_unref(acl->agreed);
    acl_log_free(acl->log);
    acl_failures_free(acl->failures);
    lock_fini(&acl->lock);
    mem_free(acl);
}

const struct acl_catalogue *acl_catalogue(const struct acl *acl)
{
    return acl->catalogue;
}

struct acl_log *acl_log(struct acl *acl)
{
    return acl->log;
}

struct acl_failures *acl_failures(struct acl *acl)
{
    return acl->failures;
}

struct acl_users *acl_users_now(struct acl *acl)
{
    lock_take(&acl->lock);
    struct acl_users *users = acl_users_ref(acl->in_force);
    lock_release(&acl->lock);
    return users;
}

uint64_t acl_version(const struct acl *acl)
{
    return atomic_load_explicit(&acl->version, memory_order_acquire);
}

/* ---- the node's own users ---- */

/* Takes: users, or NULL: nothing changes. With the lock held. */
static bool take_own(struct acl *acl, struct acl_users *users)
{
    if (users == NULL) { return false; }
    acl_users_unref(acl->own);
    acl->own = users;
    put_in_force(acl);
    return true;
}

bool acl_set_user(struct acl *acl, struct slice name, const struct slice *rule, uint32_t count,
                  struct buf *why)
{
    lock_take(&acl->lock);
    bool is_done = take_own(acl, acl_users_set(acl->own, name, rule, count, why));
    lock_release(&acl->lock);
    return is_done;
}

bool acl_delete_user(struct acl *acl, struct slice name)
{
    lock_take(&acl->lock);
    bool is_there = acl_users_find(acl->own, name) != NULL;
    if (is_there) { is_there = take_own(acl, acl_users_without(acl->own, name)); }
    lock_release(&acl->lock);
    return is_there;
}

uint32_t acl_standard_rule(struct slice password, char hash[ACL_HASH_HEX + 2], struct slice rule[2])
{
    rule[0] = SLICE("nopass");
    if (password.len == 0) { return 1; }
    hash[0] = '#';
    acl_password_hash(password, hash + 1);
    rule[0] = SLICE("resetpass");
    rule[1] = slice_of_str(hash);
    return 2;
}

/* Gives: the table with `default` as requirepass wants it. Takes: users. */
static struct acl_users *with_standard(struct acl *acl, struct acl_users *users)
{
    bool has_password = acl->standard[0] != '\0';
    const struct slice rule[] = {
        has_password ? SLICE("resetpass") : SLICE("nopass"),
        slice_of_str(acl->standard),
    };
    struct buf why = {0};
    struct acl_users *to = acl_users_set(users, SLICE("default"), rule, has_password ? 2 : 1, &why);
    CHECK(to != NULL);
    buf_fini(&why);
    acl_users_unref(users);
    return to;
}

void acl_set_standard_password(struct acl *acl, struct slice password)
{
    char hash[sizeof acl->standard] = "";
    struct slice rule[2];
    (void)acl_standard_rule(password, hash, rule);
    lock_take(&acl->lock);
    if (strcmp(hash, acl->standard) != 0) {
        memcpy(acl->standard, hash, sizeof hash);
        acl->own = with_standard(acl, acl->own);
        put_in_force(acl);
    }
    lock_release(&acl->lock);
}

void acl_set_hear_all(struct acl *acl, bool hear_all)
{
    lock_take(&acl->lock);
    if (acl->hear_all != hear_all) {
        acl->hear_all = hear_all;
        (void)take_own(acl, acl_users_hearing(acl->own, hear_all));
    }
    lock_release(&acl->lock);
}

void acl_print_lines(struct acl *acl, struct buf *out)
{
    struct buf plain = {0};
    struct buf line = {0};
    lock_take(&acl->lock);
    struct acl_users *fresh = with_standard(acl, acl_users_new(acl->catalogue, acl->hear_all));
    acl_users_print_one(acl_users_default(fresh), &plain);
    for (uint32_t i = 0; i < acl_users_count(acl->in_force); i++) {
        line.len = 0;
        acl_users_print_one(acl_users_at(acl->in_force, i), &line);
        if (slice_equal(buf_slice(&line), buf_slice(&plain))) { continue; }
        buf_append(out, buf_slice(&line));
        buf_append(out, SLICE("\n"));
    }
    acl_users_unref(fresh);
    lock_release(&acl->lock);
    buf_fini(&line);
    buf_fini(&plain);
}

/* With the lock held. */
static struct acl_users *parse(struct acl *acl, struct slice text, struct buf *why)
{
    bool has_default;
    struct acl_users *users =
        acl_users_parse(acl->catalogue, acl->hear_all, text, &has_default, why);
    return users != NULL && !has_default ? with_standard(acl, users) : users;
}

bool acl_replace(struct acl *acl, struct slice text, struct buf *why)
{
    lock_take(&acl->lock);
    bool is_done = take_own(acl, parse(acl, text, why));
    lock_release(&acl->lock);
    return is_done;
}

void acl_each_own(struct acl *acl, void (*visit)(void *arg, struct slice name, struct slice rules),
                  void *arg)
{
    lock_take(&acl->lock);
    struct acl_users *users = acl_users_ref(acl->own);
    lock_release(&acl->lock);
    struct buf rules = {0};
    for (uint32_t i = 0; i < acl_users_count(users); i++) {
        rules.len = 0;
        acl_user_print(acl_users_at(users, i), &rules);
        visit(arg, acl_user_name(acl_users_at(users, i)), buf_slice(&rules));
    }
    buf_fini(&rules);
    acl_users_unref(users);
}

/* ---- the cluster's ---- */

/* Gives: the user with these rules, or one who is off. */
static struct acl_user *make_agreed(struct acl *acl, const struct acl_agreed *agreed)
{
    struct buf why = {0};
    struct acl_user *user = acl_user_new(acl->catalogue, agreed->name);
    if (!acl_user_parse(user, agreed->rules, &why)) {
        LOG_ERROR("a user of the cluster is off: this program does not understand the rules",
                  LOG_SLICE("user", agreed->name), LOG_SLICE("why", buf_slice(&why)));
        acl_user_unref(user);
        user = acl_user_new(acl->catalogue, agreed->name);
    }
    buf_fini(&why);
    return user;
}

/* Gives: the user who is in force, where nothing has changed. */
static struct acl_user *take_agreed(struct acl *acl, const struct acl_agreed *agreed)
{
    struct acl_user *present =
        agreed->is_same && acl->agreed != NULL ? acl_users_find(acl->agreed, agreed->name) : NULL;
    return present != NULL ? acl_user_ref(present) : make_agreed(acl, agreed);
}

void acl_agree(struct acl *acl, const struct acl_agreed *agreed, uint32_t count)
{
    struct acl_user **user = mem_new((count + 1) * sizeof *user);
    lock_take(&acl->lock);
    for (uint32_t i = 0; i < count; i++) {
        user[i] = take_agreed(acl, &agreed[i]);
    }
    struct acl_users *before = acl->agreed;
    acl->agreed = acl_users_of(acl->catalogue, acl->hear_all, user, count);
    acl_users_unref(before);
    put_in_force(acl);
    lock_release(&acl->lock);
    mem_free(user);
}

bool acl_is_agreed(struct acl *acl)
{
    lock_take(&acl->lock);
    bool is_agreed = acl->agreed != NULL;
    lock_release(&acl->lock);
    return is_agreed;
}

bool acl_plan_user(struct acl *acl, struct slice name, const struct slice *present,
                   const struct slice *rule, uint32_t count, struct buf *rules, struct buf *why)
{
    struct acl_user *user = present != NULL ? acl_user_new(acl->catalogue, name) : NULL;
    struct acl_users *before = acl_users_of(acl->catalogue, acl->hear_all, &user, user != NULL);
    bool is_good = user == NULL || acl_user_parse(user, *present, why);
    struct acl_users *after = is_good ? acl_users_set(before, name, rule, count, why) : NULL;
    if (after != NULL) { acl_user_print(acl_users_find(after, name), rules); }
    acl_users_unref(before);
    acl_users_unref(after);
    return after != NULL;
}

struct acl_users *acl_plan_replace(struct acl *acl, struct slice text, struct buf *why)
{
    lock_take(&acl->lock);
    struct acl_users *users = parse(acl, text, why);
    lock_release(&acl->lock);
    return users;
}
