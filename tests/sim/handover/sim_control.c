/* sim_control: consensus/membership.h without consensus: one map, changed by the rules of the control group at times
 * of its own choosing, that comes to each node when it comes; and the leases. Whoever is cut off from the majority, or
 * paused, hears nothing and is declared down, but never while it holds a lease. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pubsub/partition.h"
#include "sim/handover/sim_handover.h"

struct membership {
    struct sim_node *node;
};

/* ---- the map ---- */

static struct pmap *next_map(void)
{
    const struct pmap *old = sim->control.map;
    struct pmap *next = pmap_new(sim->node_count, SIM_PARTITIONS);
    memcpy(next->node, old->node, old->node_count * sizeof *old->node);
    memcpy(next->partition, old->partition, SIM_PARTITIONS * sizeof *old->partition);
    next->cluster_id = old->cluster_id;
    next->version = old->version + 1;
    return next;
}

static void set_map(struct pmap *next)
{
    pmap_unref(sim->control.map);
    sim->control.map = next;
    sim->event++;
}

static void set_owner(struct pmap *map, uint32_t p, uint32_t owner)
{
    struct pmap_partition *partition = &map->partition[p];
    partition->previous = owner == PMAP_NOBODY ? PMAP_NOBODY : partition->owner;
    partition->owner = owner;
    partition->epoch++;
}

/* ---- consensus/membership.h ---- */

enum err membership_start(struct membership **out, const struct membership_opts *opts)
{
    struct membership *m = mem_new0(sizeof *m);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->node[i].id == opts->node_id) { m->node = &sim->node[i]; }
    }
    m->node->on_map = opts->on_map;
    m->node->on_map_arg = opts->arg;
    *out = m;
    return ERR_OK;
}

void membership_stop(struct membership *m)
{
    mem_free(m);
}

bool membership_has_lease(const struct membership *m, uint64_t incarnation)
{
    const struct sim_node *node = m->node;
    return incarnation != 0 && node->lease_incarnation == incarnation &&
           sim->now_ms < node->lease_until_ms;
}

void membership_set_warming(struct membership *m, uint32_t partition_count)
{
    m->node->warming = partition_count;
}

void membership_drain(struct membership *m)
{
    (void)m;
}

void membership_leave(struct membership *m)
{
    (void)m;
}

void membership_forget(struct membership *m, const char *name,
                       void (*on_done)(void *arg, const char *error), void *arg)
{
    (void)m;
    (void)name;
    on_done(arg, "ERR not simulated");
}

void membership_suspect(struct membership *m, uint64_t id, uint64_t incarnation)
{
    (void)m;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct pmap_node *member = &sim->control.map->node[i];
        if (member->id == id && member->is_up && member->incarnation == incarnation &&
            sim_chance(30)) {
            sim->node[i].is_condemned = true;
        }
    }
}

void membership_unserved(struct membership *m, uint32_t partition, uint64_t epoch)
{
    const struct pmap_partition *row = &sim->control.map->partition[partition];
    uint32_t owner = (uint32_t)sim_random(sim->node_count);
    bool may = sim->control.map->node[owner].is_up && owner != row->owner;
    bool is_heard = m->node->heard_ms + 50 > sim->now_ms;
    if (row->epoch != epoch || row->owner == PMAP_NOBODY || !may || !is_heard) { return; }
    sim_say("control: partition %u starts over at node %u, because of node %u", partition, owner,
            m->node->index);
    struct pmap *next = next_map();
    set_owner(next, partition, owner);
    sim->stats.started_over++;
    set_map(next);
}

/* Users are not simulated here. */
enum err membership_known_users(const char *dir, struct roster **out)
{
    (void)dir;
    *out = NULL;
    return ERR_OK;
}

void membership_change_users(struct membership *m, struct roster_change *change,
                             uint32_t timeout_ms, users_on_done *on_done, void *arg)
{
    (void)m;
    (void)timeout_ms;
    roster_change_free(change);
    on_done(arg, USERS_REFUSED, "ERR not simulated");
}

void membership_users_in_force(struct membership *m, uint64_t version)
{
    (void)m;
    (void)version;
}

void membership_status(struct membership *m, struct membership_status *out)
{
    (void)m;
    *out = (struct membership_status){0};
}

/* ---- what changes it ---- */

static void declare_down(struct sim_node *node)
{
    sim_say("control: node %u is down", node->index);
    struct pmap *next = next_map();
    next->node[node->index].is_up = false;
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        if (next->partition[p].owner == node->index) { set_owner(next, p, PMAP_NOBODY); }
    }
    node->is_condemned = false;
    node->back_ms = 0;
    node->barred_until_ms = sim->now_ms + (sim_chance(50) ? 0 : sim_random(3000));
    sim->stats.downs++;
    set_map(next);
}

static void join(struct sim_node *node)
{
    struct pmap *next = next_map();
    next->node[node->index].is_up = true;
    next->node[node->index].incarnation = ++sim->control.incarnation_last;
    sim_say("control: node %u is up, incarnation %lu", node->index, sim->control.incarnation_last);
    set_map(next);
}

static uint32_t owned_count(const struct pmap *map, uint32_t owner)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        count += map->partition[p].owner == owner;
    }
    return count;
}

static uint32_t owner_for(const struct pmap *map)
{
    uint32_t best = PMAP_NOBODY;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!map->node[i].is_up) { continue; }
        if (best == PMAP_NOBODY || owned_count(map, i) < owned_count(map, best)) { best = i; }
    }
    return best;
}

