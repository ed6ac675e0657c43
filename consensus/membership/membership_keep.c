/* membership_keep: the level of commands that all members understand; partitions' data: what the leader has to say about their replicas, and what data of its own mean for a
 * node without a cluster.
 * Owns: what of core.lead is about it. Thread: the raft thread.
 * Always: nothing about replicas is proposed before all members, those that are down as well, have shown that they understand
 * it; from then on nobody joins who does not. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "consensus/map/placement_replicas.h"
#include "consensus/membership/membership_int.h"

enum {
    CHANGES_MAX = 128, /* commands that are proposed in one tick */
    LEAVING_MS =
        300, /* that are waited for others that drain, too: a cluster that is stopped as a whole moves nothing */
};

/* ---- the level ---- */

static void on_raised(struct core *core, struct op *op, enum err err)
{
    (void)err;
    if (op->term == core->lead.term) { core->lead.raising = 0; }
}

/* The level that all members understand. */
static uint32_t understood(struct core *core, const struct pmap *map)
{
    uint32_t level = users_level(core);
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        if (member->id == 0 || member->id == core->opts.node_id) { continue; }
        const struct node *node = core_node_find(core, member->id);
        bool is_heard = node != NULL && node->ping_ms != 0 &&
                        (!member->is_up || node->ping.incarnation == member->incarnation);
        uint32_t its = is_heard ? node->ping.level : PMAP_LEVEL_OWNERS;
        level = its < level ? its : level;
    }
    return level;
}

static void raise_level(struct core *core, const struct pmap *map)
{
    if (core->lead.raising != 0 || core->joining_count > 0) { return; }
    if (core_self_up(core, map) == PMAP_NOBODY) { return; }
    uint32_t level = understood(core, map);
    if (level <= map->level) { return; }
    struct control_command command = {
        .op = CONTROL_LEVEL, .level = level, .key_layout = core->opts.key_layout};
    core->lead.raising = level;
    core_propose(core, &command, NULL, on_raised);
}

bool keep_may_join(const struct core *core, const struct pmap *map, uint32_t level)
{
    return level >= (core->lead.raising > map->level ? core->lead.raising : map->level);
}

/* ---- where replicas are ---- */

static void on_changed(struct core *core, struct op *op, enum err err)
{
    (void)err;
    if (op->term == core->lead.term) { core->lead.changing_count--; }
}

static void propose(struct core *core, const struct pmap *map,
                    const struct placement_change *change)
{
    const struct pmap_node *node = &map->node[change->node];
    const struct pmap_partition *partition = &map->partition[change->partition];
    struct control_command command = {
        .op = change->is_removal ? CONTROL_REMOVE_REPLICA : CONTROL_ADD_REPLICA,
        .partition = change->partition,
        .change = partition->change,
        .node_id = change->is_removal ? 0 : node->id,
        .replica = change->replica,
    };
    core->lead.changing_count++;
    if (partition->is_founded) {
        LOG_INFO(
            "changes who has a partition's data", LOG_UINT("partition", change->partition),
            LOG_STR(change->is_removal ? "remove" : "add", node->name),
            LOG_UINT("replica", change->is_removal ? change->replica : partition->replica_last + 1),
            LOG_STR("reason", change->reason));
    }
    core_propose(core, &command, NULL, on_changed);
}

static void place(struct core *core, const struct pmap *map)
{
    struct placement_change change;
    uint32_t founded = 0;
    if (!placement_replicas_next(map, core->opts.replicas, &change)) { return; }
    struct pmap *next = pmap_copy(map, map->node_count);
    for (uint32_t i = 0; i < CHANGES_MAX; i++) {
        if (!placement_replicas_next(next, core->opts.replicas, &change)) { break; }
        struct pmap_partition *partition = &next->partition[change.partition];
        propose(core, next, &change);
        founded += !partition->is_founded;
        if (change.is_removal) {
            pmap_drop_replica(partition, change.replica);
        } else {
            pmap_put_replica(partition, change.node);
        }
    }
    pmap_unref(next);
    if (founded > 0) { LOG_INFO("founds groups of partitions", LOG_UINT("partitions", founded)); }
}

static void on_settle_done(struct core *core, struct op *op, enum err err)
{
    (void)err;
    if (op->term != core->lead.term) { return; }
    core->lead.settling[op->command.partition / 64] &= ~(1ULL << op->command.partition % 64);
}

static void settle(struct core *core, const struct pmap *map, const struct pmap_settled *at)
{
    if (at->partition >= map->partition_count) { return; }
    const struct pmap_partition *partition = &map->partition[at->partition];
    uint64_t *word = &core->lead.settling[at->partition / 64];
    uint64_t bit = 1ULL << at->partition % 64;
    bool is_news = !partition->is_settled && partition->change == at->change;
    if (!is_news || (*word & bit) != 0) { return; }
    struct control_command command = {
        .op = CONTROL_SETTLE, .partition = at->partition, .change = at->change};
    *word |= bit;
    core_propose(core, &command, NULL, on_settle_done);
}

