/* control_wire: between the control group's commands and state and the bytes of proto/control.proto.
 * Owns: nothing. Thread: the raft thread; encoding and decoding of commands: any.
 * Always: what was decoded is complete and within its limits, whatever the bytes are; equal states
 * give equal bytes. */
#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"
#include "consensus/map/control_int.h"
#include "proto/control.pb-c.h"

/* ---- out ---- */

static void pack(struct buf *out, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    if (bytes == 0) { return; } /* a state in which nothing has happened yet */
    out->len += protobuf_c_message_pack(message, (uint8_t *)buf_reserve(out, bytes));
}

/* A node's message and the ones inside it, in the caller's memory. */
struct wire_node {
    Fanfare__Control__Node node;
    Fanfare__Control__Address client, peer, raft;
};

static Fanfare__Control__Address *fill_address(Fanfare__Control__Address *wire,
                                               const struct pmap_address *address)
{
    fanfare__control__address__init(wire);
    wire->host = unconst(address->host);
    wire->port = address->port;
    return wire;
}

static Fanfare__Control__Node *fill_node(struct wire_node *wire, const struct pmap_node *node)
{
    fanfare__control__node__init(&wire->node);
    wire->node.name = unconst(node->name);
    wire->node.zone = unconst(node->zone);
    wire->node.client = fill_address(&wire->client, &node->client);
    wire->node.peer = fill_address(&wire->peer, &node->peer);
    wire->node.raft = fill_address(&wire->raft, &node->raft);
    return &wire->node;
}

/* The body of any command, and what is inside. */
struct wire_body {
    union {
        Fanfare__Control__Create create;
        Fanfare__Control__Join join;
        Fanfare__Control__Down down;
        Fanfare__Control__Drain drain;
        Fanfare__Control__Forget forget;
        Fanfare__Control__Assign assign;
        Fanfare__Control__SetVoter set_voter;
        Fanfare__Control__Level level;
        Fanfare__Control__AddReplica add_replica;
        Fanfare__Control__RemoveReplica remove_replica;
        Fanfare__Control__Settle settle;
        Fanfare__Control__ChangeUsers change_users;
    };
    struct wire_node node;
};

static void fill_create(Fanfare__Control__Command *wire, struct wire_body *body,
                        const struct control_command *c)
{
    fanfare__control__create__init(&body->create);
    body->create.cluster_id = c->cluster_id;
    body->create.partition_count = c->partition_count;
    body->create.level = c->level;
    body->create.data_of = c->data_of;
    body->create.key_layout = c->key_layout;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_CREATE;
    wire->create = &body->create;
}

static void fill_join(Fanfare__Control__Command *wire, struct wire_body *body,
                      const struct control_command *c)
{
    fanfare__control__join__init(&body->join);
    body->join.node_id = c->node_id;
    body->join.node = fill_node(&body->node, &c->node);
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_JOIN;
    wire->join = &body->join;
}

static void fill_down(Fanfare__Control__Command *wire, struct wire_body *body,
                      const struct control_command *c)
{
    fanfare__control__down__init(&body->down);
    body->down.node_id = c->node_id;
    body->down.incarnation = c->incarnation;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_DOWN;
    wire->down = &body->down;
}

static void fill_drain(Fanfare__Control__Command *wire, struct wire_body *body,
                       const struct control_command *c)
{
    fanfare__control__drain__init(&body->drain);
    body->drain.node_id = c->node_id;
    body->drain.incarnation = c->incarnation;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_DRAIN;
    wire->drain = &body->drain;
}

static void fill_forget(Fanfare__Control__Command *wire, struct wire_body *body,
                        const struct control_command *c)
{
    fanfare__control__forget__init(&body->forget);
    body->forget.node_id = c->node_id;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_FORGET;
    wire->forget = &body->forget;
}

static void fill_assign(Fanfare__Control__Command *wire, struct wire_body *body,
                        const struct control_command *c)
{
    fanfare__control__assign__init(&body->assign);
    body->assign.partition = c->partition;
    body->assign.epoch = c->epoch;
    body->assign.node_id = c->node_id;
    body->assign.incarnation = c->incarnation;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_ASSIGN;
    wire->assign = &body->assign;
}

