/* membership_voters: the control group's Raft configuration follows the members: everybody is in it,
 * up to five vote, an odd number of them. One change at a time.
 * Thread: the raft thread, on the leader.
 * Always: no voter is removed if those that stay are not a majority that this leader hears; a voter
 * that is down stays one until it is forgotten, or until there is one more than the members ask for. */
#include <string.h>

#include "base/log.h"
#include "consensus/membership/membership_int.h"

enum { ROLE_STANDBY, ROLE_VOTER };

/* The replica that the member at `index` runs, as it said itself in this term; 0: it has not. */
static uint64_t replica_of(struct core *core, const struct pmap *map, uint32_t index)
{
    if (map->node[index].id == core->opts.node_id) { return core->status.self; }
    const struct node *node = core_node_find(core, map->node[index].id);
    bool is_heard = node != NULL && node->ping_ms >= core->lead.since_ms &&
                    node->ping.incarnation == map->node[index].incarnation;
    return is_heard ? node->ping.replica : 0;
}

static bool is_silent(const struct core *core, const struct node *node)
{
    return node == NULL || core->now_ms > node->ping_ms + core->opts.node_timeout_ms;
}

/* Does that replica live? While there was no majority nobody could be declared down, so the map does
 * not know it; and a member may have another replica than the one in the configuration. */
static bool is_live(struct core *core, const struct pmap *map, size_t server)
{
    uint64_t replica = core->status.servers[server].id;
    if (replica == core->status.self) { return true; }
    uint32_t index = pmap_find_name(map, slice_of_str(core->status.servers[server].node_name));
    return index != PMAP_NOBODY && map->node[index].is_up &&
           replica_of(core, map, index) == replica &&
           !is_silent(core, core_node_find(core, map->node[index].id));
}

bool voters_can_lose(struct core *core, const struct pmap *map, const char *name,
                     uint32_t *voters_up, uint32_t *voters)
{
    const struct engine_status *status = &core->status;
    bool is_voter = false;
    *voters_up = 0;
    *voters = 0;
    for (size_t i = 0; i < status->server_count; i++) {
        if (status->servers[i].role != ROLE_VOTER) { continue; }
        bool is_it = strcmp(status->servers[i].node_name, name) == 0;
        is_voter = is_voter || is_it;
        *voters += !is_it;
        *voters_up += !is_it && is_live(core, map, i);
    }
    return !is_voter || *voters_up * 2 > *voters;
}

static bool change(struct core *core, enum engine_change what, uint64_t replica, const char *name)
{
    static const char *const words[] = {[ENGINE_ADD_STANDBY] = "is added",
                                        [ENGINE_PROMOTE] = "becomes a voter",
                                        [ENGINE_REMOVE] = "is removed"};
    char copy[PMAP_NAME_BYTES];
    strncpy(copy, name, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    if (engine_change(core->engine, CONTROL_GROUP, what, replica, copy) != ERR_OK) { return false; }
    LOG_INFO("a replica of the control group", LOG_STR("node", copy),
             LOG_STR("change", words[what]), LOG_UINT("replica", replica),
             LOG_UINT("term", core->status.term));
    return true;
}

/* Replicas of nodes that are no members any more, or have a new one. True: something was begun. */
static bool remove_stale(struct core *core, const struct pmap *map)
{
    const struct engine_status *status = &core->status;
    for (size_t i = 0; i < status->server_count; i++) {
        const char *name = status->servers[i].node_name;
        uint64_t id = status->servers[i].id;
        uint32_t index = pmap_find_name(map, slice_of_str(name));
        uint64_t replica = index != PMAP_NOBODY ? replica_of(core, map, index) : 0;
        bool is_stale = index == PMAP_NOBODY || (replica != 0 && replica != id);
        uint32_t voters_up;
        uint32_t voters;
        if (!is_stale || id == status->self) { continue; }
        if (!voters_can_lose(core, map, name, &voters_up, &voters)) { continue; }
        if (change(core, ENGINE_REMOVE, id, name)) { return true; }
    }
    return false;
}

/* -1: it is in no role. */
static int role_of(const struct core *core, uint64_t replica)
{
    for (size_t i = 0; i < core->status.server_count; i++) {
        if (core->status.servers[i].id == replica) { return core->status.servers[i].role; }
    }
    return -1;
}

static bool name_is_taken(const struct core *core, const char *name)
{
    for (size_t i = 0; i < core->status.server_count; i++) {
        if (strcmp(core->status.servers[i].node_name, name) == 0) { return true; }
    }
    return false;
}

/* Members whose replica, a new one, is not in the configuration. */
static bool add_missing(struct core *core, const struct pmap *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        if (member->id == 0 || !member->is_up || member->id == core->opts.node_id) { continue; }
        uint64_t replica = replica_of(core, map, i);
        const struct node *node = core_node_find(core, member->id);
        if (replica == 0 || role_of(core, replica) != -1 || node->ping.replica_last != 0 ||
            name_is_taken(core, member->name)) {
            continue;
        }
        if (change(core, ENGINE_ADD_STANDBY, replica, member->name)) { return true; }
    }
    return false;
}

