/* membership_join: at every start, and after having been declared down, a node asks the leader to
 * make it a member (again); and how the leader answers.
 * Owns: core.incarnation and what leads to it. Thread: the raft thread.
 * Always: a node that is up is made a member anew only if it has answered a challenge of the very
 * leader that does it: an old or repeated word must not take from a living process what it owns. A
 * name that a member that is up has is given to nobody else. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "consensus/membership/membership_int.h"

enum {
    JOIN_MS = 200,
    LOOK_MS = 30000,  /* between looks for nodes of another cluster */
    HINT_MS = 1000,   /* so long nobody knows better than the leader itself who leads */
    JOINING_MAX = 16, /* JOIN commands under way */
};

static bool is_clusterless(const struct core *core)
{
    return core->file.state == CLUSTER_NONE || core->file.state == CLUSTER_PROMISED;
}

/* ---- the joiner ---- */

static struct note make_join(const struct core *core)
{
    struct note note = core_note_new(core, NOTE_JOIN);
    note.raft = core->opts.raft;
    note.join.boot = core->boot;
    note.join.challenge = core->challenge;
    note.join.client = core->opts.client;
    note.join.peer = core->opts.peer;
    note.join.level = users_level(core);
    snprintf(note.join.zone, sizeof note.join.zone, "%s", core->opts.zone);
    return note;
}

static struct control_command join_command(const struct note *note)
{
    struct control_command command = {.op = CONTROL_JOIN, .node_id = note->node_id};
    snprintf(command.node.name, sizeof command.node.name, "%s", note->name);
    memcpy(command.node.zone, note->join.zone, sizeof command.node.zone);
    command.node.client = note->join.client;
    command.node.peer = note->join.peer;
    command.node.raft = note->raft;
    return command;
}

static void become_member(struct core *core, uint64_t incarnation, uint64_t version)
{
    core->incarnation = incarnation;
    core->join_version = version;
    core->challenge = 0;
    core->echo_lease_ms = 0;
    core->lease_ms = 0;
    core->echoed_ms = core->now_ms;
    LOG_INFO("this node is a member", LOG_STR("node", core->opts.name),
             LOG_UINT("incarnation", incarnation));
    core_publish(core);
    lease_ping(core);
    found_discover_all(core); /* we may have another address than before */
}

static void on_self_joined(struct core *core, struct op *op, enum err err)
{
    (void)op;
    core->is_proposing_self = false;
    const struct pmap *map = core_control_map(core);
    uint32_t index = map != NULL ? pmap_find_id(map, core->opts.node_id) : PMAP_NOBODY;
    if (err != ERR_OK || index == PMAP_NOBODY) { return; }
    core->now_ms = core->world.now_ms(core->world.arg);
    become_member(core, map->node[index].incarnation, map->version);
}

/* This node leads: nobody else needs to be asked. */
static void join_self(struct core *core)
{
    if (core->is_proposing_self || core_control_map(core) == NULL) { return; }
    struct note note = make_join(core);
    struct control_command command = join_command(&note);
    core->is_proposing_self = true;
    core_propose(core, &command, NULL, on_self_joined);
}

static void send_join(struct core *core)
{
    core->join_next_ms = core->now_ms + JOIN_MS;
    struct pmap_address leader = core_leader_address(core);
    /* What it says of itself is newer than what our replica knows. */
    if (leader.port == 0 || core->now_ms < core->hint_ms + HINT_MS) { leader = core->leader_hint; }
    if (leader.port != 0) {
        struct note note = make_join(core);
        core_send_to(core, &leader, &note);
    }
    if (!is_clusterless(core)) { found_discover_all(core); } /* else it discovers anyway */
}

void join_tick(struct core *core)
{
    if (core->is_forgotten || core->is_leaving || core->now_ms < core->join_next_ms ||
        core->obstacle != NULL) {
        return;
    }
    if (core->incarnation == 0) {
        if (core_leads(core)) {
            join_self(core);
        } else if (core->file.state >= CLUSTER_FOUNDING || core->join_cluster != 0) {
            send_join(core);
        }
        return;
    }
    uint64_t silence_ms = core->status.is_leader ? 0 : core->now_ms - core->echoed_ms;
    if (silence_ms > 2 * (uint64_t)core->opts.node_timeout_ms) {
        send_join(core); /* we may be down and not learn it from the log, or in it no more */
    } else if (silence_ms > core->opts.node_timeout_ms) {
        core->join_next_ms = core->now_ms + JOIN_MS;
        found_discover_all(core); /* the leader may have moved, or we */
    } else if (core->now_ms >= core->look_next_ms) {
        core->look_next_ms = core->now_ms + LOOK_MS;
        found_discover_all(core); /* does somebody there belong to another cluster? */
    }
}

