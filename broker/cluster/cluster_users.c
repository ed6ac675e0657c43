/* cluster_users: the cluster's users, between the membership and who puts them in force. */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"

/* ---- what they are ---- */

/* Raft thread. */
static void on_roster(void *arg, const struct roster *roster)
{
    struct cluster *c = arg;
    const struct membership_users *users = &c->opts.membership.users;
    if (!atomic_load(&c->is_stopping)) { users->on_roster(users->arg, roster); }
}

static struct roster_change *own(void *arg, uint64_t id)
{
    const struct membership_users *users = &((struct cluster *)arg)->opts.membership.users;
    return users->own(users->arg, id);
}

enum err cluster_users_recall(struct cluster *c)
{
    const struct membership_users *users = &c->opts.membership.users;
    struct roster *roster = NULL;
    if (users->on_roster == NULL) { return ERR_OK; }
    enum err err = membership_known_users(c->opts.membership.dir, &roster);
    if (roster != NULL) {
        LOG_INFO("the cluster's users are what this node knew of them, until it has joined",
                 LOG_UINT("users", roster->count), LOG_UINT("version", roster->version));
        users->on_roster(users->arg, roster);
    }
    roster_unref(roster);
    return err;
}

void cluster_users_join(struct cluster *c, struct membership_opts *opts)
{
    if (opts->users.on_roster == NULL) { return; }
    opts->users = (struct membership_users){.arg = c, .on_roster = on_roster, .own = own};
}

void cluster_users_in_force(struct cluster *c, uint64_t version)
{
    atomic_store(&c->users_version, version);
    struct membership *membership = atomic_load(&c->membership);
    if (membership != NULL) { membership_users_in_force(membership, version); }
}

/* ---- changes ---- */

struct changing_users {
    struct cluster_worker *cw;
    users_on_done *on_done;
    void *arg;
    enum users_outcome outcome;
    char text[256];
};

static void on_done_here(struct event *event)
{
    struct changing_users *changing = event->pointer;
    changing->on_done(changing->arg, changing->outcome, changing->text);
    mem_free(changing);
}

static void on_done(void *arg, enum users_outcome outcome, const char *text)
{
    struct changing_users *changing = arg;
    changing->outcome = outcome;
    snprintf(changing->text, sizeof changing->text, "%s", text);
    event_post(changing->cw, (struct event){.run = on_done_here, .pointer = changing});
}

void cluster_change_users(struct cluster *c, uint32_t worker, struct roster_change *change,
                          uint32_t timeout_ms, users_on_done *then, void *arg)
{
    struct changing_users *changing = mem_new0(sizeof *changing);
    *changing = (struct changing_users){.cw = c->worker[worker], .on_done = then, .arg = arg};
    struct membership *membership = atomic_load(&c->membership);
    if (membership != NULL) {
        membership_change_users(membership, change, timeout_ms, on_done, changing);
        return;
    }
    roster_change_free(change);
    on_done(changing, USERS_REFUSED, "CLUSTERDOWN This node has not joined its cluster yet");
}
