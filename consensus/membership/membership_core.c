/* membership_core: life of the core, the control group's state machine, who is known, notes in and
 * out.
 * Owns: the control state, the table of nodes, commands under way. Not: decisions (the files beside
 * it), threads, sockets, files. Thread: the raft thread.
 * Always: nothing of the engine is called from inside the state machine's callbacks; what these
 * bring about is done by the next tick. */
#include "consensus/membership/membership_core.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/membership/membership_int.h"

enum {
    SAVE_RETRY_MS = 5000,
    TELL_MS = 10000, /* between log lines about what goes on */
};

/* ---- the map ---- */

const struct pmap *core_control_map(const struct core *core)
{
    return control_map(core->control);
}

uint32_t core_self_up(const struct core *core, const struct pmap *map)
{
    if (map == NULL || core->incarnation == 0) { return PMAP_NOBODY; }
    uint32_t index = pmap_find_id(map, core->opts.node_id);
    if (index == PMAP_NOBODY) { return index; }
    const struct pmap_node *self = &map->node[index];
    return self->is_up && self->incarnation == core->incarnation ? index : PMAP_NOBODY;
}

/* A member's address in the map is newer than what it told before. */
static void follow_addresses(struct core *core, const struct pmap *map)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *member = &map->node[i];
        const struct pmap *old = core->map;
        bool is_same = old != NULL && i < old->node_count && old->node[i].id == member->id &&
                       old->node[i].raft.port == member->raft.port &&
                       strcmp(old->node[i].raft.host, member->raft.host) == 0;
        struct node *node = core_node_find(core, member->id);
        if (is_same || node == NULL || node->raft.port == 0) { continue; }
        if (node->raft.port != member->raft.port ||
            strcmp(node->raft.host, member->raft.host) != 0) {
            node->raft.port = 0;
            core->world.redial(core->world.arg, member->name);
        }
    }
}

static uint32_t owned_count(const struct core *core, const struct pmap *map)
{
    uint32_t self = map != NULL ? pmap_find_id(map, core->opts.node_id) : PMAP_NOBODY;
    uint32_t count = 0;
    for (uint32_t p = 0; self != PMAP_NOBODY && p < map->partition_count; p++) {
        count += map->partition[p].owner == self;
    }
    return count;
}

void core_publish(struct core *core)
{
    const struct pmap *map = core_control_map(core);
    bool is_ours = core->incarnation != 0 && map != NULL && map->version >= core->join_version;
    if (map == NULL || (core->map == NULL && !is_ours)) { return; }
    /* A new replica hears the old story again. */
    if (core->map != NULL && map->version <= core->map->version) { return; }
    membership_log_changes(core->map, map);
    follow_addresses(core, map);
    bool is_richer = owned_count(core, map) > owned_count(core, core->map);
    pmap_unref(core->map);
    core->map = pmap_ref(map);
    users_on_map(core, map);
    core->warming = core->world.on_map(core->world.arg, map, pmap_find_id(map, core->opts.node_id));
    join_on_map(core, map);
    lease_update(core);
    if (is_richer) { core->ping_next_ms = 0; } /* the leader waits for it */
}

/* ---- the state machine ---- */

static enum fsm_answer on_apply(void *arg, const struct fsm_batch *batch)
{
    struct core *core = arg;
    bool is_changed = false;
    for (size_t i = 0; i < batch->count; i++) {
        const struct fsm_command *command = &batch->commands[i];
        is_changed = control_apply(core->control, command->index, command->data) || is_changed;
    }
    control_set_applied(core->control, batch->last_index);
    if (is_changed) {
        core->lead.nudge_is_due = core->lead.term != 0;
        core_publish(core);
        core->world.soon(core->world.arg);
    }
    return FSM_DONE;
}

static uint64_t on_applied_index(void *arg)
{
    return control_applied(((struct core *)arg)->control);
}

struct image {
    struct buf bytes;
    size_t at;
};

static void *on_snapshot_begin(void *arg)
{
    struct image *image = mem_new0(sizeof *image);
    control_save(((struct core *)arg)->control, &image->bytes);
    return image;
}

static enum err on_snapshot_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    size_t rest = image->bytes.len - image->at;
    *bytes = rest < bytes_max ? rest : bytes_max;
    if (*bytes > 0) { memcpy(out, image->bytes.data + image->at, *bytes); }
    image->at += *bytes;
    return ERR_OK;
}

