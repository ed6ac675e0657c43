/* sim_membership_users: as its header says. */
#include "sim/sim_membership_users.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

enum { TIMEOUT_MS = 5000, ASKED_MAX = 8 };

/* The number in the user's rules; 0: there is no such user, or no roster. */
static uint64_t number_in(const struct roster *roster, uint32_t user)
{
    char name[16];
    int64_t number = 0;
    snprintf(name, sizeof name, "u%u", (unsigned)user);
    const struct roster_user *found =
        roster != NULL ? roster_find(roster, slice_of_str(name)) : NULL;
    if (found != NULL) { CHECK(slice_to_int64(found->rules, &number)); }
    return (uint64_t)number;
}

/* ---- a node ---- */

void musers_on_roster(void *arg, const struct roster *roster)
{
    struct mnode *node = arg;
    roster_unref(node->roster_told);
    node->roster_told = roster_ref(roster);
    node->roster_at_ms = node->sim->now_ms + sim_random(&node->sim->random, 40);
}

struct roster_change *musers_own(void *arg, uint64_t id)
{
    (void)arg;
    struct roster_change *change = roster_change_new(id);
    roster_change_add(change, &(struct roster_edit){.name = SLICE("default"), .rules = SLICE("1")});
    return change;
}

void musers_stop(struct mnode *node)
{
    roster_unref(node->roster_told);
    roster_unref(node->roster);
    node->roster_told = NULL;
    node->roster = NULL;
}

void musers_tick(struct mnode *node)
{
    bool is_due = node->roster_told != node->roster && node->sim->now_ms >= node->roster_at_ms;
    if (!is_due) { return; }
    roster_unref(node->roster);
    node->roster = roster_ref(node->roster_told);
    core_users_in_force(node->core, node->roster->version);
}

/* ---- an operator ---- */

struct asked {
    struct msim *sim;
    uint64_t asked_ms;
    uint32_t user;
    uint64_t number;
};

/* It is answered: so whoever is a member and may order, and was there when it was asked for, has it in force, and who came since
 * was told of it. Who was forgotten in its drain hears of nothing any more, and ends within its lease. */
static void check_everywhere(const struct asked *asked)
{
    struct msim *sim = asked->sim;
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        if (node->engine == NULL || node->lease_until_ms <= mnode_clock_ms(node)) { continue; }
        if (pmap_find_id(sim->newest, node->id) == PMAP_NOBODY) { continue; }
        bool was_there = node->life_ms < asked->asked_ms;
        const struct roster *roster = was_there ? node->roster : node->roster_told;
        if (number_in(roster, asked->user) < asked->number) {
            msim_fail(sim, "change %" PRIu64 " of u%u was answered and is not in force on %s",
                      asked->number, (unsigned)asked->user, node->name);
        }
    }
}

static void on_done(void *arg, enum users_outcome outcome, const char *text)
{
    struct asked *asked = arg;
    struct msim *sim = asked->sim;
    MSIM_LOG(sim, "change %" PRIu64 " of u%u: %d %s", asked->number, (unsigned)asked->user,
             (int)outcome, text);
    sim->users_asked--;
    if (outcome == USERS_CHANGED) {
        sim->stats.users_changed++;
        check_everywhere(asked);
        uint64_t *done = &sim->users_done[asked->user];
        *done = asked->number > *done ? asked->number : *done;
    }
    mem_free(asked);
}

void musers_change(struct msim *sim)
{
    struct mnode *node = &sim->nodes[1 + sim_random(&sim->random, (uint64_t)sim->node_count)];
    bool is_able =
        node->core != NULL && node->roster != NULL && node->paused_until_ms <= sim->now_ms;
    if (!is_able || sim->users_pause || sim->users_asked == ASKED_MAX) { return; }
    char name[16];
    char rules[24];
    struct asked *asked = mem_new(sizeof *asked);
    *asked = (struct asked){.sim = sim,
                            .asked_ms = sim->now_ms,
                            .user = (uint32_t)sim_random(&sim->random, MSIM_USERS),
                            .number = ++sim->users_next};
    snprintf(name, sizeof name, "u%u", (unsigned)asked->user);
    snprintf(rules, sizeof rules, "%" PRIu64, asked->number);
    const struct roster_user *user = roster_find(node->roster, slice_of_str(name));
    struct roster_change *change =
        roster_change_new(sim_random(&sim->random, UINT32_MAX) + (asked->number << 32));
    roster_change_add(change, &(struct roster_edit){.name = slice_of_str(name),
                                                    .rules = slice_of_str(rules),
                                                    .base = user != NULL ? user->version : 0});
    sim->users_asked++;
    node->sd.now_ms = sim->now_ms;
    core_change_users(node->core, change, TIMEOUT_MS, on_done, asked);
    roster_change_free(change);
    msim_settle(node);
}

/* ---- at rest ---- */

const char *musers_unrest(struct msim *sim)
{
    const struct roster *roster = sim->newest->roster;
    if (roster == NULL) { return "the cluster has not agreed on its users"; }
    if (sim->users_asked > 0) { return "changes of users are not answered"; }
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        if (node->engine == NULL) { continue; }
        if (node->roster == NULL || node->roster->version != roster->version) {
            return "the users are not in force everywhere";
        }
    }
    for (uint32_t user = 0; user < MSIM_USERS; user++) {
        if (number_in(roster, user) < sim->users_done[user]) {
            msim_fail(sim, "change %" PRIu64 " of u%u was answered and is lost",
                      sim->users_done[user], (unsigned)user);
        }
    }
    return NULL;
}
