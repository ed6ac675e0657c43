/* membership_lead: what the leader of the control group decides: who is up, who owns what.
 * Owns: core.lead. Thread: the raft thread.
 * Always: a member is declared down only when its lease has ended for certain: it said that it
 * leaves and orders no more; or 1.3 node_timeout, which covers clocks that run apart, have passed
 * since the last echo to it and since this node began to lead. The exception: the node that led
 * before, if no leader was between, ordered under its Raft lease, which ended before our election.
 * Whom we are about to declare down, or to make a member anew, gets no echo. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/membership/membership_int.h"
#include "consensus/map/placement.h"

enum {
    FIRST_OWNERS_MS = 3000, /* a new cluster waits so long for the other founders */
    BARRED_MS = 10000,      /* whom others could not reach stays down so long */
};

static uint64_t down_after_ms(const struct core *core)
{
    return (uint64_t)core->opts.node_timeout_ms * 13 / 10;
}

/* ---- the term ---- */

void lead_on_leader(struct core *core, bool is_leader, uint64_t term)
{
    bool was_reading = core->lead.is_reading; /* its answer is still to come */
    memset(&core->lead, 0, sizeof core->lead);
    core->lead.is_reading = was_reading;
    if (!is_leader) { return; }
    core->lead.term = term;
    core->lead.since_ms = core->world.now_ms(core->world.arg);
    core->lead.counting_ms = core->lead.since_ms;
    core->lead.tick_ms = core->lead.since_ms;
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        struct node *node = &core->nodes[i];
        node->asked_stamp_ms = 0;
        node->covered_stamp_ms = 0;
        node->echo_ms = 0;
        node->joined_boot = 0;
        node->joined_ms = 0;
        node->assigned_version = 0;
        node->challenge = 0;
        node->condemned_because = NULL;
        node->barred_until_ms = 0;
        node->down_told_ms = 0;
    }
}

/* Did that node, which we followed last, lead until our election, for so long that an echo of a
 * leader before it is void? */
static void find_exempt(struct core *core, const struct pmap *map)
{
    struct lead *lead = &core->lead;
    bool is_next = core->followed_term != 0 && core->followed_term + 1 == lead->term;
    uint32_t index = pmap_find_name(map, slice_of_str(core->followed_name));
    if (!is_next || index == PMAP_NOBODY) { return; }
    if (lead->since_ms < core->followed_since_ms + down_after_ms(core)) { return; }
    const struct node *node = core_node_find(core, map->node[index].id);
    bool is_same =
        node != NULL && node->ping_ms != 0 && node->ping.replica == core->followed_replica;
    if (is_same) { lead->exempt_id = map->node[index].id; }
}

/* ---- who is up ---- */

static void propose_about(struct core *core, enum control_op op, const struct pmap_node *member)
{
    struct control_command command = {
        .op = op, .node_id = member->id, .incarnation = member->incarnation};
    core_propose(core, &command, NULL, NULL);
}

static void condemn(struct node *node, const struct pmap_node *member, const char *because)
{
    if (node->condemned_because != NULL && node->condemned_incarnation == member->incarnation) {
        return;
    }
    node->condemned_because = because;
    node->condemned_incarnation = member->incarnation;
    node->down_told_ms = 0;
}