/* ---- voters ---- */

static uint32_t voter_count(const struct core *core)
{
    uint32_t count = 0;
    for (size_t i = 0; i < core->status.server_count; i++) {
        count += core->status.servers[i].role == ROLE_VOTER;
    }
    return count;
}

static bool has_voter_in(struct core *core, const struct pmap *map, const char *zone)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        uint64_t replica = map->node[i].id != 0 ? replica_of(core, map, i) : 0;
        if (replica != 0 && role_of(core, replica) == ROLE_VOTER &&
            strcmp(map->node[i].zone, zone) == 0) {
            return true;
        }
    }
    return false;
}

/* May the member at `index` vote, or lead? */
static bool is_fit(struct core *core, const struct pmap *map, uint32_t index)
{
    const struct pmap_node *member = &map->node[index];
    if (member->id == 0 || !member->is_up || member->is_draining) { return false; }
    if (member->id == core->opts.node_id) { return true; }
    const struct node *node = core_node_find(core, member->id);
    return !is_silent(core, node) && node->condemned_because == NULL && !node->ping.is_draining &&
           !node->ping.is_leaving;
}

static void promote_one(struct core *core, const struct pmap *map)
{
    uint32_t voters = voter_count(core);
    uint32_t fit_count = 0;
    uint32_t fit_voters = 0;
    uint32_t best = PMAP_NOBODY;
    bool best_is_new_zone = false;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (!is_fit(core, map, i)) { continue; }
        fit_count++;
        uint64_t replica = replica_of(core, map, i);
        fit_voters += replica != 0 && role_of(core, replica) == ROLE_VOTER;
        if (replica == 0 || role_of(core, replica) != ROLE_STANDBY) { continue; }
        bool is_new_zone = !has_voter_in(core, map, map->node[i].zone);
        if (best == PMAP_NOBODY || (is_new_zone && !best_is_new_zone)) {
            best = i;
            best_is_new_zone = is_new_zone;
        }
    }
    uint32_t wanted = fit_count < CORE_VOTERS_MAX ? fit_count : CORE_VOTERS_MAX;
    wanted -= wanted > 0 && wanted % 2 == 0;
    bool is_wanted =
        voters < wanted || fit_voters == 0; /* the only voter drains: somebody must follow */
    if (is_wanted && best != PMAP_NOBODY) {
        (void)change(core, ENGINE_PROMOTE, replica_of(core, map, best), map->node[best].name);
    }
}

/* As many voters as the members, whether they are up or not, ask for: a node that restarts keeps its vote. */
static uint32_t voters_wanted(const struct pmap *map)
{
    uint32_t members = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        members += map->node[i].id != 0;
    }
    uint32_t wanted = members < CORE_VOTERS_MAX ? members : CORE_VOTERS_MAX;
    return wanted - (wanted > 0 && wanted % 2 == 0);
}