void join_on_discovery(struct core *core, struct node *from, const struct note *note)
{
    if (is_clusterless(core)) {
        if (core->join_cluster == 0) {
            LOG_INFO("found a cluster", LOG_STR("by", from->name));
            core->join_next_ms = 0;
        }
        bool is_promised =
            core->file.state == CLUSTER_PROMISED && core->file.cluster_id == note->cluster_id;
        if (core->join_cluster == 0 || is_promised) { core->join_cluster = note->cluster_id; }
    }
    uint64_t ours = is_clusterless(core) ? core->join_cluster : core->file.cluster_id;
    if (note->cluster_id != ours) {
        if (core_may_tell(core, &core->foreign_told_ms)) {
            LOG_ERROR("a node of another cluster answers: is the join list right?",
                      LOG_STR("node", note->name), LOG_STR("host", note->raft.host));
        }
        return;
    }
    const struct pmap_address *leader = &note->discovery.leader;
    bool is_leader = leader->port == note->raft.port && strcmp(leader->host, note->raft.host) == 0;
    if (is_leader) {
        core->leader_hint = *leader;
        core->hint_ms = core->now_ms;
        snprintf(core->leader_name, sizeof core->leader_name, "%s", note->name);
    } else if (leader->port != 0 && core->now_ms >= core->hint_ms + HINT_MS) {
        core->leader_hint = *leader;
    } else if (core->leader_hint.port == 0) {
        core->leader_hint = note->raft;
    }
}

/* The first word of a leader that has made us a member: from now on we belong to its cluster. */
static bool enter_cluster(struct core *core, const struct note *note)
{
    struct cluster_file next = {.state = CLUSTER_JOINING,
                                .cluster_id = note->cluster_id,
                                .peer_count = 1,
                                .peer = {core->leader_hint}};
    if (note->cluster_id == 0 || note->cluster_id != core->join_cluster ||
        keep_obstacle(core) != NULL) {
        return false;
    }
    if (!core_save(core, &next)) { return false; }
    core->world.set_cluster(core->world.arg, next.cluster_id);
    CHECK(core_create_group(core, false) == ERR_OK);
    return true;
}

void join_on_reply(struct core *core, const struct note *note)
{
    const struct note_join_reply *reply = &note->join_reply;
    /* Who is a member asks only after its lease has ended for want of echoes. */
    bool is_lost = core->incarnation == 0 ||
                   core->now_ms > core->echoed_ms + 2 * (uint64_t)core->opts.node_timeout_ms;
    if (reply->boot != core->boot || !is_lost || core->is_forgotten || core->is_leaving) { return; }
    if (reply->leader.port != 0 && core->now_ms >= core->hint_ms + HINT_MS) {
        core->leader_hint = reply->leader;
    }
    if (reply->refusal[0] != '\0' && core_may_tell(core, &core->refused_told_ms)) {
        LOG_WARN("the leader does not let this node join", LOG_STR("leader", note->name),
                 LOG_STR("reason", reply->refusal));
    }
    if (reply->challenge != 0) {
        core->incarnation = 0; /* who answers a challenge begins a new life */
        lease_drop(core);
        if (core->challenge != reply->challenge) { core->join_next_ms = 0; } /* answer it soon */
        core->challenge = reply->challenge;
        core->world.soon(core->world.arg);
    }
    if (!reply->is_member) { return; }
    if (is_clusterless(core) ? !enter_cluster(core, note)
                             : note->cluster_id != core->file.cluster_id) {
        return;
    }
    snprintf(core->leader_name, sizeof core->leader_name, "%s", note->name);
    if (reply->incarnation != core->incarnation) {
        become_member(core, reply->incarnation, reply->version);
    }
}

/* A new map is there: does it still count us in? */
void join_on_map(struct core *core, const struct pmap *map)
{
    if (core->incarnation == 0 || map->version < core->join_version) { return; }
    if (core_self_up(core, map) != PMAP_NOBODY) { return; }
    uint32_t index = pmap_find_id(map, core->opts.node_id);
    core->is_forgotten = index == PMAP_NOBODY;
    if (core->is_forgotten) {
        LOG_ERROR("this node was forgotten: it is no member any more; started again it joins as a "
                  "new one",
                  LOG_STR("node", core->opts.name));
    } else {
        LOG_WARN("this node was declared down", LOG_STR("node", core->opts.name),
                 LOG_UINT("incarnation", core->incarnation));
    }
    core->incarnation = 0;
    core->join_next_ms = 0;
}