static void on_snapshot_end(void *arg)
{
    struct image *image = arg;
    buf_fini(&image->bytes);
    mem_free(image);
}

static void on_restore_begin(void *arg)
{
    ((struct core *)arg)->restoring.len = 0;
}

static enum err on_restore_write(void *arg, struct slice bytes)
{
    buf_append(&((struct core *)arg)->restoring, bytes);
    return ERR_OK;
}

static enum err on_restore_end(void *arg, uint64_t index)
{
    struct core *core = arg;
    enum err err = control_load(core->control, buf_slice(&core->restoring));
    buf_fini(&core->restoring);
    if (err != ERR_OK || control_applied(core->control) > index) { return ERR_CORRUPT; }
    control_set_applied(core->control, index);
    core_publish(core);
    core->world.soon(core->world.arg);
    return ERR_OK;
}

static void on_leader(void *arg, bool is_leader, uint64_t term)
{
    struct core *core = arg;
    lead_on_leader(core, is_leader, term);
    core->world.soon(core->world.arg);
}

static void on_transfer(void *arg)
{
    struct core *core = arg;
    core->lead.is_transferring = true;
    lease_drop(core); /* the next leader may be there at once */
}

static const struct fsm_ops fsm_ops = {
    .apply = on_apply,
    .applied_index = on_applied_index,
    .snapshot_begin = on_snapshot_begin,
    .snapshot_read = on_snapshot_read,
    .snapshot_end = on_snapshot_end,
    .restore_begin = on_restore_begin,
    .restore_write = on_restore_write,
    .restore_end = on_restore_end,
    .on_leader = on_leader,
    .on_transfer = on_transfer,
    .is_volatile = true,
};

/* ---- commands ---- */

static void on_op_done(struct proposal *proposal, enum err err)
{
    struct op *op = CONTAINER_OF(proposal, struct op, proposal);
    struct core *core = op->core;
    list_remove(&op->link);
    struct node *node = core_node_find(core, op->command.node_id);
    if (node != NULL && op->marks_node) { node->is_proposing = false; }
    core->joining_count -= op->command.op == CONTROL_JOIN;
    if (op->on_done != NULL) { op->on_done(core, op, err); }
    if (err == ERR_OK) { core->world.soon(core->world.arg); } /* else the next tick tries again */
    buf_fini(&op->bytes);
    mem_free(op);
}

void core_propose(struct core *core, const struct control_command *command,
                  const struct asker *asker,
                  void (*on_done)(struct core *core, struct op *op, enum err err))
{
    struct op *op = mem_new0(sizeof *op);
    op->core = core;
    op->command = *command;
    op->term = core->lead.term;
    op->on_done = on_done;
    if (asker != NULL) { op->asker = *asker; }
    control_encode(&op->bytes, command);
    op->command.users = NULL;
    op->proposal.group = CONTROL_GROUP;
    op->proposal.data = buf_slice(&op->bytes);
    op->proposal.on_done = on_op_done;
    struct node *node = core_node_find(core, command->node_id);
    op->marks_node = node != NULL && command->op != CONTROL_ASSIGN;
    if (op->marks_node) { node->is_proposing = true; }
    core->joining_count += command->op == CONTROL_JOIN;
    list_push_back(&core->ops, &op->link);
    engine_propose(core->engine, &op->proposal);
}

/* ---- nodes ---- */

struct node *core_node_find(struct core *core, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < CORE_NODES_MAX; i++) {
        if (core->nodes[i].id == id) { return &core->nodes[i]; }
    }
    return NULL;
}

/* A place for a new one: free, or of a stranger that was silent for longest. */
static struct node *free_place(struct core *core)
{
    const struct pmap *map = core_control_map(core);
    struct node *oldest = NULL;
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        struct node *node = &core->nodes[i];
        if (node->id == 0) { return node; }
        bool is_member = map != NULL && pmap_find_id(map, node->id) != PMAP_NOBODY;
        if (is_member || node->is_proposing) { continue; }
        if (oldest == NULL || node->heard_ms < oldest->heard_ms) { oldest = node; }
    }
    return oldest;
}

struct node *core_node_of(struct core *core, uint64_t id, const char *name)
{
    struct node *node = core_node_find(core, id);
    if (node != NULL) { return node; }
    node = free_place(core);
    CHECK(node != NULL); /* twice as many places as members */
    *node = (struct node){.id = id};
    snprintf(node->name, sizeof node->name, "%s", name);
    return node;
}