/* Proposed again at each tick while proposals are refused, and told now and then. */
static void declare_down(struct core *core, struct node *node, const struct pmap_node *member)
{
    propose_about(core, CONTROL_DOWN, member);
    if (!core_may_tell(core, &node->down_told_ms)) { return; }
    LOG_WARN("declares a member down", LOG_STR("node", member->name),
             LOG_STR("reason", node->condemned_because),
             LOG_UINT("silent_ms", node->ping_ms != 0 ? core->now_ms - node->ping_ms : 0),
             LOG_UINT("incarnation", member->incarnation), LOG_UINT("term", core->lead.term));
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void judge(struct core *core, const struct pmap_node *member)
{
    const struct lead *lead = &core->lead;
    struct node *node = core_node_of(core, member->id, member->name);
    if (node->is_proposing) { return; }
    if (node->condemned_because != NULL && node->condemned_incarnation != member->incarnation) {
        node->condemned_because = NULL;
    }
    bool is_heard = node->ping_ms != 0 && node->ping.incarnation == member->incarnation;
    if (is_heard && node->ping.is_leaving) {
        condemn(node, member, "it left");
        declare_down(core, node, member);
        return;
    }
    if (is_heard && node->ping.is_draining && !member->is_draining) {
        propose_about(core, CONTROL_DRAIN, member);
        return;
    }
    bool is_exempt = lead->exempt_id == member->id && node->echo_ms == 0 && is_heard;
    uint64_t heard_ms = later(is_heard ? node->ping_ms : 0, node->joined_ms);
    if (!is_exempt) { heard_ms = later(heard_ms, lead->counting_ms); }
    uint64_t echo_ms = later(node->echo_ms, is_exempt ? 0 : lead->since_ms);
    bool is_silent = core->now_ms >= heard_ms + core->opts.node_timeout_ms;
    bool may_declare = core->now_ms >= echo_ms + down_after_ms(core);
    if (!may_declare || (!is_silent && node->condemned_because == NULL)) { return; }
    condemn(node, member, "it is silent");
    declare_down(core, node, member);
}

/* ---- who cannot reach whom ---- */

void lead_on_suspect(struct core *core, uint64_t by, uint64_t of, uint64_t incarnation)
{
    struct lead *lead = &core->lead;
    if (!core_leads(core) || by == of) { return; }
    struct suspicion *free = NULL;
    for (uint32_t i = 0; i < lead->suspicion_count; i++) {
        struct suspicion *s = &lead->suspicion[i];
        if (s->by == by && s->of == of && s->of_incarnation == incarnation) {
            s->last_ms = core->now_ms;
            return;
        }
        if (core->now_ms > s->last_ms + 2 * (uint64_t)core->opts.node_timeout_ms) { free = s; }
    }
    if (free == NULL && lead->suspicion_count < SUSPICIONS_MAX) {
        free = &lead->suspicion[lead->suspicion_count++];
    }
    if (free != NULL) {
        *free = (struct suspicion){by, of, incarnation, core->now_ms, core->now_ms};
    }
}

static bool is_live(const struct core *core, const struct pmap *map, const struct suspicion *s)
{
    uint32_t by = pmap_find_id(map, s->by);
    uint32_t of = pmap_find_id(map, s->of);
    return core->now_ms <= s->last_ms + 2 * (uint64_t)core->opts.node_timeout_ms &&
           by != PMAP_NOBODY && of != PMAP_NOBODY && map->node[by].is_up && map->node[of].is_up &&
           map->node[of].incarnation == s->of_incarnation;
}

/* How many suspicions are about `id`, or by it. */
static uint32_t count_suspicions(const struct core *core, const struct pmap *map, uint64_t id,
                                 bool is_about)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->lead.suspicion_count; i++) {
        const struct suspicion *s = &core->lead.suspicion[i];
        count += is_live(core, map, s) && (is_about ? s->of : s->by) == id;
    }
    return count;
}

/* Two members cannot reach each other, and all would wait for them: one of them has to go. The one
 * that more cannot reach, or that cannot reach more; never the leader. */
static uint64_t victim_of(const struct core *core, const struct pmap *map,
                          const struct suspicion *s)
{
    uint64_t self = core->opts.node_id;
    if (s->of == self) { return s->by; }
    if (s->by == self) { return s->of; }
    uint64_t of =
        later(count_suspicions(core, map, s->of, true), count_suspicions(core, map, s->of, false));
    uint64_t by =
        later(count_suspicions(core, map, s->by, true), count_suspicions(core, map, s->by, false));
    if (of != by) { return of > by ? s->of : s->by; }
    return pmap_find_id(map, s->of) > pmap_find_id(map, s->by) ? s->of : s->by;
}

static void judge_suspicions(struct core *core, const struct pmap *map)
{
    for (uint32_t i = 0; i < core->lead.suspicion_count; i++) {
        const struct suspicion *s = &core->lead.suspicion[i];
        /* Others may be about to say more; and what was said once may be over. */
        bool is_settled = core->now_ms >= s->since_ms + core->opts.node_timeout_ms / 2 &&
                          s->last_ms >= s->since_ms + core->opts.node_timeout_ms / 4;
        if (!is_settled || !is_live(core, map, s)) { continue; }
        uint32_t index = pmap_find_id(map, victim_of(core, map, s));
        struct node *node = core_node_of(core, map->node[index].id, map->node[index].name);
        if (node->condemned_because == NULL) {
            LOG_WARN("members cannot reach each other", LOG_STR("gives_up", node->name));
            condemn(node, &map->node[index], "others cannot reach it");
            node->barred_until_ms = core->now_ms + BARRED_MS;
        }
        return; /* one at a time: it may explain the rest */
    }
}

