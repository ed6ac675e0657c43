/* membership_users: the cluster's users: a change on its way from the node that was asked to the leader, into the log, and
 * into force on every node that is up; the first ones, which the leader brings; what this node has in force.
 * Owns: core.changings, core.users_version, of core.lead what is about users. Thread: the raft thread.
 * Always: each change is answered once; it is made once, however often the leader hears of it; it is told to be in force when
 * all members that are up have said so, and in that life. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/unconst.h"
#include "consensus/membership/membership_int.h"

/* It is asked again after so long, and the longer the more there is to be sent. */
enum { RETRY_MS = 300, RETRY_BYTES_A_MS = 4096 };

/* A change that was asked for on this node. */
struct changing {
    struct list link;
    uint64_t id;
    struct buf command;
    uint64_t until_ms;
    uint64_t next_ms;
    bool is_stale;          /* it was not made, and can be asked anew */
    uint64_t stale_version; /* once these users, or later ones, are in force here */
    bool is_sent;
    bool is_made;
    char missing[PMAP_NAME_BYTES]; /* where it is not in force yet; "": not known */
    users_on_done *on_done;
    void *arg;
};

/* ---- what is in force here ---- */

void core_users_in_force(struct core *core, uint64_t version)
{
    if (version <= core->users_version) { return; }
    core->users_version = version;
    core_refresh(core);
    lease_ping(core);
    core->world.soon(core->world.arg);
}

void users_on_map(struct core *core, const struct pmap *map)
{
    const struct roster *roster = map->roster;
    bool is_news = roster != NULL && roster->version != core->users_told;
    if (!is_news || core->world.on_roster == NULL) { return; }
    core->users_told = roster->version;
    LOG_INFO("the cluster has other users", LOG_UINT("users", roster->count),
             LOG_UINT("version", roster->version));
    core->world.on_roster(core->world.arg, roster);
}

/* A node that hears nothing goes on with what it knew. */
static void tell_cut_off(struct core *core)
{
    bool is_silent = core->now_ms > core->echoed_ms + 2 * (uint64_t)core->opts.node_timeout_ms;
    bool is_cut_off = core->users_told != 0 && core->incarnation != 0 && is_silent;
    if (is_cut_off == core->is_cut_off) { return; }
    core->is_cut_off = is_cut_off;
    if (is_cut_off) {
        LOG_WARN("this node is cut off: it goes on with the cluster's users as it knew them",
                 LOG_UINT("version", core->users_told));
    } else {
        LOG_INFO("this node hears of the cluster's users again",
                 LOG_UINT("version", core->users_told));
    }
}

uint32_t users_level(const struct core *core)
{
    if (!core->opts.has_data) { return PMAP_LEVEL_OWNERS; }
    return core->opts.has_users ? PMAP_LEVEL_USERS : PMAP_LEVEL_REPLICAS;
}

/* ---- the asking node ---- */

static void end_one(struct changing *c, enum users_outcome outcome, const char *text)
{
    list_remove(&c->link);
    c->on_done(c->arg, outcome, text);
    buf_fini(&c->command);
    mem_free(c);
}

static struct changing *find(struct core *core, uint64_t id)
{
    LIST_EACH (at, &core->changings) {
        struct changing *c = CONTAINER_OF(at, struct changing, link);
        if (c->id == id) { return c; }
    }
    return NULL;
}

void users_on_reply(struct core *core, const struct note_users_reply *reply)
{
    struct changing *c = find(core, reply->id);
    if (c == NULL) { return; }
    switch ((enum users_outcome)reply->outcome) {
    case USERS_CHANGED:
    case USERS_REFUSED:
    case USERS_OWN: end_one(c, (enum users_outcome)reply->outcome, reply->text); return;
    case USERS_MADE:
        c->is_made = true;
        snprintf(c->missing, sizeof c->missing, "%.*s", (int)sizeof c->missing - 1, reply->text);
        return;
    case USERS_STALE:
        c->is_stale = true;
        c->stale_version = reply->version;
        core->world.soon(core->world.arg);
        return;
    case USERS_INDOUBT: break; /* nobody says so but this node */
    }
}

static void give_up(struct changing *c)
{
    char text[NOTE_TEXT_BYTES];
    if (c->is_stale || !c->is_sent) {
        end_one(c, USERS_REFUSED,
                "CLUSTERDOWN The control group has no leader here: the users are what they were");
    } else if (!c->is_made) {
        end_one(c, USERS_INDOUBT,
                "INDOUBT No answer of the control group's leader: the users may have been changed");
    } else {
        snprintf(
            text, sizeof text,
            "INDOUBT The users are changed, but %s has not confirmed that it is in force there",
            c->missing[0] != '\0' ? c->missing : "some node");
        end_one(c, USERS_INDOUBT, text);
    }
}

