/* user_change: plan, give, and again.
 * Always: what is planned is made of the newest users that are in force here; the cluster refuses it if they are not the newest
 * there are, and answers so once the newer ones are in force here. */
#include "cmd/user_change.h"

#include <stdio.h>
#include <sys/random.h>

#include "acl/acl.h"
#include "acl/acl_password.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unconst.h"
#include "cmd/agreed.h"
#include "cmd/caller.h"
#include "cmd/user_file.h"

struct wanted {
    struct broker *broker;
    struct session *session; /* NULL: it has gone away */
    uint32_t worker;
    enum user_wish wish;
    uint32_t count;
    struct slice *word; /* owned, as what they point to */
    uint64_t until_ns;
    int64_t deleted;
    bool is_over;
    struct buf error; /* empty: done */
};

static void wanted_free(struct wanted *wanted)
{
    for (uint32_t i = 0; i < wanted->count; i++) {
        mem_free(unconst(wanted->word[i].data));
    }
    mem_free(wanted->word);
    buf_fini(&wanted->error);
    mem_free(wanted);
}

/* ---- the plan ---- */

/* The user's rules become those that these words make of them. False: *why. */
static bool plan_rules(struct wanted *wanted, const struct roster *roster, struct slice name,
                       const struct slice *rule, uint32_t count, struct roster_change *change,
                       struct buf *why)
{
    const struct roster_user *user = roster_find(roster, name);
    struct buf rules = {0};
    bool is_good = acl_plan_user(wanted->broker->acl, name, user != NULL ? &user->rules : NULL,
                                 rule, count, &rules, why);
    if (is_good) {
        roster_change_add(change, &(struct roster_edit){.name = name,
                                                        .rules = buf_slice(&rules),
                                                        .base = user != NULL ? user->version : 0});
    }
    buf_fini(&rules);
    return is_good;
}

static void plan_removals(struct wanted *wanted, const struct roster *roster,
                          struct roster_change *change)
{
    for (uint32_t i = 0; i < wanted->count; i++) {
        const struct roster_user *user = roster_find(roster, wanted->word[i]);
        if (user == NULL) { continue; }
        roster_change_add(
            change,
            &(struct roster_edit){.name = user->name, .base = user->version, .is_removal = true});
    }
    wanted->deleted = change->count;
}

static bool plan_all(struct wanted *wanted, struct roster_change *change, struct buf *why)
{
    struct buf fault = {0};
    struct buf rules = {0};
    struct acl_users *users = acl_plan_replace(wanted->broker->acl, wanted->word[0], &fault);
    if (users == NULL) { user_file_say(wanted->broker, buf_slice(&fault), why); }
    buf_fini(&fault);
    if (users == NULL) { return false; }
    change->is_all = true;
    for (uint32_t i = 0; i < acl_users_count(users); i++) {
        rules.len = 0;
        acl_user_print(acl_users_at(users, i), &rules);
        roster_change_add(change,
                          &(struct roster_edit){.name = acl_user_name(acl_users_at(users, i)),
                                                .rules = buf_slice(&rules)});
    }
    buf_fini(&rules);
    acl_users_unref(users);
    return true;
}

static bool plan(struct wanted *wanted, const struct roster *roster, struct roster_change *change,
                 struct buf *why)
{
    char hash[ACL_HASH_HEX + 2] = "";
    struct slice rule[2];
    switch (wanted->wish) {
    case WISH_SET:
        return plan_rules(wanted, roster, wanted->word[0], wanted->word + 1, wanted->count - 1,
                          change, why);
    case WISH_DELETE: plan_removals(wanted, roster, change); return true;
    case WISH_REPLACE: return plan_all(wanted, change, why);
    case WISH_PASSWORD:
        return plan_rules(wanted, roster, SLICE("default"), rule,
                          acl_standard_rule(wanted->word[0], hash, rule), change, why);
    }
    return false;
}

/* ---- to the cluster and back ---- */