/* ---- who owns what ---- */

static void on_assigned(struct core *core, struct op *op, enum err err)
{
    const struct pmap *map = core_control_map(core);
    if (op->term == core->lead.term) { core->lead.assigning_count--; }
    struct node *node = core_node_find(core, op->command.node_id);
    if (err == ERR_OK && map != NULL && node != NULL) { node->assigned_version = map->version; }
}

bool lead_is_unfinished(struct core *core, const struct pmap *map)
{
    if (core->warming > 0) { return true; }
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        if (!member->is_up || member->id == core->opts.node_id) { continue; }
        const struct node *node = core_node_find(core, member->id);
        if (node == NULL || node->ping_ms == 0 || node->ping.warming > 0 ||
            node->ping.incarnation != member->incarnation ||
            node->ping.version < node->assigned_version) {
            return true;
        }
    }
    return false;
}

/* `reason`: for the log, if the partition has an owner. */
static void assign(struct core *core, const struct pmap *map, const struct placement_move *move,
                   const char *reason)
{
    const struct pmap_partition *partition = &map->partition[move->partition];
    const struct pmap_node *to = &map->node[move->to];
    struct control_command command = {
        .op = CONTROL_ASSIGN,
        .node_id = to->id,
        .incarnation = to->incarnation,
        .partition = move->partition,
        .epoch = partition->epoch,
    };
    if (partition->owner != PMAP_NOBODY) {
        const struct pmap_node *from = &map->node[partition->owner];
        LOG_INFO("moves a partition", LOG_UINT("partition", move->partition),
                 LOG_STR("from", from->name), LOG_STR("to", to->name), LOG_STR("reason", reason),
                 LOG_UINT("epoch", partition->epoch + 1));
    }
    core->lead.assigning_count++;
    core_propose(core, &command, NULL, on_assigned);
}

/* All partitions without an owner in one go. */
static uint32_t assign_orphans(struct core *core, const struct pmap *map)
{
    struct pmap *next = pmap_copy(map, map->node_count);
    struct placement_move move;
    uint32_t count = 0;
    while (count < map->partition_count && placement_next(next, true, &move)) {
        CHECK(next->partition[move.partition].owner == PMAP_NOBODY);
        assign(core, next, &move, "it has no owner");
        next->partition[move.partition].owner = move.to;
        next->partition[move.partition].epoch++;
        count++;
    }
    pmap_unref(next);
    return count;
}

/* A cluster that has just been founded gives nothing to the first who came, to take it away again. */
static bool is_too_early(const struct core *core, const struct pmap *map)
{
    uint32_t up_count = 0;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].epoch > 0) { return false; }
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        up_count += map->node[i].is_up;
    }
    return up_count < core->opts.expect && core->now_ms < core->lead.since_ms + FIRST_OWNERS_MS;
}

void lead_place(struct core *core)
{
    const struct pmap *map = core_control_map(core);
    struct placement_move move;
    if (core->lead.assigning_count > 0 || is_too_early(core, map)) { return; }
    uint32_t count = assign_orphans(core, map);
    if (count > 0) {
        LOG_INFO("gives partitions an owner", LOG_UINT("partitions", count),
                 LOG_STR("reason", "they had none"), LOG_UINT("version", map->version));
        return;
    }
    if (!placement_next(map, lead_is_unfinished(core, map), &move)) { return; }
    bool is_draining = map->node[map->partition[move.partition].owner].is_draining;
    assign(core, map, &move, is_draining ? "drain" : "balance");
}

/* The node that owns fewest of those that may own it and do not. */
static uint32_t other_owner(const struct pmap *map, uint32_t partition)
{
    uint32_t owned[PMAP_NODES_MAX] = {0};
    uint32_t best = PMAP_NOBODY;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner != PMAP_NOBODY) { owned[map->partition[p].owner]++; }
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        bool may = node->is_up && !node->is_draining && i != map->partition[partition].owner;
        if (may && (best == PMAP_NOBODY || owned[i] < owned[best])) { best = i; }
    }
    return best;
}