/* ---- the leader: in force everywhere? ---- */

/* The name of a member that is up and where that version is not in force; NULL: it is in force. */
static const char *missing_at(struct core *core, const struct pmap *map, uint64_t version)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        if (member->id == 0 || !member->is_up) { continue; }
        if (member->id == core->opts.node_id) {
            if (core->users_version < version) { return member->name; }
            continue;
        }
        const struct node *node = core_node_find(core, member->id);
        bool is_heard =
            node != NULL && node->ping_ms != 0 && node->ping.incarnation == member->incarnation;
        if (!is_heard || node->ping.users_version < version) { return member->name; }
    }
    return NULL;
}

static void answer(struct core *core, const struct asker *asker, enum users_outcome outcome,
                   uint64_t version, const char *text)
{
    struct note note = core_note_new(core, NOTE_USERS_REPLY);
    note.users_reply.id = asker->number;
    note.users_reply.outcome = outcome;
    note.users_reply.version = version;
    snprintf(note.users_reply.text, sizeof note.users_reply.text, "%s", text);
    if (asker->node_id == 0) {
        users_on_reply(core, &note.users_reply);
    } else {
        core_send(core, asker->name, &note);
    }
}

/* It is made: who asked hears so now, and again when it is in force. */
static void await(struct core *core, const struct pmap *map, const struct asker *asker)
{
    struct lead *lead = &core->lead;
    const char *missing = missing_at(core, map, map->roster->version);
    answer(core, asker, missing == NULL ? USERS_CHANGED : USERS_MADE, map->roster->version,
           missing != NULL ? missing : "");
    if (missing == NULL) { return; }
    for (uint32_t i = 0; i < lead->awaiting_count; i++) {
        if (lead->awaiting[i].number == asker->number) { return; }
    }
    if (lead->awaiting_count == USERS_AWAITING_MAX) { return; } /* it asks again */
    lead->awaiting_version[lead->awaiting_count] = map->roster->version;
    lead->awaiting[lead->awaiting_count++] = *asker;
}

static void look_at_awaiting(struct core *core, const struct pmap *map)
{
    struct lead *lead = &core->lead;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lead->awaiting_count; i++) {
        struct asker asker = lead->awaiting[i];
        if (missing_at(core, map, lead->awaiting_version[i]) == NULL) {
            answer(core, &asker, USERS_CHANGED, lead->awaiting_version[i], "");
            continue;
        }
        lead->awaiting_version[kept] = lead->awaiting_version[i];
        lead->awaiting[kept++] = asker;
    }
    lead->awaiting_count = kept;
}

/* ---- the leader: a change ---- */

static void on_changed(struct core *core, struct op *op, enum err err)
{
    const struct pmap *map = core_control_map(core);
    if (op->term == core->lead.term) { core->lead.changing_users_count--; }
    if (err != ERR_OK || map == NULL || map->roster == NULL) { return; } /* it is asked again */
    if (roster_has_done(map->roster, op->asker.number)) {
        await(core, map, &op->asker);
    } else {
        answer(core, &op->asker, USERS_STALE, map->roster->version, "");
    }
}

/* As forget's: what is proposed without a lease may be done long after whoever asked was told otherwise. */
static bool is_sure(const struct core *core)
{
    return core_leads(core) && core->status.lease_until_ms > core->now_ms;
}

static bool is_under_way(const struct core *core, uint64_t id)
{
    LIST_EACH (at, &core->ops) {
        const struct op *op = CONTAINER_OF(at, struct op, link);
        if (op->command.op == CONTROL_CHANGE_USERS && op->asker.number == id) { return true; }
    }
    return false;
}

static void decide(struct core *core, const struct asker *asker, const struct control_command *c)
{
    const struct pmap *map = core_control_map(core);
    struct roster *next = NULL;
    if (!is_sure(core) || map == NULL || is_under_way(core, asker->number)) { return; }
    if (map->level < PMAP_LEVEL_USERS) {
        answer(core, asker, USERS_OWN, 0, "");
        return;
    }
    if (map->roster == NULL || c->users->is_first) { return; } /* soon there is one */
    if (roster_has_done(map->roster, asker->number)) {
        await(core, map, asker);
        return;
    }
    switch (roster_next(map->roster, c->users, map->version, &next)) {
    case ROSTER_STALE: answer(core, asker, USERS_STALE, map->roster->version, ""); return;
    case ROSTER_FULL:
        answer(core, asker, USERS_REFUSED, 0,
               "ERR the users of a cluster are at most 10000, and their rules 1 MiB together");
        return;
    case ROSTER_DONE: break;
    }
    roster_unref(next);
    if (core->lead.changing_users_count == USERS_AWAITING_MAX) { return; } /* it asks again */
    core->lead.changing_users_count++;
    core_propose(core, c, asker, on_changed);
}