static void fill_set_voter(Fanfare__Control__Command *wire, struct wire_body *body,
                           const struct control_command *c)
{
    fanfare__control__set_voter__init(&body->set_voter);
    body->set_voter.node_id = c->node_id;
    body->set_voter.is_voter = c->is_voter;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_SET_VOTER;
    wire->set_voter = &body->set_voter;
}

static void fill_level(Fanfare__Control__Command *wire, struct wire_body *body,
                       const struct control_command *c)
{
    fanfare__control__level__init(&body->level);
    body->level.level = c->level;
    body->level.key_layout = c->key_layout;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_LEVEL;
    wire->level = &body->level;
}

static void fill_add_replica(Fanfare__Control__Command *wire, struct wire_body *body,
                             const struct control_command *c)
{
    fanfare__control__add_replica__init(&body->add_replica);
    body->add_replica.partition = c->partition;
    body->add_replica.change = c->change;
    body->add_replica.node_id = c->node_id;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_ADD_REPLICA;
    wire->add_replica = &body->add_replica;
}

static void fill_remove_replica(Fanfare__Control__Command *wire, struct wire_body *body,
                                const struct control_command *c)
{
    fanfare__control__remove_replica__init(&body->remove_replica);
    body->remove_replica.partition = c->partition;
    body->remove_replica.change = c->change;
    body->remove_replica.replica = c->replica;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_REMOVE_REPLICA;
    wire->remove_replica = &body->remove_replica;
}

static void fill_settle(Fanfare__Control__Command *wire, struct wire_body *body,
                        const struct control_command *c)
{
    fanfare__control__settle__init(&body->settle);
    body->settle.partition = c->partition;
    body->settle.change = c->change;
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_SETTLE;
    wire->settle = &body->settle;
}

static void fill_change_users(Fanfare__Control__Command *wire, struct wire_body *body,
                              const struct control_command *c)
{
    control_fill_change(&body->change_users, c->users);
    wire->body_case = FANFARE__CONTROL__COMMAND__BODY_CHANGE_USERS;
    wire->change_users = &body->change_users;
}

static void (*const fill_of[])(Fanfare__Control__Command *, struct wire_body *,
                               const struct control_command *) = {
    [CONTROL_CREATE] = fill_create,
    [CONTROL_JOIN] = fill_join,
    [CONTROL_DOWN] = fill_down,
    [CONTROL_DRAIN] = fill_drain,
    [CONTROL_FORGET] = fill_forget,
    [CONTROL_ASSIGN] = fill_assign,
    [CONTROL_SET_VOTER] = fill_set_voter,
    [CONTROL_LEVEL] = fill_level,
    [CONTROL_ADD_REPLICA] = fill_add_replica,
    [CONTROL_REMOVE_REPLICA] = fill_remove_replica,
    [CONTROL_SETTLE] = fill_settle,
    [CONTROL_CHANGE_USERS] = fill_change_users,
};

void control_encode(struct buf *out, const struct control_command *command)
{
    CHECK(command->op < COUNT_OF(fill_of));
    Fanfare__Control__Command wire = FANFARE__CONTROL__COMMAND__INIT;
    struct wire_body body;
    fill_of[command->op](&wire, &body, command);
    pack(out, &wire.base);
    if (command->op == CONTROL_CHANGE_USERS) { control_free_change(&body.change_users); }
}

/* Places of the map that hold a member. */
static size_t member_count(const struct pmap *map)
{
    size_t count = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        count += map->node[i].id != 0;
    }
    return count;
}

struct wire_member {
    Fanfare__Control__Member member;
    struct wire_node node;
};

/* The arrays of a state's message. */
struct wire_state {
    struct wire_member member[PMAP_NODES_MAX];
    Fanfare__Control__Member *member_at[PMAP_NODES_MAX];
    uint32_t owner[PMAP_PARTITIONS_MAX];
    uint32_t previous[PMAP_PARTITIONS_MAX];
    uint64_t epoch[PMAP_PARTITIONS_MAX];
    struct wire_group {
        Fanfare__Control__Group group;
        Fanfare__Control__Replica replica[PMAP_REPLICAS_MAX];
        Fanfare__Control__Replica *replica_at[PMAP_REPLICAS_MAX];
    } group[PMAP_PARTITIONS_MAX];
    Fanfare__Control__Group *group_at[PMAP_PARTITIONS_MAX];
};