static struct node *node_of_note(struct core *core, const struct note *note)
{
    struct node *node = core_node_of(core, note->node_id, note->name);
    snprintf(node->name, sizeof node->name, "%s", note->name);
    node->heard_ms = core->now_ms;
    if (note->raft.port == 0) { return node; }
    bool is_moved = node->raft.port != 0 && (node->raft.port != note->raft.port ||
                                             strcmp(node->raft.host, note->raft.host) != 0);
    node->raft = note->raft;
    if (is_moved) {
        LOG_INFO("a node has another raft address", LOG_STR("node", node->name),
                 LOG_STR("host", node->raft.host), LOG_UINT("port", node->raft.port));
        core->world.redial(core->world.arg, node->name);
    }
    return node;
}

/* Of the nodes with that name who told their address in this process's life: the member with `id`; or,
 * if that one is not heard, since our map may be old, the one that was heard last and says that it
 * belongs to our cluster. */
static const struct node *teller(const struct core *core, const char *name, uint64_t id)
{
    const struct node *best = NULL;
    const struct node *member = NULL;
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        const struct node *node = &core->nodes[i];
        if (node->id == 0 || node->heard_ms == 0 || strcmp(node->name, name) != 0) { continue; }
        if (node->id == id) { member = node; }
        bool is_ours = node->cluster_id != 0 && node->cluster_id == core->file.cluster_id;
        if (!is_ours || node->raft.port == 0) { continue; }
        if (best == NULL || node->heard_ms > best->heard_ms) { best = node; }
    }
    if (member == NULL || best == NULL) { return member != NULL ? member : best; }
    return best->heard_ms > member->heard_ms + 3 * (uint64_t)core->opts.node_timeout_ms ? best
                                                                                        : member;
}

/* A new replica hears the old story again, and in it a node may have had another id and address. */
static const struct pmap *newest_map(const struct core *core)
{
    const struct pmap *map = core_control_map(core);
    bool is_old = core->map != NULL && (map == NULL || map->version < core->map->version);
    return is_old ? core->map : map;
}

bool core_address_of(const struct core *core, const char *name, struct pmap_address *out)
{
    const struct pmap *map = newest_map(core);
    uint32_t index = map != NULL ? pmap_find_name(map, slice_of_str(name)) : PMAP_NOBODY;
    const struct node *node = teller(core, name, index != PMAP_NOBODY ? map->node[index].id : 0);
    bool is_told = node != NULL && node->raft.port != 0;
    if (!is_told && index == PMAP_NOBODY) { return false; }
    *out = is_told ? node->raft : map->node[index].raft;
    return out->port != 0;
}

/* ---- notes ---- */

struct note core_note_new(const struct core *core, enum note_kind kind)
{
    struct note note = {.kind = kind, .node_id = core->opts.node_id};
    /* A founder that starts again and could not write down that it has founded waits for the others' votes before it has
     * a map; and they must know it by then. */
    bool is_founded = core_control_map(core) != NULL || core->status.server_count > 1;
    bool is_real =
        core->file.state >= CLUSTER_JOINING || (core->file.state == CLUSTER_FOUNDING && is_founded);
    note.cluster_id = is_real ? core->file.cluster_id : 0;
    snprintf(note.name, sizeof note.name, "%s", core->opts.name);
    return note;
}

void core_send(struct core *core, const char *name, const struct note *note)
{
    struct buf bytes = {0};
    note_encode(&bytes, note);
    core->world.send(core->world.arg, name, buf_slice(&bytes));
    buf_fini(&bytes);
}

void core_send_to(struct core *core, const struct pmap_address *to, const struct note *note)
{
    struct buf bytes = {0};
    note_encode(&bytes, note);
    core->world.send_to(core->world.arg, to, buf_slice(&bytes));
    buf_fini(&bytes);
}