/* Will the voters that stay be no majority when those that drain are gone, all at once, but one if these lose their votes? */
static bool too_many_leave(struct core *core, const struct pmap *map)
{
    const struct engine_status *status = &core->status;
    uint32_t fit = 0;
    uint32_t leaving = 0;
    for (size_t i = 0; i < status->server_count; i++) {
        uint32_t index = pmap_find_name(map, slice_of_str(status->servers[i].node_name));
        if (status->servers[i].role != ROLE_VOTER || index == PMAP_NOBODY) { continue; }
        fit += is_fit(core, map, index);
        leaving += map->node[index].is_up && map->node[index].is_draining;
    }
    uint32_t voters = voter_count(core);
    return leaving > 0 && fit * 2 <= voters && fit * 2 > voters - leaving &&
           keep_knows_who_leaves(core, map);
}

/* Take a vote away: one that is too many since a member was forgotten, or that of a node which drains and whose
 * stop would leave the others without a majority. It is told to begin a new replica, which does not vote. */
static bool shed_one(struct core *core, const struct pmap *map)
{
    const struct engine_status *status = &core->status;
    /* A leader that drains itself is the one too many: whom it made a voter, to follow it, sheds it then. */
    uint32_t self = core_self_up(core, map);
    bool drains_itself = self != PMAP_NOBODY && map->node[self].is_draining;
    bool has_surplus = !drains_itself && voter_count(core) > voters_wanted(map);
    bool many_leave = too_many_leave(core, map);
    size_t victim = SIZE_MAX;
    for (size_t i = 0; i < status->server_count; i++) {
        const char *name = status->servers[i].node_name;
        uint32_t index = pmap_find_name(map, slice_of_str(name));
        if (status->servers[i].role != ROLE_VOTER || status->servers[i].id == status->self ||
            index == PMAP_NOBODY) {
            continue;
        }
        uint32_t up;
        uint32_t others;
        bool may_go = voters_can_lose(core, map, name, &up, &others);
        bool drains = map->node[index].is_draining;
        bool is_in_the_way = drains && (many_leave || up * 2 <= others + 1);
        if (may_go && (has_surplus || is_in_the_way) && (victim == SIZE_MAX || drains)) {
            victim = i;
        }
    }
    return victim != SIZE_MAX && change(core, ENGINE_REMOVE, status->servers[victim].id,
                                        status->servers[victim].node_name);
}

/* The map shows who votes. */
static void mirror(struct core *core, const struct pmap *map)
{
    const struct engine_status *status = &core->status;
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        struct node *node = member->id != 0 ? core_node_of(core, member->id, member->name) : NULL;
        bool is_voter = false;
        for (size_t k = 0; node != NULL && k < status->server_count; k++) {
            is_voter = is_voter || (status->servers[k].role == ROLE_VOTER &&
                                    strcmp(status->servers[k].node_name, member->name) == 0);
        }
        if (node == NULL || node->is_proposing || is_voter == member->is_voter) { continue; }
        struct control_command command = {
            .op = CONTROL_SET_VOTER, .node_id = member->id, .is_voter = is_voter};
        core_propose(core, &command, NULL, NULL);
    }
}

void voters_reconcile(struct core *core)
{
    const struct pmap *map = core_control_map(core);
    if (core->status.is_changing) { return; }
    mirror(core, map);
    if (remove_stale(core, map) || shed_one(core, map) || add_missing(core, map)) { return; }
    promote_one(core, map);
}

bool voters_hand_over(struct core *core)
{
    const struct pmap *map = core_control_map(core);
    if (core->status.is_changing) { return false; }
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->node[i].id == core->opts.node_id || !is_fit(core, map, i)) { continue; }
        uint64_t replica = replica_of(core, map, i);
        if (replica == 0 || role_of(core, replica) != ROLE_VOTER) { continue; }
        if (engine_transfer(core->engine, CONTROL_GROUP, replica) == ERR_OK) {
            LOG_INFO("hands the control group over", LOG_STR("to", map->node[i].name),
                     LOG_UINT("term", core->status.term));
            return true;
        }
    }
    return false;
}