static void fill_members(struct wire_state *arrays, const struct pmap *map)
{
    size_t count = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        if (node->id == 0) { continue; }
        Fanfare__Control__Member *wire = &arrays->member[count].member;
        fanfare__control__member__init(wire);
        wire->index = i;
        wire->node_id = node->id;
        wire->incarnation = node->incarnation;
        wire->node = fill_node(&arrays->member[count].node, node);
        wire->is_up = node->is_up;
        wire->is_draining = node->is_draining;
        wire->is_voter = node->is_voter;
        arrays->member_at[count++] = wire;
    }
}

static void fill_group(struct wire_group *wire, const struct pmap_partition *partition)
{
    fanfare__control__group__init(&wire->group);
    wire->group.change = partition->change;
    wire->group.replica_last = partition->replica_last;
    wire->group.is_founded = partition->is_founded;
    wire->group.is_settled = partition->is_settled;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        fanfare__control__replica__init(&wire->replica[i]);
        wire->replica[i].id = partition->replica[i].id;
        wire->replica[i].node = partition->replica[i].node;
        wire->replica[i].is_voter = partition->replica[i].is_voter;
        wire->replica_at[i] = &wire->replica[i];
    }
    wire->group.n_replicas = partition->replica_count;
    wire->group.replicas = wire->replica_at;
}

/* A state without replicas is what an older version would write. */
static void fill_groups(Fanfare__Control__State *wire, struct wire_state *arrays,
                        const struct pmap *map)
{
    wire->level = map->level;
    wire->key_layout = map->key_layout;
    if (map->level < PMAP_LEVEL_REPLICAS) { return; }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        fill_group(&arrays->group[p], &map->partition[p]);
        arrays->group_at[p] = &arrays->group[p].group;
    }
    wire->n_groups = map->partition_count;
    wire->groups = arrays->group_at;
}

static void fill_map(Fanfare__Control__State *wire, struct wire_state *arrays,
                     const struct pmap *map)
{
    fill_members(arrays, map);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        arrays->owner[p] = map->partition[p].owner + 1; /* nobody, the highest number, becomes 0 */
        arrays->previous[p] = map->partition[p].previous + 1;
        arrays->epoch[p] = map->partition[p].epoch;
    }
    wire->version = map->version;
    wire->cluster_id = map->cluster_id;
    wire->n_members = member_count(map);
    wire->members = arrays->member_at;
    wire->n_owners = wire->n_previous = wire->n_epochs = map->partition_count;
    wire->owners = arrays->owner;
    wire->previous = arrays->previous;
    wire->epochs = arrays->epoch;
    fill_groups(wire, arrays, map);
}

void control_save(const struct control *control, struct buf *out)
{
    Fanfare__Control__State wire = FANFARE__CONTROL__STATE__INIT;
    struct wire_state *arrays = mem_new(sizeof *arrays);
    wire.applied = control->applied;
    wire.incarnation_last = control->incarnation_last;
    wire.data_of = control->data_of;
    const struct roster *roster = control->map != NULL ? control->map->roster : NULL;
    if (control->map != NULL) { fill_map(&wire, arrays, control->map); }
    if (roster != NULL) { control_fill_roster(&wire, roster); }
    pack(out, &wire.base);
    if (roster != NULL) { control_free_roster(&wire); }
    mem_free(arrays);
}

/* ---- in ---- */

/* With the library's own allocator a replica that is out of memory would take a good command for a
 * malformed one and differ from the others from then on. */
static void *unpack_alloc(void *arg, size_t bytes)
{
    (void)arg;
    return mem_new(bytes > 0 ? bytes : 1);
}

static void unpack_free(void *arg, void *pointer)
{
    (void)arg;
    mem_free(pointer);
}

static ProtobufCAllocator unpack_memory = {unpack_alloc, unpack_free, NULL};

/* Blanks and control characters would break the lines in which names are shown. */
static bool take_text(char *to, size_t cap, const char *from)
{
    size_t len = strlen(from);
    if (len >= cap) { return false; }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)from[i];
        if (byte <= ' ' || byte == 0x7f) { return false; }
    }
    memcpy(to, from, len + 1);
    return true;
}

static bool take_address(struct pmap_address *to, const Fanfare__Control__Address *wire)
{
    if (wire == NULL || wire->port > UINT16_MAX) { return false; }
    to->port = (uint16_t)wire->port;
    return take_text(to->host, sizeof to->host, wire->host);
}