/* Of the same cluster, over its own link. */
static void on_member_note(struct core *core, struct node *from, const struct note *note)
{
    switch (note->kind) {
    case NOTE_PING: lease_on_ping(core, from, note); return;
    case NOTE_ECHO: lease_on_echo(core, note); return;
    case NOTE_SUSPECT:
        lead_on_suspect(core, note->node_id, note->suspect.node_id, note->suspect.incarnation);
        return;
    case NOTE_UNSERVED:
        lead_on_unserved(core, from->name, note->unserved.partition, note->unserved.epoch);
        return;
    case NOTE_FORGET: forget_on_request(core, note); return;
    case NOTE_FORGET_REPLY: forget_on_reply(core, note); return;
    case NOTE_SETTLED: keep_on_settled(core, &note->settled); return;
    case NOTE_CHANGE_USERS: users_on_change(core, note); return;
    case NOTE_USERS_REPLY: users_on_reply(core, &note->users_reply); return;
    case NOTE_NONE:
    case NOTE_DISCOVERY:
    case NOTE_RELEASE:
    case NOTE_JOIN:
    case NOTE_JOIN_REPLY: break;
    }
}

static void on_any_note(struct core *core, struct node *from, const struct note *note)
{
    switch (note->kind) {
    case NOTE_DISCOVERY: found_on_discovery(core, from, note); return;
    case NOTE_RELEASE: found_on_release(core, note); return;
    case NOTE_JOIN: join_on_join(core, from, note); return;
    case NOTE_JOIN_REPLY: join_on_reply(core, note); return;
    case NOTE_NONE:
    case NOTE_PING:
    case NOTE_ECHO:
    case NOTE_SUSPECT:
    case NOTE_UNSERVED:
    case NOTE_FORGET:
    case NOTE_SETTLED:
    case NOTE_CHANGE_USERS:
    case NOTE_USERS_REPLY:
    case NOTE_FORGET_REPLY: break;
    }
}

static void on_note(struct core *core, const char *from_name, const struct note *note)
{
    if (note->node_id == core->opts.node_id) {
        core->is_in_join = core->is_in_join || from_name == NULL;
        return;
    }
    core_refresh(core);
    struct node *from = node_of_note(core, note);
    if (from_name == NULL) {
        on_any_note(core, from, note);
    } else if (note->cluster_id == core->file.cluster_id && strcmp(from_name, note->name) == 0) {
        on_member_note(core, from, note);
    }
}

void core_note(struct core *core, const char *from_name, struct slice bytes)
{
    static const char garbage[] = "a note from another node makes no sense";
    struct note note;
    if (note_decode(bytes, &note)) {
        on_note(core, from_name, &note);
    } else {
        LOG_LIMITED(LOG_LEVEL_WARN, garbage, LOG_STR("from", from_name != NULL ? from_name : "-"));
    }
    note_fini(&note);
}

/* ---- the file ---- */

bool core_save(struct core *core, const struct cluster_file *file)
{
    if (core->world.save(core->world.arg, file) != ERR_OK) { return false; }
    core->file = *file;
    return true;
}

static void list_peers(const struct core *core, const struct pmap *map, struct cluster_file *file)
{
    file->peer_count = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->node[i].id != 0 && map->node[i].id != core->opts.node_id) {
            file->peer[file->peer_count++] = map->node[i].raft;
        }
    }
}

static bool same_peers(const struct cluster_file *a, const struct cluster_file *b)
{
    if (a->peer_count != b->peer_count) { return false; }
    for (uint32_t i = 0; i < a->peer_count; i++) {
        if (a->peer[i].port != b->peer[i].port || strcmp(a->peer[i].host, b->peer[i].host) != 0) {
            return false;
        }
    }
    return true;
}

/* The file follows the map: whom to ask after a restart; and that the replica is there. */
static void keep_file(struct core *core)
{
    const struct pmap *map = core->map;
    if (map == NULL || core->status.commit == 0 || core->incarnation == 0 ||
        core->file.state < CLUSTER_FOUNDING) {
        return;
    }
    struct cluster_file next = core->file;
    next.state = CLUSTER_MEMBER;
    list_peers(core, map, &next);
    if (next.state == core->file.state && same_peers(&next, &core->file)) { return; }
    if (core->now_ms < core->save_retry_ms) { return; }
    if (!core_save(core, &next)) { core->save_retry_ms = core->now_ms + SAVE_RETRY_MS; }
}

/* ---- status ---- */

bool core_may_tell(const struct core *core, uint64_t *told_ms)
{
    if (*told_ms != 0 && core->now_ms < *told_ms + TELL_MS) { return false; }
    *told_ms = core->now_ms;
    return true;
}