static void over(struct wanted *wanted, const char *error)
{
    wanted->is_over = true;
    if (error != NULL) { buf_append_str(&wanted->error, error); }
    if (wanted->session == NULL) {
        wanted_free(wanted);
    } else {
        wait_over(wanted->session);
    }
}

static void give(struct wanted *wanted);

static void on_done(void *arg, enum users_outcome outcome, const char *text)
{
    struct wanted *wanted = arg;
    switch (outcome) {
    case USERS_CHANGED: over(wanted, NULL); return;
    case USERS_STALE: give(wanted); return;
    case USERS_OWN:
        over(wanted, "CLUSTERDOWN The cluster's users are not known everywhere yet");
        return;
    case USERS_MADE:
    case USERS_REFUSED:
    case USERS_INDOUBT: over(wanted, text); return;
    }
}

static void give(struct wanted *wanted)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t id = 0;
    if (now_ns >= wanted->until_ns) {
        over(wanted, "CLUSTERDOWN Others change the same users: they are as the others wanted");
        return;
    }
    CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
    struct roster_change *change = roster_change_new(id | 1);
    struct roster *roster = agreed_roster(wanted->broker->agreed);
    struct buf why = {0};
    buf_append_str(&why, "ERR ");
    if (plan(wanted, roster, change, &why)) {
        uint32_t left_ms = (uint32_t)((wanted->until_ns - now_ns) / NS_PER_MS + 1);
        cluster_change_users(wanted->broker->cluster, wanted->worker, change, left_ms, on_done,
                             wanted);
    } else {
        roster_change_free(change);
        buf_append(&why, slice_of("", 1));
        over(wanted, why.data);
    }
    buf_fini(&why);
    roster_unref(roster);
}

static void finish(void *arg, struct call *call)
{
    struct wanted *wanted = arg;
    if (wanted->error.len > 0) {
        reply_error_slice(call->reply, buf_slice(&wanted->error));
    } else if (wanted->wish == WISH_DELETE) {
        reply_int(call->reply, wanted->deleted);
    } else {
        reply_ok(call->reply);
    }
    wanted_free(wanted);
}

/* Until the answer comes, it belongs to the cluster; then it goes. */
static void forget_session(void *arg)
{
    struct wanted *wanted = arg;
    wanted->session = NULL;
    if (wanted->is_over) { wanted_free(wanted); }
}

void user_change(struct call *call, enum user_wish wish, const struct slice *word, uint32_t count)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget_session};
    struct broker *broker = call->caller->broker;
    uint64_t timeout_ms = (uint64_t)config_number(broker->config, CONFIG_cluster_timeout);
    struct wanted *wanted = mem_new0(sizeof *wanted);
    wanted->broker = broker;
    wanted->session = call->caller->session;
    wanted->worker = worker_index(call->caller->service->worker);
    wanted->wish = wish;
    wanted->until_ns = clock_mono_ns() + timeout_ms * NS_PER_MS;
    wanted->word = mem_new((count + 1) * sizeof *wanted->word);
    for (; wanted->count < count; wanted->count++) {
        const struct slice own = word[wanted->count];
        wanted->word[wanted->count] = slice_of(mem_copy(own.data, own.len), own.len);
    }
    call_wait(call, &ops, wanted);
    give(wanted);
}

/* ---- whose ---- */

enum user_scope user_change_scope(struct call *call)
{
    struct broker *broker = call->caller->broker;
    if (broker->agreed == NULL) { return SCOPE_NODE; }
    if (acl_is_agreed(broker->acl)) { return SCOPE_CLUSTER; }
    uint32_t self;
    const struct pmap *map = cluster_map(broker->cluster, &self);
    bool is_old = map != NULL && map->level < PMAP_LEVEL_USERS;
    pmap_unref(map);
    if (is_old) {
        LOG_LIMITED(LOG_LEVEL_WARN, "users are changed on this node only: not all members of the "
                                    "cluster are of a version that knows of common ones");
        return SCOPE_NODE;
    }
    reply_error(call->reply, "CLUSTERDOWN The cluster's users are not known here yet");
    return SCOPE_UNKNOWN;
}