static bool take_node(struct pmap_node *to, const Fanfare__Control__Node *wire)
{
    return wire != NULL && wire->name[0] != '\0' &&
           take_text(to->name, sizeof to->name, wire->name) &&
           take_text(to->zone, sizeof to->zone, wire->zone) &&
           take_address(&to->client, wire->client) && take_address(&to->peer, wire->peer) &&
           take_address(&to->raft, wire->raft);
}

static void take_assign(struct control_command *out, const Fanfare__Control__Assign *wire)
{
    out->op = CONTROL_ASSIGN;
    out->partition = wire->partition;
    out->epoch = wire->epoch;
    out->node_id = wire->node_id;
    out->incarnation = wire->incarnation;
}

static bool take_command(struct control_command *out, const Fanfare__Control__Command *wire)
{
    switch (wire->body_case) {
    case FANFARE__CONTROL__COMMAND__BODY_CREATE:
        out->op = CONTROL_CREATE;
        out->cluster_id = wire->create->cluster_id;
        out->partition_count = wire->create->partition_count;
        out->level = wire->create->level;
        out->data_of = wire->create->data_of;
        out->key_layout = wire->create->key_layout;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_JOIN:
        out->op = CONTROL_JOIN;
        out->node_id = wire->join->node_id;
        return take_node(&out->node, wire->join->node);
    case FANFARE__CONTROL__COMMAND__BODY_DOWN:
        out->op = CONTROL_DOWN;
        out->node_id = wire->down->node_id;
        out->incarnation = wire->down->incarnation;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_DRAIN:
        out->op = CONTROL_DRAIN;
        out->node_id = wire->drain->node_id;
        out->incarnation = wire->drain->incarnation;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_FORGET:
        out->op = CONTROL_FORGET;
        out->node_id = wire->forget->node_id;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_ASSIGN: take_assign(out, wire->assign); return true;
    case FANFARE__CONTROL__COMMAND__BODY_SET_VOTER:
        out->op = CONTROL_SET_VOTER;
        out->node_id = wire->set_voter->node_id;
        out->is_voter = wire->set_voter->is_voter;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_LEVEL:
        out->op = CONTROL_LEVEL;
        out->level = wire->level->level;
        out->key_layout = wire->level->key_layout;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_ADD_REPLICA:
        out->op = CONTROL_ADD_REPLICA;
        out->partition = wire->add_replica->partition;
        out->change = wire->add_replica->change;
        out->node_id = wire->add_replica->node_id;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_REMOVE_REPLICA:
        out->op = CONTROL_REMOVE_REPLICA;
        out->partition = wire->remove_replica->partition;
        out->change = wire->remove_replica->change;
        out->replica = wire->remove_replica->replica;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_SETTLE:
        out->op = CONTROL_SETTLE;
        out->partition = wire->settle->partition;
        out->change = wire->settle->change;
        return true;
    case FANFARE__CONTROL__COMMAND__BODY_CHANGE_USERS:
        out->op = CONTROL_CHANGE_USERS;
        out->users = control_take_change(wire->change_users);
        return out->users != NULL;
    case FANFARE__CONTROL__COMMAND__BODY__NOT_SET:
    case _FANFARE__CONTROL__COMMAND__BODY__CASE_IS_INT_SIZE: return false;
    }
    return false;
}

bool control_decode(struct slice bytes, struct control_command *out)
{
    Fanfare__Control__Command *wire =
        fanfare__control__command__unpack(&unpack_memory, bytes.len, (const uint8_t *)bytes.data);
    *out = (struct control_command){0};
    bool is_good = wire != NULL && take_command(out, wire);
    fanfare__control__command__free_unpacked(wire, &unpack_memory);
    return is_good;
}

void control_command_fini(struct control_command *command)
{
    roster_change_free(command->users);
    command->users = NULL;
}

static bool take_members(struct pmap *map, const Fanfare__Control__State *wire)
{
    uint32_t next_index = 0;
    for (size_t i = 0; i < wire->n_members; i++) {
        const Fanfare__Control__Member *member = wire->members[i];
        if (member->node_id == 0 || member->index < next_index ||
            member->index >= map->node_count) {
            return false;
        }
        struct pmap_node *node = &map->node[member->index];
        if (!take_node(node, member->node)) { return false; }
        node->id = member->node_id;
        node->incarnation = member->incarnation;
        node->is_up = member->is_up;
        node->is_draining = member->is_draining;
        node->is_voter = member->is_voter;
        next_index = member->index + 1;
    }
    return true;
}

