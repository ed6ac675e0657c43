/* acl: the node's table, the cluster's users on top, and the table that this makes. */
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
    struct acl_agreed *agreed; /* its texts are owned */
    uint32_t agreed_count;
    struct acl_users *in_force;
    atomic_uint_fast64_t version;
    struct acl_log *log;
    struct acl_failures *failures;
};

static void agreed_clear(struct acl *acl)
{
    for (uint32_t i = 0; i < acl->agreed_count; i++) {
        mem_free((void *)(uintptr_t)acl->agreed[i].name.data);
        mem_free((void *)(uintptr_t)acl->agreed[i].rules.data);
    }
    mem_free(acl->agreed);
    acl->agreed = NULL;
    acl->agreed_count = 0;
}

/* Gives: the table with one user as agreed. */
static struct acl_users *with_agreed(struct acl_users *users, const struct acl_agreed *one)
{
    if (one->is_deleted) { return acl_users_without(users, one->name); }
    const struct slice anew = SLICE("reset");
    struct buf why = {0};
    struct acl_users *to = acl_users_set(users, one->name, &anew, 1, &why);
    if (to != NULL) {
        struct acl_user *user = acl_users_find(to, one->name);
        if (!acl_user_parse(user, one->rules, &why)) {
            acl_users_unref(to);
            to = acl_users_set(users, one->name, &anew, 1, &why);
        }
    }
    if (why.len > 0) {
        LOG_ERROR("a user of the cluster is off: this program does not understand the rules",
                  LOG_SLICE("user", one->name), LOG_SLICE("why", buf_slice(&why)));
    }
    buf_fini(&why);
    return to != NULL ? to : acl_users_ref(users);
}

/* With the lock held. */
static void put_in_force(struct acl *acl)
{
    struct acl_users *users = acl_users_ref(acl->own);
    for (uint32_t i = 0; i < acl->agreed_count; i++) {
        struct acl_users *next = with_agreed(users, &acl->agreed[i]);
        acl_users_unref(users);
        users = next;
    }
    acl_users_unref(acl->in_force);
    acl->in_force = users;
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
    agreed_clear(acl);
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

/* Gives: the table with `default` as requirepass wants it. Takes: users. */
static struct acl_users *with_standard(struct acl *acl, struct acl_users *users)
{
    const struct slice rule[] = {
        acl->standard[0] != '\0' ? SLICE("resetpass") : SLICE("nopass"),
        slice_of_str(acl->standard),
    };
    struct buf why = {0};
    struct acl_users *to =
        acl_users_set(users, SLICE("default"), rule, acl->standard[0] != '\0' ? 2 : 1, &why);
    CHECK(to != NULL);
    buf_fini(&why);
    acl_users_unref(users);
    return to;
}

void acl_set_standard_password(struct acl *acl, struct slice password)
{
    char rule[sizeof acl->standard] = "";
    if (password.len > 0) {
        rule[0] = '#';
        acl_password_hash(password, rule + 1);
    }
    lock_take(&acl->lock);
    if (strcmp(rule, acl->standard) != 0) {
        memcpy(acl->standard, rule, sizeof rule);
        acl->own = with_standard(acl, acl->own);
        put_in_force(acl);
    }
    lock_release(&acl->lock);
}

void acl_print_own(struct acl *acl, struct buf *out)
{
    struct buf plain = {0};
    struct buf line = {0};
    lock_take(&acl->lock);
    struct acl_users *fresh = with_standard(acl, acl_users_new(acl->catalogue, acl->hear_all));
    acl_users_print_one(acl_users_default(fresh), &plain);
    for (uint32_t i = 0; i < acl_users_count(acl->own); i++) {
        line.len = 0;
        acl_users_print_one(acl_users_at(acl->own, i), &line);
        if (slice_equal(buf_slice(&line), buf_slice(&plain))) { continue; }
        buf_append(out, buf_slice(&line));
        buf_append(out, SLICE("\n"));
    }
    acl_users_unref(fresh);
    lock_release(&acl->lock);
    buf_fini(&line);
    buf_fini(&plain);
}

bool acl_replace(struct acl *acl, struct slice text, struct buf *why)
{
    lock_take(&acl->lock);
    bool has_default;
    struct acl_users *users =
        acl_users_parse(acl->catalogue, acl->hear_all, text, &has_default, why);
    if (users != NULL && !has_default) { users = with_standard(acl, users); }
    bool is_done = take_own(acl, users);
    lock_release(&acl->lock);
    return is_done;
}

/* ---- the cluster's ---- */

bool acl_plan_user(struct acl *acl, struct slice name, const struct slice *rule, uint32_t count,
                   struct buf *rules, struct buf *why)
{
    struct acl_users *users = acl_users_now(acl);
    struct acl_users *to = acl_users_set(users, name, rule, count, why);
    acl_users_unref(users);
    if (to == NULL) { return false; }
    acl_user_print(acl_users_find(to, name), rules);
    acl_users_unref(to);
    return true;
}

static struct slice keep(struct slice text)
{
    return slice_of(mem_copy(text.data, text.len), text.len);
}

void acl_agree(struct acl *acl, const struct acl_agreed *agreed, uint32_t count)
{
    lock_take(&acl->lock);
    agreed_clear(acl);
    acl->agreed = mem_new0((count + 1) * sizeof *acl->agreed);
    acl->agreed_count = count;
    for (uint32_t i = 0; i < count; i++) {
        acl->agreed[i] =
            (struct acl_agreed){keep(agreed[i].name), keep(agreed[i].rules), agreed[i].is_deleted};
    }
    put_in_force(acl);
    lock_release(&acl->lock);
}