void lead_on_unserved(struct core *core, const char *by, uint32_t partition, uint64_t epoch)
{
    const struct pmap *map = core_control_map(core);
    struct lead *lead = &core->lead;
    if (!core_leads(core) || map == NULL || partition >= map->partition_count) { return; }
    const struct pmap_partition *row = &map->partition[partition];
    uint64_t next_ms = lead->started_over_ms + core->opts.node_timeout_ms;
    bool is_soon = lead->started_over_ms != 0 && core->now_ms < next_ms;
    if (row->epoch != epoch || row->owner == PMAP_NOBODY || lead->assigning_count > 0 || is_soon) {
        return;
    }
    const struct placement_move move = {partition, other_owner(map, partition)};
    if (move.to == PMAP_NOBODY) { return; }
    lead->started_over_ms = core->now_ms;
    LOG_WARN("a node cannot use a partition", LOG_STR("node", by), LOG_UINT("partition", partition),
             LOG_STR("owner", map->node[row->owner].name));
    assign(core, map, &move, "it starts over");
}

/* ---- the tick ---- */

/* Followers learn that an entry is committed with the next one, or by the next heartbeat. An entry
 * that changes nothing, behind one that changed the map, lets them have the map at once. */
static void nudge(struct core *core, const struct pmap *map)
{
    uint32_t self = core_self_up(core, map);
    if (!core->lead.nudge_is_due || !list_is_empty(&core->ops) || self == PMAP_NOBODY) { return; }
    core->lead.nudge_is_due = false;
    struct control_command command = {.op = CONTROL_SET_VOTER,
                                      .node_id = core->opts.node_id,
                                      .is_voter = map->node[self].is_voter};
    core_propose(core, &command, NULL, NULL);
}

static void on_created(struct core *core, struct op *op, enum err err)
{
    (void)op;
    core->lead.is_creating = false;
    if (err == ERR_OK) { core->join_next_ms = 0; }
}

static void create(struct core *core)
{
    if (core->lead.is_creating || core->file.state != CLUSTER_FOUNDING) { return; }
    struct control_command command = {.op = CONTROL_CREATE,
                                      .cluster_id = core->file.cluster_id,
                                      .partition_count = core->opts.partition_count};
    uint32_t own = keep_groups(core);
    if (core->opts.has_data && (own > 0 || core->opts.expect == 1)) {
        /* With who founds alone there is nobody who may not understand it. */
        command.level = users_level(core);
        command.data_of = own > 0 ? core->opts.node_id : 0;
        command.key_layout = core->opts.key_layout;
    }
    core->lead.is_creating = true;
    core_propose(core, &command, NULL, on_created);
}

static void hand_over(struct core *core, const struct pmap *map)
{
    uint32_t self = core_self_up(core, map);
    if (self == PMAP_NOBODY) { return; }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner == self) { return; }
    }
    if (map->node[self].is_draining) { (void)voters_hand_over(core); }
}

/* This node itself wants to drain. */
static void judge_self(struct core *core, const struct pmap *map)
{
    uint32_t self = core_self_up(core, map);
    if (self == PMAP_NOBODY || !core->is_draining || map->node[self].is_draining) { return; }
    struct node *node = core_node_of(core, core->opts.node_id, core->opts.name);
    if (!node->is_proposing) { propose_about(core, CONTROL_DRAIN, &map->node[self]); }
}

void lead_tick(struct core *core)
{
    struct lead *lead = &core->lead;
    if (!core_leads(core)) { return; }
    /* After a pause of our own what others said may still wait to be read. */
    if (core->now_ms > lead->tick_ms + core->opts.node_timeout_ms / 2) {
        lead->counting_ms = core->now_ms;
        lead->exempt_id = 0;
    }
    lead->tick_ms = core->now_ms;
    const struct pmap *map = core_control_map(core);
    if (map == NULL) {
        create(core);
        return;
    }
    if (!lead->is_begun) {
        lead->is_begun = true;
        find_exempt(core, map);
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        bool is_other = map->node[i].id != core->opts.node_id;
        if (map->node[i].id != 0 && map->node[i].is_up && is_other) { judge(core, &map->node[i]); }
    }
    judge_suspicions(core, map);
    judge_self(core, map);
    voters_reconcile(core);
    lead_place(core);
    keep_tick(core, map);
    users_lead_tick(core, map);
    hand_over(core, map);
    nudge(core, map);
}