void join_renew(struct core *core, uint64_t replica)
{
    struct cluster_file next = core->file;
    next.state = CLUSTER_JOINING;
    if (replica != core->status.self || core->status.is_leader || !core_save(core, &next)) {
        return;
    }
    LOG_WARN("this node's replica of the control group was removed: it begins a new one",
             LOG_STR("node", core->opts.name));
    engine_group_delete(core->engine, CONTROL_GROUP);
    CHECK(core_create_group(core, false) == ERR_OK);
}

/* ---- the leader ---- */

static void reply_to(struct core *core, const struct asker *asker,
                     const struct note_join_reply *reply)
{
    struct note note = core_note_new(core, NOTE_JOIN_REPLY);
    note.join_reply = *reply;
    note.join_reply.boot = asker->number;
    core_send_to(core, &asker->raft, &note);
}

static void refuse(struct core *core, const struct asker *asker, const char *why)
{
    struct note_join_reply reply = {.is_member = false};
    snprintf(reply.refusal, sizeof reply.refusal, "%s", why);
    reply_to(core, asker, &reply);
}

static void welcome(struct core *core, const struct asker *asker, const struct pmap *map,
                    uint32_t index)
{
    struct note_join_reply reply = {
        .is_member = true, .incarnation = map->node[index].incarnation, .version = map->version};
    reply_to(core, asker, &reply);
}

static void on_joined(struct core *core, struct op *op, enum err err)
{
    const struct pmap *map = core_control_map(core);
    if (err != ERR_OK || map == NULL) { return; } /* it asks again */
    uint32_t index = pmap_find_id(map, op->asker.node_id);
    if (index == PMAP_NOBODY || !map->node[index].is_up ||
        strcmp(map->node[index].name, op->asker.name) != 0) {
        refuse(core, &op->asker, "another member has this name, or there is no room");
        return;
    }
    struct node *node = core_node_of(core, op->asker.node_id, op->asker.name);
    node->joined_boot = op->asker.number;
    node->challenge = 0;
    node->condemned_because = NULL;
    node->joined_ms = core->world.now_ms(core->world.arg);
    welcome(core, &op->asker, map, index);
}

/* Why the node may not join now; NULL: it may. */
static const char *obstacle(struct core *core, const struct node *from, const struct note *note)
{
    const struct pmap *map = core_control_map(core);
    uint32_t by_name = pmap_find_name(map, slice_of_str(note->name));
    uint32_t by_id = pmap_find_id(map, note->node_id);
    if (!keep_may_join(core, map, note->join.level)) {
        return "its version is too old for this cluster";
    }
    if (core->now_ms < from->barred_until_ms) { return "others could not reach it just now"; }
    if (by_name != PMAP_NOBODY && by_name != by_id && map->node[by_name].is_up) {
        return "a member with this name is up";
    }
    if (by_name != PMAP_NOBODY && by_id != PMAP_NOBODY && by_name != by_id) {
        return "another member has this name";
    }
    return NULL;
}

/* Is this process a member already, as the map and its own pings say? */
static bool is_same_life(const struct node *from, const struct pmap_node *member, uint64_t boot)
{
    bool is_pinging = from->ping_ms != 0 && from->ping.boot == boot &&
                      from->ping.incarnation == member->incarnation;
    return from->joined_boot == boot || is_pinging;
}

void join_on_join(struct core *core, struct node *from, const struct note *note)
{
    struct asker asker = {.node_id = note->node_id, .raft = note->raft, .number = note->join.boot};
    snprintf(asker.name, sizeof asker.name, "%s", note->name);
    const struct pmap *map = core_control_map(core);
    if (!core_leads(core) || map == NULL) {
        struct note_join_reply reply = {.leader = core_leader_address(core)};
        bool is_us = core->status.is_leader || core->file.state < CLUSTER_FOUNDING;
        if (!is_us && reply.leader.port != 0) { reply_to(core, &asker, &reply); }
        return;
    }
    if (note->cluster_id != 0 && note->cluster_id != core->file.cluster_id) { return; }
    if (from->is_proposing || core->joining_count == JOINING_MAX) { return; }
    uint32_t index = pmap_find_id(map, note->node_id);
    bool is_up = index != PMAP_NOBODY && map->node[index].is_up;
    if (is_up && is_same_life(from, &map->node[index], note->join.boot)) {
        welcome(core, &asker, map, index);
        return;
    }
    const char *why = obstacle(core, from, note);
    if (why != NULL) {
        refuse(core, &asker, why);
        return;
    }
    if (is_up && (from->challenge == 0 || note->join.challenge != from->challenge)) {
        if (from->challenge == 0) { from->challenge = core->world.random(core->world.arg) | 1; }
        struct note_join_reply reply = {.challenge = from->challenge};
        reply_to(core, &asker, &reply);
        return;
    }
    struct control_command command = join_command(note);
    core_propose(core, &command, &asker, on_joined);
}