void keep_on_settled(struct core *core, const struct note_settled *settled)
{
    for (uint32_t i = 0; i < settled->count; i++) {
        const struct pmap *map = core_control_map(core);
        if (!core_leads(core) || map == NULL || map->level < PMAP_LEVEL_REPLICAS) { return; }
        settle(core, map, &settled->at[i]);
    }
}

bool keep_knows_who_leaves(struct core *core, const struct pmap *map)
{
    uint64_t leaving = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        if (node->id != 0 && node->is_up && node->is_draining) { leaving |= UINT64_C(1) << i; }
    }
    bool is_more = (leaving & ~core->lead.leaving) != 0;
    core->lead.leaving = leaving;
    if (is_more) { core->lead.leaving_ms = core->now_ms; }
    return leaving == 0 || core->now_ms >= core->lead.leaving_ms + LEAVING_MS;
}

void keep_tick(struct core *core, const struct pmap *map)
{
    bool may_place = keep_knows_who_leaves(core, map);
    if (map->level < users_level(core)) { raise_level(core, map); }
    if (map->level < PMAP_LEVEL_REPLICAS) { return; }
    if (may_place && core->lead.changing_count == 0 && core_self_up(core, map) != PMAP_NOBODY) {
        place(core, map);
    }
}

/* ---- the others: what their groups have done ---- */

void core_settled(struct core *core, const struct pmap_settled *settled, uint32_t count)
{
    core_refresh(core);
    const char *leader = core_leader_name(core);
    while (count > 0 && core->incarnation != 0) {
        struct note note = core_note_new(core, NOTE_SETTLED);
        note.settled.count = count < NOTE_SETTLED_MAX ? count : NOTE_SETTLED_MAX;
        memcpy(note.settled.at, settled, note.settled.count * sizeof *settled);
        settled += note.settled.count;
        count -= note.settled.count;
        if (core->status.is_leader) {
            keep_on_settled(core, &note.settled);
        } else if (leader != NULL) {
            core_send(core, leader, &note);
        }
    }
}

/* ---- data of its own ---- */

uint32_t keep_groups(const struct core *core)
{
    uint32_t count = 0;
    for (uint64_t group = 0; (group = engine_group_next(core->engine, group)) != 0;) {
        count += group != CONTROL_GROUP;
    }
    return count;
}

const char *keep_obstacle(struct core *core)
{
    const char *why = NULL;
    if (core->own_groups == 0) { return NULL; }
    if (core->opts.expect != 1) {
        why = "this node has data of its own: only expect 1 makes a cluster of it";
    } else if (core->join_cluster != 0) {
        why = "this node has data of its own: it does not join a cluster that exists";
    } else if (core->own_groups != core->opts.partition_count) {
        why = "this node has data of another number of partitions";
    }
    if (why != NULL && core_may_tell(core, &core->own_told_ms)) {
        LOG_ERROR("this node gets no cluster, so that nothing is lost", LOG_STR("reason", why),
                  LOG_UINT("partitions_with_data", core->own_groups),
                  LOG_UINT("partitions", core->opts.partition_count),
                  LOG_UINT("expect", core->opts.expect),
                  LOG_STR("way_out", "start it with expect 1 and let the others join it, or with "
                                     "an empty data directory to give its data up"));
    }
    return why;
}

/* ---- who is needed ---- */

/* Why the partition needs the voter on the member at `index`, or NULL. */
static const char *need(const struct pmap *map, const struct pmap_partition *partition,
                        uint32_t index)
{
    const struct pmap_replica *own = pmap_replica_on(partition, index);
    uint32_t voters = 0;
    uint32_t up = 0;
    if (own == NULL || !own->is_voter) { return NULL; }
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct pmap_replica *other = &partition->replica[i];
        if (other == own || !other->is_voter) { continue; }
        voters++;
        up += map->node[other->node].is_up;
    }
    if (voters == 0) { return "nobody else has its data"; }
    /* The group must be able to agree to the removal, and to go on after it. */
    bool can_agree = (up + map->node[index].is_up) * 2 > voters + 1;
    if (!can_agree || up * 2 <= voters) {
        return "too few of its replicas would be up: no quorum; start it, or another that left, "
               "until "
               "its data are elsewhere";
    }
    bool is_busy = !partition->is_settled && map->node[index].is_up;
    return is_busy ? "its replicas are being changed: try again" : NULL;
}

bool keep_is_needed(const struct pmap *map, uint32_t index, char *text)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const char *why = need(map, &map->partition[p], index);
        if (why == NULL) { continue; }
        snprintf(text, NOTE_TEXT_BYTES, "ERR Partition %u needs %s: %s", (unsigned)p,
                 map->node[index].name, why);
        return true;
    }
    return false;
}
