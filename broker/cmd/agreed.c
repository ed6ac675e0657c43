/* agreed: the raft thread, or a worker, changes the table; then each worker takes it over, and the last one tells the cluster. */
#include "cmd/agreed.h"

#include <string.h>

#include "acl/acl.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/service.h"
#include "session/users.h"

enum {
    AT_ONCE_MAX = 64
}; /* changed users that the raft thread makes itself: a millisecond or so */

struct arrival {
    struct task task;
    struct agreed *agreed;
    uint32_t worker;
};

struct agreed {
    struct broker *broker;
    struct lock lock;
    struct roster *newest; /* a reference; NULL: none yet. Under the lock */
    /* One walk over all workers at a time; what follows is the walk's. */
    atomic_bool is_walking;
    struct roster
        *table; /* a reference: what the table in force was made of; NULL: it is the node's own */
    struct task prepare_task;
    atomic_uint left;
    struct arrival arrival[BROKER_WORKERS_MAX];
};

/* ---- the table ---- */

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
static void tell_difference(const struct agreed *agreed, const struct roster *roster)
{
    struct comparison c = {.roster = roster};
    acl_each_own(agreed->broker->acl, compare, &c);
    if (c.others == 0) { return; }
    LOG_INFO("the cluster's users are in force, not those of this node's options and file",
             LOG_UINT("differ", c.others), LOG_UINT("users", roster->count));
}

static bool is_same(const struct roster *table, const struct roster_user *user)
{
    const struct roster_user *old = table != NULL ? roster_find(table, user->name) : NULL;
    return old != NULL && old->version == user->version;
}

static uint32_t count_changed(const struct roster *table, const struct roster *roster)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < roster->count; i++) {
        count += !is_same(table, &roster->user[i]);
    }
    return count;
}

static void put_in_force(const struct agreed *agreed, const struct roster *roster)
{
    struct acl_agreed *all = mem_new((roster->count + 1) * sizeof *all);
    for (uint32_t i = 0; i < roster->count; i++) {
        const struct roster_user *user = &roster->user[i];
        all[i] = (struct acl_agreed){
            .name = user->name, .rules = user->rules, .is_same = is_same(agreed->table, user)};
    }
    acl_agree(agreed->broker->acl, all, roster->count);
    mem_free(all);
}

/* ---- the walk ---- */

static void walk(struct agreed *agreed);

static void on_arrival(struct task *task)
{
    struct arrival *arrival = CONTAINER_OF(task, struct arrival, task);
    struct agreed *agreed = arrival->agreed;
    users_refresh(&agreed->broker->service[arrival->worker]->sessions);
    if (atomic_fetch_sub(&agreed->left, 1) > 1) { return; }
    uint64_t version = agreed->table->version;
    cluster_users_in_force(agreed->broker->cluster, version);
    atomic_store(&agreed->is_walking, false);
    struct roster *newest = agreed_roster(agreed);
    if (newest->version != version) { walk(agreed); }
    roster_unref(newest);
}

/* Make the table of the newest roster, and have each worker take it over. */
static void prepare(struct agreed *agreed)
{
    struct broker *broker = agreed->broker;
    struct roster *roster = agreed_roster(agreed);
    if (agreed->table == NULL) { tell_difference(agreed, roster); }
    put_in_force(agreed, roster);
    roster_unref(agreed->table);
    agreed->table = roster;
    atomic_store(&agreed->left, broker->worker_count);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct arrival *arrival = &agreed->arrival[i];
        *arrival = (struct arrival){{.run = on_arrival}, agreed, i};
        mailbox_post(worker_mailbox(broker->worker[i]), &arrival->task);
    }
}

/* On a worker. */
static void walk(struct agreed *agreed)
{
    if (!atomic_exchange(&agreed->is_walking, true)) { prepare(agreed); }
}

static void on_prepare(struct task *task)
{
    prepare(CONTAINER_OF(task, struct agreed, prepare_task));
}

/* ---- what the cluster says ---- */

/* Few changes are made here, so that they are in force before anything else of the same map is; many would keep the raft thread
 * from what cannot wait, and are made on a worker. What the node recalls is told before the workers run. */
void agreed_on_roster(void *arg, const struct roster *roster)
{
    struct agreed *agreed = arg;
    struct broker *broker = agreed->broker;
    bool is_recalled = broker->cluster == NULL;
    lock_take(&agreed->lock);
    struct roster *before = agreed->newest;
    agreed->newest = roster_ref(roster);
    lock_release(&agreed->lock);
    roster_unref(before);
    if (atomic_exchange(&agreed->is_walking, true)) { return; } /* its end looks for a newer one */
    if (is_recalled || count_changed(agreed->table, roster) <= AT_ONCE_MAX) {
        prepare(agreed);
    } else {
        mailbox_post(worker_mailbox(broker->worker[0]), &agreed->prepare_task);
    }
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
    agreed->prepare_task.run = on_prepare;
    lock_init(&agreed->lock);
    return agreed;
}

void agreed_free(struct agreed *agreed)
{
    if (agreed == NULL) { return; }
    roster_unref(agreed->newest);
    roster_unref(agreed->table);
    lock_fini(&agreed->lock);
    mem_free(agreed);
}

struct roster *agreed_roster(struct agreed *agreed)
{
    lock_take(&agreed->lock);
    struct roster *roster = agreed->newest != NULL ? roster_ref(agreed->newest) : NULL;
    lock_release(&agreed->lock);
    return roster;
}
