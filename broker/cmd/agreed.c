/* agreed: the raft thread changes the table; then each worker takes it over, and the last one tells the cluster. */
#include "cmd/agreed.h"

#include <string.h>

#include "acl/acl.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/service.h"
#include "session/users.h"

struct arrival {
    struct task task;
    struct agreed *agreed;
    uint32_t worker;
};

struct agreed {
    struct broker *broker;
    struct lock lock;
    struct roster *roster; /* a reference; NULL: none yet. Under the lock */
    bool has_compared;     /* the node's own users with them; the raft thread's */
    /* One walk over all workers at a time. */
    atomic_bool is_walking;
    uint64_t version; /* that this walk puts in force */
    atomic_uint left;
    struct arrival arrival[BROKER_WORKERS_MAX];
};

/* ---- on the workers ---- */

static void walk(struct agreed *agreed);

static uint64_t version_of(struct agreed *agreed)
{
    lock_take(&agreed->lock);
    uint64_t version = agreed->roster->version;
    lock_release(&agreed->lock);
    return version;
}

static void finish_walk(struct agreed *agreed)
{
    uint64_t version = agreed->version;
    cluster_users_in_force(agreed->broker->cluster, version);
    atomic_store(&agreed->is_walking, false);
    if (version_of(agreed) != version) { walk(agreed); }
}

static void on_arrival(struct task *task)
{
    struct arrival *arrival = CONTAINER_OF(task, struct arrival, task);
    struct agreed *agreed = arrival->agreed;
    users_refresh(&agreed->broker->service[arrival->worker]->sessions);
    if (atomic_fetch_sub(&agreed->left, 1) == 1) { finish_walk(agreed); }
}

static void walk(struct agreed *agreed)
{
    struct broker *broker = agreed->broker;
    if (atomic_exchange(&agreed->is_walking, true)) { return; } /* it will look again at its end */
    agreed->version = version_of(agreed);
    atomic_store(&agreed->left, broker->worker_count);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct arrival *arrival = &agreed->arrival[i];
        *arrival = (struct arrival){{.run = on_arrival}, agreed, i};
        mailbox_post(worker_mailbox(broker->worker[i]), &arrival->task);
    }
}

/* ---- what the cluster says ---- */

struct comparison {
    const struct roster *roster;
    uint32_t others; /* own users that are not the cluster's, or that have other rules */
};

static void compare(void *arg, struct slice name, struct slice rules)
{
    struct comparison *c = arg;
    const struct roster_user *user = roster_find(c->roster, name);
    c->others += user == NULL || !slice_equal(user->rules, rules);
}

/* Said once: a file that differs is no mistake once users have been changed. */
static void tell_difference(struct agreed *agreed, const struct roster *roster)
{
    struct comparison c = {.roster = roster};
    if (agreed->has_compared) { return; }
    agreed->has_compared = true;
    acl_each_own(agreed->broker->acl, compare, &c);
    if (c.others == 0) { return; }
    LOG_INFO("the cluster's users are in force, not those of this node's options and file",
             LOG_UINT("differ", c.others), LOG_UINT("users", roster->count));
}

static void put_in_force(struct agreed *agreed, const struct roster *before,
                         const struct roster *roster)
{
    struct acl_agreed *all = mem_new((roster->count + 1) * sizeof *all);
    for (uint32_t i = 0; i < roster->count; i++) {
        const struct roster_user *user = &roster->user[i];
        const struct roster_user *old = before != NULL ? roster_find(before, user->name) : NULL;
        all[i] = (struct acl_agreed){.name = user->name,
                                     .rules = user->rules,
                                     .is_same = old != NULL && old->version == user->version};
    }
    acl_agree(agreed->broker->acl, all, roster->count);
    mem_free(all);
}

void agreed_on_roster(void *arg, const struct roster *roster)
{
    struct agreed *agreed = arg;
    struct roster *before = agreed->roster; /* nobody else writes it */
    tell_difference(agreed, roster);
    put_in_force(agreed, before, roster);
    lock_take(&agreed->lock);
    agreed->roster = roster_ref(roster);
    lock_release(&agreed->lock);
    roster_unref(before);
    walk(agreed);
}

static void add_own(void *arg, struct slice name, struct slice rules)
{
    const struct roster_edit edit = {.name = name, .rules = rules};
    roster_change_add(arg, &edit);
}

struct roster_change *agreed_own(void *arg, uint64_t id)
{
    struct agreed *agreed = arg;
    struct roster_change *change = roster_change_new(id);
    acl_each_own(agreed->broker->acl, add_own, change);
    return change;
}

/* ---- life ---- */

struct agreed *agreed_new(struct broker *broker)
{
    struct agreed *agreed = mem_new0(sizeof *agreed);
    agreed->broker = broker;
    lock_init(&agreed->lock);
    return agreed;
}

void agreed_free(struct agreed *agreed)
{
    if (agreed == NULL) { return; }
    roster_unref(agreed->roster);
    lock_fini(&agreed->lock);
    mem_free(agreed);
}

struct roster *agreed_roster(struct agreed *agreed)
{
    lock_take(&agreed->lock);
    struct roster *roster = agreed->roster != NULL ? roster_ref(agreed->roster) : NULL;
    lock_release(&agreed->lock);
    return roster;
}