static void assign_orphans(void)
{
    if (owned_count(sim->control.map, PMAP_NOBODY) == 0 || sim_chance(80)) { return; }
    struct pmap *next = next_map();
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        uint32_t owner = owner_for(next);
        if (next->partition[p].owner == PMAP_NOBODY && owner != PMAP_NOBODY) {
            set_owner(next, p, owner);
        }
    }
    set_map(next);
}

static bool any_warming(void)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (sim->control.map->node[i].is_up && sim->node[i].warming > 0) { return true; }
    }
    return false;
}

static void move_one(void)
{
    struct sim_control *control = &sim->control;
    if (sim->now_ms < control->next_move_ms) { return; }
    control->next_move_ms = sim->now_ms + 20 + sim_random(600);
    uint32_t p = (uint32_t)sim_random(SIM_PARTITIONS);
    uint32_t to = (uint32_t)sim_random(sim->node_count);
    uint32_t owner = control->map->partition[p].owner;
    if (!control->map->node[to].is_up || owner == to || owner == PMAP_NOBODY) { return; }
    if (any_warming() && sim_chance(80)) { return; }
    struct pmap *next = next_map();
    set_owner(next, p, to);
    sim_say("control: partition %u moves from %u to %u, epoch %lu", p, owner, to,
            next->partition[p].epoch);
    sim->stats.moves++;
    set_map(next);
}

/* ---- who is heard ---- */

static bool hears(uint32_t a, uint32_t b)
{
    return a == b || (sim_path_is_open(a, b) && sim_path_is_open(b, a));
}

/* Some node that runs and hears a majority; PMAP_NOBODY: nothing is decided. */
static uint32_t leader(void)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        uint32_t count = 0;
        for (uint32_t j = 0; j < sim->node_count; j++) {
            count += sim_is_running(&sim->node[j]) && hears(i, j);
        }
        if (sim_is_running(&sim->node[i]) && count * 2 > sim->node_count) { return i; }
    }
    return PMAP_NOBODY;
}

static void give_map(struct sim_node *node)
{
    const struct pmap *newest = sim->control.map;
    if (node->map != NULL && node->map->version == newest->version) { return; }
    if (node->map_due_ms == 0) { /* who was away has a log to catch up with */
        bool was_away = node->map != NULL && node->map->node[node->index].incarnation !=
                                                 newest->node[node->index].incarnation;
        uint64_t ms_max = was_away && sim_chance(50) ? 1500 : sim_chance(10) ? 300 : 20;
        node->map_due_ms = sim->now_ms + 1 + sim_random(ms_max);
    }
    if (sim->now_ms < node->map_due_ms) { return; }
    node->map_due_ms = 0;
    bool was_member = node->map != NULL;
    if (!was_member && !newest->node[node->index].is_up) { return; }
    pmap_unref(node->map);
    node->map = pmap_ref(newest);
    node->on_map(node->on_map_arg, newest, node->index);
}

static void renew_lease(struct sim_node *node)
{
    const struct pmap_node *member = &sim->control.map->node[node->index];
    bool knows =
        node->map != NULL && node->map->node[node->index].incarnation == member->incarnation;
    if (!member->is_up || !knows || node->is_condemned) { return; }
    node->lease_until_ms = sim->now_ms + SIM_TIMEOUT_MS;
    node->lease_incarnation = member->incarnation;
}

static void look_at(struct sim_node *node, bool is_heard)
{
    bool is_up = sim->control.map->node[node->index].is_up;
    if (is_heard) {
        node->heard_ms = sim->now_ms;
        renew_lease(node);
        give_map(node);
    }
    bool is_gone = sim->now_ms > node->heard_ms + SIM_TIMEOUT_MS || node->is_condemned;
    if (is_up && is_gone && sim->now_ms > node->lease_until_ms + SIM_LEASE_MARGIN_MS) {
        declare_down(node);
    }
    if (is_up || !is_heard || sim->now_ms < node->barred_until_ms) { return; }
    if (node->back_ms == 0) { node->back_ms = sim->now_ms + sim_random(150); }
    if (sim->now_ms >= node->back_ms) {
        node->back_ms = 0;
        join(node);
    }
}

void sim_control_step(bool may_move)
{
    uint32_t by = leader();
    if (by == PMAP_NOBODY) {
        for (uint32_t i = 0; i < sim->node_count; i++) { /* who leads next hears them first */
            sim->node[i].heard_ms = sim->now_ms;
        }
        return;
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        look_at(&sim->node[i], sim_is_running(&sim->node[i]) && hears(by, i));
    }
    assign_orphans();
    if (may_move) { move_one(); }
}

bool sim_control_is_at_rest(void)
{
    const struct pmap *map = sim->control.map;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct sim_node *node = &sim->node[i];
        if (node->is_condemned) { return false; }
        if (!map->node[i].is_up || node->map == NULL || node->map->version != map->version) {
            return false;
        }
    }
    return owned_count(map, PMAP_NOBODY) == 0;
}

void sim_control_init(void)
{
    struct pmap *map = pmap_new(sim->node_count, SIM_PARTITIONS);
    map->cluster_id = 1;
    map->version = 1;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct pmap_node *member = &map->node[i];
        member->id = sim->node[i].id;
        snprintf(member->name, sizeof member->name, "node-%u", i);
        snprintf(member->peer.host, sizeof member->peer.host, "node-%u", i);
        member->peer.port = (uint16_t)(i + 1);
        member->incarnation = ++sim->control.incarnation_last;
        member->is_up = true;
    }
    sim->control.map = map;
}

void sim_control_fini(void)
{
    pmap_unref(sim->control.map);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        pmap_unref(sim->node[i].map);
    }
}