void core_refresh(struct core *core)
{
    core->now_ms = core->world.now_ms(core->world.arg);
    (void)engine_status(core->engine, CONTROL_GROUP, &core->status);
    const struct engine_status *status = &core->status;
    if (status->owns_term && core->lead.term == status->term && core->lead.ready_commit == 0) {
        core->lead.ready_commit = status->commit;
    }
    if (status->is_leader || status->leader == 0 ||
        (status->leader == core->followed_replica && status->term == core->followed_term)) {
        return;
    }
    core->followed_replica = status->leader;
    core->followed_term = status->term;
    core->followed_since_ms = core->now_ms;
    const char *name = core_leader_name(core);
    snprintf(core->followed_name, sizeof core->followed_name, "%s", name != NULL ? name : "");
}

bool core_leads(const struct core *core)
{
    const struct lead *lead = &core->lead;
    return core->status.owns_term && lead->term == core->status.term && lead->ready_commit != 0 &&
           core->status.applied >= lead->ready_commit;
}

const char *core_leader_name(const struct core *core)
{
    const struct engine_status *status = &core->status;
    for (size_t i = 0; status->leader != 0 && i < status->server_count; i++) {
        if (status->servers[i].id == status->leader) { return status->servers[i].node_name; }
    }
    return core->leader_name[0] != '\0' ? core->leader_name : NULL;
}

struct pmap_address core_leader_address(const struct core *core)
{
    struct pmap_address address = {.port = 0};
    const struct engine_status *status = &core->status;
    if (status->is_leader) { return core->opts.raft; }
    for (size_t i = 0; status->leader != 0 && i < status->server_count; i++) {
        if (status->servers[i].id == status->leader &&
            core_address_of(core, status->servers[i].node_name, &address)) {
            return address;
        }
    }
    return address;
}

static const char *unready_because(const struct core *core)
{
    if (core->is_forgotten) { return "this node was forgotten"; }
    if (core->obstacle != NULL) { return core->obstacle; }
    if (core->file.state == CLUSTER_NONE) { return "no cluster was found yet"; }
    if (core->file.state == CLUSTER_PROMISED) { return "the cluster is being founded elsewhere"; }
    if (core->incarnation == 0) { return "this node has not joined its cluster yet"; }
    if (core_self_up(core, core->map) == PMAP_NOBODY) { return "the map is not up to date"; }
    if (core->is_leaving) { return "this node is leaving"; }
    if (engine_is_stuck(core->engine)) { return "the disk does not flush"; }
    if (engine_is_full(core->engine)) { return "the disk is full"; }
    if (core->status.leader == 0) { return "the control group has no leader"; }
    return NULL;
}

void core_status(const struct core *core, struct core_status *out)
{
    *out = (struct core_status){
        .unready_because = unready_because(core),
        .cluster_id = core->file.state >= CLUSTER_FOUNDING ? core->file.cluster_id : 0,
        .incarnation = core->incarnation,
        .raft = core->status,
        .map = core->map,
    };
    if (core->status.is_leader) {
        snprintf(out->leader, sizeof out->leader, "%s", core->opts.name);
    } else if (core->status.leader != 0 && core_leader_name(core) != NULL) {
        snprintf(out->leader, sizeof out->leader, "%s", core_leader_name(core));
    }
}

/* ---- life ---- */

uint64_t core_tick_ms(const struct core *core)
{
    return core->opts.heartbeat_ms > 20 ? core->opts.heartbeat_ms / 2 : 10;
}

void core_tick(struct core *core)
{
    core_refresh(core);
    found_tick(core);
    join_tick(core);
    lead_tick(core);
    lease_tick(core);
    forget_tick(core);
    users_tick(core);
    core_publish(core);
    keep_file(core);
}

enum err core_create_group(struct core *core, bool is_founder)
{
    /* Random, so that no replica ever had it; never one of the engine's special ids. */
    uint64_t replica = core->world.random(core->world.arg) >> 2 | 1ULL << 62;
    struct engine_server self = {replica, core->opts.name};
    control_free(core->control);
    core->control = control_new();
    return engine_group_create(core->engine, CONTROL_GROUP, replica, &fsm_ops, core, &self,
                               is_founder ? 1 : 0);
}

/* The partitions' groups have lost their majorities as well: those that are here go on with what they hold. One that was
 * never added holds nothing, and is refused. */
static void force_partitions(struct core *core)
{
    for (uint64_t group = 0; (group = engine_group_next(core->engine, group)) != 0;) {
        if (group != CONTROL_GROUP && engine_group_force(core->engine, group) != ERR_OK) {
            LOG_WARN("a partition's replica holds nothing that could go on",
                     LOG_UINT("group", group));
        }
    }
}