static bool take_groups(struct pmap *map, const Fanfare__Control__State *wire)
{
    map->level = wire->level;
    map->key_layout = wire->key_layout;
    if (wire->n_groups != (map->level >= PMAP_LEVEL_REPLICAS ? map->partition_count : 0)) {
        return false;
    }
    for (size_t p = 0; p < wire->n_groups; p++) {
        const Fanfare__Control__Group *group = wire->groups[p];
        struct pmap_partition *partition = &map->partition[p];
        if (group->n_replicas > PMAP_REPLICAS_MAX) { return false; }
        partition->change = group->change;
        partition->replica_last = group->replica_last;
        partition->is_founded = group->is_founded;
        partition->is_settled = group->is_settled;
        partition->replica_count = (uint32_t)group->n_replicas;
        for (size_t i = 0; i < group->n_replicas; i++) {
            partition->replica[i] = (struct pmap_replica){.id = group->replicas[i]->id,
                                                          .node = group->replicas[i]->node,
                                                          .is_voter = group->replicas[i]->is_voter};
        }
    }
    return true;
}

/* Gives: the map, or NULL if the state cannot be one. */
static struct pmap *take_map(const Fanfare__Control__State *wire)
{
    size_t last = wire->n_members;
    uint32_t node_count = last > 0 ? wire->members[last - 1]->index + 1 : 0;
    if (node_count > PMAP_NODES_MAX || (last > 0 && node_count == 0) ||
        wire->n_owners > PMAP_PARTITIONS_MAX || wire->n_previous != wire->n_owners ||
        wire->n_epochs != wire->n_owners) {
        return NULL;
    }
    struct pmap *map = pmap_new(node_count, (uint32_t)wire->n_owners);
    map->version = wire->version;
    map->cluster_id = wire->cluster_id;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        map->partition[p].owner = wire->owners[p] - 1;
        map->partition[p].previous = wire->previous[p] - 1;
        map->partition[p].epoch = wire->epochs[p];
    }
    map->incarnation_last = wire->incarnation_last;
    if (take_members(map, wire) && take_groups(map, wire) &&
        control_take_roster(&map->roster, wire)) {
        return map;
    }
    pmap_unref(map);
    return NULL;
}

void control_save_users(const struct roster *roster, struct buf *out)
{
    Fanfare__Control__State wire = FANFARE__CONTROL__STATE__INIT;
    control_fill_roster(&wire, roster);
    pack(out, &wire.base);
    control_free_roster(&wire);
}

struct roster *control_load_users(struct slice bytes)
{
    Fanfare__Control__State *wire =
        fanfare__control__state__unpack(&unpack_memory, bytes.len, (const uint8_t *)bytes.data);
    struct roster *roster = NULL;
    bool is_good = wire != NULL && control_take_roster(&roster, wire);
    fanfare__control__state__free_unpacked(wire, &unpack_memory);
    return is_good ? roster : NULL;
}

static bool is_before_create(const Fanfare__Control__State *wire)
{
    return wire->version == 0 && wire->cluster_id == 0 && wire->n_members == 0 &&
           wire->n_owners == 0 && wire->n_previous == 0 && wire->n_epochs == 0 &&
           wire->level == 0 && wire->data_of == 0 && wire->n_groups == 0 && wire->key_layout == 0 &&
           wire->n_users == 0 && wire->users_version == 0 && wire->n_users_done == 0;
}

enum err control_load(struct control *control, struct slice bytes)
{
    Fanfare__Control__State *wire =
        fanfare__control__state__unpack(&unpack_memory, bytes.len, (const uint8_t *)bytes.data);
    if (wire == NULL) { return ERR_CORRUPT; }
    struct control loaded = {.applied = wire->applied,
                             .incarnation_last = wire->incarnation_last,
                             .data_of = wire->data_of};
    if (wire->n_owners > 0) { loaded.map = take_map(wire); }
    bool is_good = (loaded.map != NULL || is_before_create(wire)) && control_is_sound(&loaded);
    fanfare__control__state__free_unpacked(wire, &unpack_memory);
    if (!is_good) {
        pmap_unref(loaded.map);
        return ERR_CORRUPT;
    }
    pmap_unref(control->map);
    *control = loaded;
    return ERR_OK;
}