static void decide_bytes(struct core *core, const struct asker *asker, struct slice bytes)
{
    struct control_command command;
    struct asker own = *asker;
    if (control_decode(bytes, &command) && command.op == CONTROL_CHANGE_USERS) {
        own.number = command.users->id;
        decide(core, &own, &command);
    }
    control_command_fini(&command);
}

void users_on_change(struct core *core, const struct note *note)
{
    struct asker asker = {.node_id = note->node_id};
    if (note->change_users.term != core->status.term) { return; } /* meant for another leader */
    snprintf(asker.name, sizeof asker.name, "%s", note->name);
    decide_bytes(core, &asker, note->change_users.command);
}

/* ---- the leader: the first ones ---- */

static void on_begun(struct core *core, struct op *op, enum err err)
{
    (void)err;
    if (op->term == core->lead.term) { core->lead.is_beginning_users = false; }
}

/* A cluster's users are at first those of its leader. */
static void begin_users(struct core *core, const struct pmap *map)
{
    if (map->level < PMAP_LEVEL_USERS || map->roster != NULL || core->lead.is_beginning_users ||
        core->world.own_users == NULL || core_self_up(core, map) == PMAP_NOBODY) {
        return;
    }
    struct control_command command = {.op = CONTROL_CHANGE_USERS};
    struct roster *roster = NULL;
    command.users = core->world.own_users(core->world.arg, core->world.random(core->world.arg) | 1);
    command.users->is_first = true;
    command.users->is_all = true;
    if (roster_next(NULL, command.users, map->version, &roster) == ROSTER_DONE) {
        LOG_INFO("the cluster takes the users of this node", LOG_UINT("users", roster->count));
        core->lead.is_beginning_users = true;
        core_propose(core, &command, NULL, on_begun);
    } else if (core_may_tell(core, &core->users_told_ms)) {
        LOG_ERROR("the users of this node are too many for a cluster: 10000, and 1 MiB of rules");
    }
    roster_unref(roster);
    control_command_fini(&command);
}

void users_lead_tick(struct core *core, const struct pmap *map)
{
    begin_users(core, map);
    look_at_awaiting(core, map);
}

/* ---- the asking node again ---- */

static void ask(struct core *core, struct changing *c)
{
    c->next_ms = core->now_ms + RETRY_MS + c->command.len / RETRY_BYTES_A_MS;
    const char *leader = core->status.leader != 0 ? core_leader_name(core) : NULL;
    if (core->status.is_leader) {
        const struct asker asker = {.number = c->id};
        c->is_sent = true;
        decide_bytes(core, &asker, buf_slice(&c->command)); /* it may end c */
    } else if (leader != NULL) {
        struct note note = core_note_new(core, NOTE_CHANGE_USERS);
        note.change_users.term = core->status.term;
        note.change_users.command = buf_slice(&c->command);
        c->is_sent = true;
        core_send(core, leader, &note);
    }
}

static uint32_t changing_count(const struct core *core)
{
    uint32_t count = 0;
    LIST_EACH (at, &core->changings) {
        count += at != NULL;
    }
    return count;
}

void core_change_users(struct core *core, const struct roster_change *change, uint64_t timeout_ms,
                       users_on_done *on_done, void *arg)
{
    core_refresh(core);
    if (changing_count(core) == USERS_CHANGING_MAX) {
        on_done(arg, USERS_REFUSED, "ERR too many changes of users are under way on this node");
        return;
    }
    struct changing *c = mem_new0(sizeof *c);
    const struct control_command command = {.op = CONTROL_CHANGE_USERS, .users = unconst(change)};
    control_encode(&c->command, &command);
    c->id = change->id;
    c->until_ms = core->now_ms + timeout_ms;
    c->on_done = on_done;
    c->arg = arg;
    list_push_back(&core->changings, &c->link);
    ask(core, c);
}

void users_tick(struct core *core)
{
    tell_cut_off(core);
    LIST_EACH (at, &core->changings) {
        struct changing *c = CONTAINER_OF(at, struct changing, link);
        if (c->is_stale && core->users_version >= c->stale_version) {
            end_one(c, USERS_STALE, "");
        } else if (core->now_ms >= c->until_ms) {
            give_up(c);
        } else if (core->now_ms >= c->next_ms && !c->is_stale) {
            ask(core, c);
        }
    }
}

void users_end(struct core *core)
{
    LIST_EACH (at, &core->changings) {
        end_one(CONTAINER_OF(at, struct changing, link), USERS_INDOUBT, "INDOUBT The node stops");
    }
}