/* What the log and the file say about each other. */
static enum err open_group(struct core *core)
{
    struct engine_status status;
    enum cluster_state state = core->file.state;
    bool is_there = engine_status(core->engine, CONTROL_GROUP, &status);
    if (is_there && state == CLUSTER_RECOVERING) {
        LOG_WARN("this node goes on alone, with what it holds: its cluster's majority was given up",
                 LOG_STR("node", core->opts.name), LOG_UINT("last", status.last));
        enum err err = engine_group_force(core->engine, CONTROL_GROUP);
        if (err != ERR_OK) { return err; }
        force_partitions(core);
    }
    if (is_there && state >= CLUSTER_FOUNDING) {
        return engine_group_open(core->engine, CONTROL_GROUP, &fsm_ops, core);
    }
    if (is_there) {
        LOG_ERROR("the raft log belongs to a cluster that the cluster file does not name; restore "
                  "the file, or remove the whole data directory to join as a new node",
                  LOG_STR("node", core->opts.name));
        return ERR_CORRUPT;
    }
    if (state >= CLUSTER_MEMBER) {
        LOG_ERROR("the raft log is gone; remove the whole data directory to join as a new node",
                  LOG_STR("node", core->opts.name));
        return ERR_CORRUPT;
    }
    return state >= CLUSTER_FOUNDING ? core_create_group(core, state == CLUSTER_FOUNDING) : ERR_OK;
}

enum err core_new(struct core **out, const struct core_opts *opts, const struct core_world *world,
                  struct engine *engine, const struct cluster_file *file)
{
    struct core *core = mem_new0(sizeof *core);
    core->opts = *opts;
    core->world = *world;
    core->engine = engine;
    core->file = *file;
    core->control = control_new();
    list_init(&core->ops);
    list_init(&core->forgettings);
    list_init(&core->changings);
    core->boot = world->random(world->arg) | 1;
    core_refresh(core);
    core->started_ms = core->now_ms;
    core->own_groups = file->state < CLUSTER_FOUNDING ? keep_groups(core) : 0;
    enum err err = open_group(core);
    if (err != ERR_OK) {
        engine_group_close(engine, CONTROL_GROUP);
        core_free(core);
        return err;
    }
    *out = core;
    return ERR_OK;
}

void core_free(struct core *core)
{
    if (core == NULL) { return; }
    forget_end(core);
    users_end(core);
    CHECK(list_is_empty(&core->ops));
    pmap_unref(core->map);
    control_free(core->control);
    buf_fini(&core->restoring);
    mem_free(core);
}

/* ---- wishes ---- */

void core_set_warming(struct core *core, uint32_t partition_count)
{
    if (core->warming == partition_count) { return; }
    core->warming = partition_count;
    core_refresh(core);
    lease_ping(core);
    core->world.soon(core->world.arg);
}

void core_drain(struct core *core)
{
    if (core->is_draining) { return; }
    LOG_INFO("this node drains", LOG_STR("node", core->opts.name));
    core->is_draining = true;
    core_refresh(core);
    lease_ping(core);
    core->world.soon(core->world.arg);
}

void core_leave(struct core *core)
{
    if (core->is_leaving) { return; }
    LOG_INFO("this node leaves", LOG_STR("node", core->opts.name));
    core->is_leaving = true;
    core_refresh(core);
    lease_drop(core); /* before anybody may hear that it is over */
    lease_ping(core);
}

void core_unserved(struct core *core, uint32_t partition, uint64_t epoch)
{
    core_refresh(core);
    if (core->status.is_leader) {
        lead_on_unserved(core, core->opts.name, partition, epoch);
        return;
    }
    const char *leader = core_leader_name(core);
    if (leader == NULL || core->incarnation == 0) { return; }
    struct note note = core_note_new(core, NOTE_UNSERVED);
    note.unserved = (struct note_unserved){partition, epoch};
    core_send(core, leader, &note);
}

void core_suspect(struct core *core, uint64_t id, uint64_t incarnation)
{
    core_refresh(core);
    if (core->status.is_leader) {
        lead_on_suspect(core, core->opts.node_id, id, incarnation);
        return;
    }
    const char *leader = core_leader_name(core);
    if (leader == NULL || core->incarnation == 0) { return; }
    struct note note = core_note_new(core, NOTE_SUSPECT);
    note.suspect = (struct note_suspect){id, incarnation};
    core_send(core, leader, &note);
}
