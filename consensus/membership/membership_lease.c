/* membership_lease: pings, their echoes, and how long this node may order.
 * Owns: core.lease_ms. Thread: the raft thread.
 *
 * A node pings the leader and all voters, who may lead next, with its clock's time. The leader
 * answers after a read point of the control group that was asked for after the ping had come: so no
 * later leader was elected before the stamp was made. The node may order until stamp + node_timeout;
 * nobody declares it down before: not this leader (lead: not until 1.3 node_timeout after its last
 * echo), not a later one (1.3 node_timeout after its election).
 * The leader itself orders under its Raft lease: while that lasts, nobody else is elected.
 * Always: what was told to the world is never taken back, but when the node itself gives up. */
#include <string.h>

#include "consensus/membership/membership_int.h"

static uint64_t ping_every_ms(const struct core *core)
{
    uint64_t tenth = core->opts.node_timeout_ms / 10;
    return tenth < core->opts.heartbeat_ms ? tenth : core->opts.heartbeat_ms;
}

static void tell(struct core *core, uint64_t until_ms)
{
    if (until_ms == core->lease_ms) { return; }
    core->lease_ms = until_ms;
    core->world.set_lease(core->world.arg, until_ms, core->incarnation);
}

void lease_update(struct core *core)
{
    if (core->is_leaving || core_self_up(core, core->map) == PMAP_NOBODY) {
        tell(core, 0);
        return;
    }
    uint64_t until = core->echo_lease_ms;
    bool by_raft = core_leads(core) && !core->lead.is_transferring;
    if (by_raft && core->status.lease_until_ms > core->now_ms) { core->echoed_ms = core->now_ms; }
    if (by_raft && core->status.lease_until_ms > until) { until = core->status.lease_until_ms; }
    if (until > core->lease_ms) { tell(core, until); }
}

void lease_drop(struct core *core)
{
    core->echo_lease_ms = 0;
    tell(core, 0);
}

/* ---- pings ---- */

void lease_ping(struct core *core)
{
    core->ping_next_ms = core->now_ms + ping_every_ms(core);
    if (core->incarnation == 0) { return; }
    const struct engine_status *status = &core->status;
    struct note note = core_note_new(core, NOTE_PING);
    note.ping = (struct note_ping){
        .stamp_ms = core->now_ms,
        .incarnation = core->incarnation,
        .boot = core->boot,
        .replica = status->self,
        .replica_last = status->last,
        .version = core->map != NULL ? core->map->version : 0,
        .warming = core->warming,
        .is_draining = core->is_draining,
        .is_leaving = core->is_leaving,
        .level = users_level(core),
        .users_version = core->users_version,
    };
    const char *leader = status->is_leader ? NULL : core_leader_name(core);
    for (size_t i = 0; i < status->server_count; i++) {
        const char *name = status->servers[i].node_name;
        bool is_self = status->servers[i].id == status->self;
        bool is_leader = leader != NULL && strcmp(leader, name) == 0;
        if (is_self || (status->servers[i].role != 1 && !is_leader)) { continue; }
        core_send(core, name, &note);
        if (is_leader) { leader = NULL; }
    }
    if (leader != NULL && strcmp(leader, core->opts.name) != 0) { core_send(core, leader, &note); }
}

void lease_on_ping(struct core *core, struct node *from, const struct note *note)
{
    const struct note_ping *ping = &note->ping;
    const struct note_ping *old = &from->ping;
    bool is_old = from->ping_ms != 0 && ping->boot == old->boot &&
                  ping->incarnation == old->incarnation && ping->stamp_ms < old->stamp_ms;
    if (is_old) { return; }
    bool is_news = ping->version != old->version || ping->warming != old->warming ||
                   ping->is_draining != old->is_draining || ping->is_leaving != old->is_leaving ||
                   ping->replica != old->replica || ping->users_version != old->users_version;
    from->ping = *ping;
    from->ping_ms = core->now_ms;
    if (!core_leads(core)) { return; }
    from->asked_stamp_ms = ping->stamp_ms;
    lease_read(core);
    if (is_news) { core->world.soon(core->world.arg); }
}

/* ---- echoes ---- */

/* Is that replica of the group's configuration? */
static bool has_replica(const struct core *core, uint64_t replica)
{
    for (size_t i = 0; i < core->status.server_count; i++) {
        if (core->status.servers[i].id == replica) { return true; }
    }
    return false;
}

static void echo(struct core *core, const struct pmap *map, struct node *node)
{
    uint64_t stamp_ms = node->covered_stamp_ms;
    uint32_t index = pmap_find_id(map, node->id);
    node->covered_stamp_ms = 0;
    /* What is proposed about it may end its life: a JOIN, a DOWN. */
    bool is_doomed = node->condemned_because != NULL || node->is_proposing;
    if (index == PMAP_NOBODY || !map->node[index].is_up || is_doomed ||
        map->node[index].incarnation != node->ping.incarnation) {
        return;
    }
    struct note note = core_note_new(core, NOTE_ECHO);
    note.echo.stamp_ms = stamp_ms;
    note.echo.incarnation = node->ping.incarnation;
    bool is_stale = node->ping.replica_last > 0 && !core->status.is_changing &&
                    !has_replica(core, node->ping.replica);
    if (is_stale) { note.echo.renew = node->ping.replica; }
    node->echo_ms = core->now_ms;
    core_send(core, map->node[index].name, &note);
}

static void on_read(struct read_request *request, enum err err)
{
    struct core *core = CONTAINER_OF(request, struct core, read);
    core->lead.is_reading = false;
    core_refresh(core);
    const struct pmap *map = core_control_map(core);
    bool is_proven = err == ERR_OK && core_leads(core) && map != NULL;
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        struct node *node = &core->nodes[i];
        if (node->id == 0 || node->covered_stamp_ms == 0) { continue; }
        if (is_proven) { echo(core, map, node); }
        node->covered_stamp_ms = 0;
    }
}

void lease_read(struct core *core)
{
    bool is_asked = false;
    if (core->lead.is_reading || !core_leads(core)) { return; }
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        struct node *node = &core->nodes[i];
        if (node->id == 0 || node->asked_stamp_ms == 0) { continue; }
        node->covered_stamp_ms = node->asked_stamp_ms;
        node->asked_stamp_ms = 0;
        is_asked = true;
    }
    if (!is_asked) { return; }
    core->lead.is_reading = true;
    core->read = (struct read_request){.group = CONTROL_GROUP, .on_done = on_read};
    engine_read(core->engine, &core->read);
}

void lease_on_echo(struct core *core, const struct note *note)
{
    const struct note_echo *e = &note->echo;
    if (e->incarnation != core->incarnation || core->is_leaving || e->stamp_ms > core->now_ms) {
        return;
    }
    uint64_t until = e->stamp_ms + core->opts.node_timeout_ms;
    if (until > core->echo_lease_ms) { core->echo_lease_ms = until; }
    core->echoed_ms = core->now_ms;
    lease_update(core);
    if (e->renew != 0) { join_renew(core, e->renew); }
}

void lease_tick(struct core *core)
{
    if (core->now_ms >= core->ping_next_ms) { lease_ping(core); }
    lease_read(core);
    lease_update(core);
}
