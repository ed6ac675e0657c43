/* membership_note: between struct note and the bytes of proto/membership.proto.
 * Owns: nothing. Thread: any. Always: a decoded note is complete and within its limits, its texts are
 * terminated and hold no blanks in names, whatever the bytes are. */
#include "consensus/membership/membership_note.h"

#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"
#include "proto/membership.pb-c.h"

/* ---- out ---- */

/* A discovery's arrays, and the parts of any note. */
struct wire {
    union {
        Fanfare__Membership__Discovery discovery;
        Fanfare__Membership__Release release;
        Fanfare__Membership__Join join;
        Fanfare__Membership__JoinReply join_reply;
        Fanfare__Membership__Ping ping;
        Fanfare__Membership__Echo echo;
        Fanfare__Membership__Suspect suspect;
        Fanfare__Membership__Unserved unserved;
        Fanfare__Membership__Forget forget;
        Fanfare__Membership__ForgetReply forget_reply;
        Fanfare__Membership__Settled settled;
        Fanfare__Membership__ChangeUsers change_users;
        Fanfare__Membership__ChangeUsersReply users_reply;
    };
    Fanfare__Membership__Address raft, leader, client, peer;
    Fanfare__Membership__Address member[PMAP_NODES_MAX];
    Fanfare__Membership__Address *member_at[PMAP_NODES_MAX];
    uint64_t seen[PMAP_NODES_MAX];
    uint32_t partition[NOTE_SETTLED_MAX];
    uint64_t change[NOTE_SETTLED_MAX];
};

/* NULL if there is none. */
static Fanfare__Membership__Address *fill_address(Fanfare__Membership__Address *wire,
                                                  const struct pmap_address *address)
{
    if (address->port == 0) { return NULL; }
    fanfare__membership__address__init(wire);
    wire->host = unconst(address->host);
    wire->port = address->port;
    return wire;
}

static void fill_discovery(Fanfare__Membership__Note *out, struct wire *wire,
                           const struct note *note)
{
    const struct note_discovery *discovery = &note->discovery;
    Fanfare__Membership__Discovery *body = &wire->discovery;
    fanfare__membership__discovery__init(body);
    body->wants_answer = discovery->wants_answer;
    body->expect = discovery->expect;
    body->attempt = discovery->attempt;
    body->is_founding = discovery->is_founding;
    body->promised_to = discovery->promised_to;
    body->promised = discovery->promised;
    memcpy(wire->seen, discovery->seen, discovery->seen_count * sizeof wire->seen[0]);
    body->n_seen = discovery->seen_count;
    body->seen = wire->seen;
    body->leader = fill_address(&wire->leader, &discovery->leader);
    for (uint32_t i = 0; i < discovery->member_count; i++) {
        wire->member_at[i] = fill_address(&wire->member[i], &discovery->member[i]);
        CHECK(wire->member_at[i] != NULL);
    }
    body->n_members = discovery->member_count;
    body->members = wire->member_at;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_DISCOVERY;
    out->discovery = body;
}

static void fill_release(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    fanfare__membership__release__init(&wire->release);
    wire->release.promised = note->release;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_RELEASE;
    out->release = &wire->release;
}

static void fill_join(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    const struct note_join *join = &note->join;
    fanfare__membership__join__init(&wire->join);
    wire->join.boot = join->boot;
    wire->join.challenge = join->challenge;
    wire->join.zone = unconst(join->zone);
    wire->join.client = fill_address(&wire->client, &join->client);
    wire->join.peer = fill_address(&wire->peer, &join->peer);
    wire->join.level = join->level;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_JOIN;
    out->join = &wire->join;
}

static void fill_join_reply(Fanfare__Membership__Note *out, struct wire *wire,
                            const struct note *note)
{
    const struct note_join_reply *reply = &note->join_reply;
    fanfare__membership__join_reply__init(&wire->join_reply);
    wire->join_reply.boot = reply->boot;
    wire->join_reply.is_member = reply->is_member;
    wire->join_reply.incarnation = reply->incarnation;
    wire->join_reply.version = reply->version;
    wire->join_reply.challenge = reply->challenge;
    wire->join_reply.leader = fill_address(&wire->leader, &reply->leader);
    wire->join_reply.refusal = unconst(reply->refusal);
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_JOIN_REPLY;
    out->join_reply = &wire->join_reply;
}

static void fill_ping(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    const struct note_ping *ping = &note->ping;
    fanfare__membership__ping__init(&wire->ping);
    wire->ping.stamp_ms = ping->stamp_ms;
    wire->ping.incarnation = ping->incarnation;
    wire->ping.boot = ping->boot;
    wire->ping.replica = ping->replica;
    wire->ping.replica_last = ping->replica_last;
    wire->ping.version = ping->version;
    wire->ping.warming = ping->warming;
    wire->ping.is_draining = ping->is_draining;
    wire->ping.is_leaving = ping->is_leaving;
    wire->ping.level = ping->level;
    wire->ping.users_version = ping->users_version;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_PING;
    out->ping = &wire->ping;
}

static void fill_echo(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    fanfare__membership__echo__init(&wire->echo);
    wire->echo.stamp_ms = note->echo.stamp_ms;
    wire->echo.incarnation = note->echo.incarnation;
    wire->echo.renew = note->echo.renew;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_ECHO;
    out->echo = &wire->echo;
}

static void fill_suspect(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    fanfare__membership__suspect__init(&wire->suspect);
    wire->suspect.node_id = note->suspect.node_id;
    wire->suspect.incarnation = note->suspect.incarnation;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_SUSPECT;
    out->suspect = &wire->suspect;
}

static void fill_unserved(Fanfare__Membership__Note *out, struct wire *wire,
                          const struct note *note)
{
    fanfare__membership__unserved__init(&wire->unserved);
    wire->unserved.partition = note->unserved.partition;
    wire->unserved.epoch = note->unserved.epoch;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_UNSERVED;
    out->unserved = &wire->unserved;
}

static void fill_forget(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    fanfare__membership__forget__init(&wire->forget);
    wire->forget.request = note->forget.request;
    wire->forget.name = unconst(note->forget.name);
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_FORGET;
    out->forget = &wire->forget;
}

static void fill_forget_reply(Fanfare__Membership__Note *out, struct wire *wire,
                              const struct note *note)
{
    fanfare__membership__forget_reply__init(&wire->forget_reply);
    wire->forget_reply.request = note->forget_reply.request;
    wire->forget_reply.is_over = note->forget_reply.is_over;
    wire->forget_reply.error = unconst(note->forget_reply.error);
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_FORGET_REPLY;
    out->forget_reply = &wire->forget_reply;
}

static void fill_settled(Fanfare__Membership__Note *out, struct wire *wire, const struct note *note)
{
    const struct note_settled *settled = &note->settled;
    CHECK(settled->count <= NOTE_SETTLED_MAX);
    fanfare__membership__settled__init(&wire->settled);
    for (uint32_t i = 0; i < settled->count; i++) {
        wire->partition[i] = settled->at[i].partition;
        wire->change[i] = settled->at[i].change;
    }
    wire->settled.n_partitions = wire->settled.n_changes = settled->count;
    wire->settled.partitions = wire->partition;
    wire->settled.changes = wire->change;
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_SETTLED;
    out->settled = &wire->settled;
}

static void fill_change_users(Fanfare__Membership__Note *out, struct wire *wire,
                              const struct note *note)
{
    const struct slice command = note->change_users.command;
    fanfare__membership__change_users__init(&wire->change_users);
    wire->change_users.term = note->change_users.term;
    wire->change_users.command =
        (ProtobufCBinaryData){.len = command.len, .data = unconst(command.data)};
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_CHANGE_USERS;
    out->change_users = &wire->change_users;
}

static void fill_users_reply(Fanfare__Membership__Note *out, struct wire *wire,
                             const struct note *note)
{
    fanfare__membership__change_users_reply__init(&wire->users_reply);
    wire->users_reply.id = note->users_reply.id;
    wire->users_reply.outcome = note->users_reply.outcome;
    wire->users_reply.version = note->users_reply.version;
    wire->users_reply.text = unconst(note->users_reply.text);
    out->body_case = FANFARE__MEMBERSHIP__NOTE__BODY_CHANGE_USERS_REPLY;
    out->change_users_reply = &wire->users_reply;
}

static void (*const fill_of[])(Fanfare__Membership__Note *, struct wire *, const struct note *) = {
    [NOTE_DISCOVERY] = fill_discovery,
    [NOTE_RELEASE] = fill_release,
    [NOTE_JOIN] = fill_join,
    [NOTE_JOIN_REPLY] = fill_join_reply,
    [NOTE_PING] = fill_ping,
    [NOTE_ECHO] = fill_echo,
    [NOTE_SUSPECT] = fill_suspect,
    [NOTE_UNSERVED] = fill_unserved,
    [NOTE_FORGET] = fill_forget,
    [NOTE_FORGET_REPLY] = fill_forget_reply,
    [NOTE_SETTLED] = fill_settled,
    [NOTE_CHANGE_USERS] = fill_change_users,
    [NOTE_USERS_REPLY] = fill_users_reply,
};

void note_encode(struct buf *out, const struct note *note)
{
    CHECK(note->kind != NOTE_NONE && note->kind < COUNT_OF(fill_of));
    Fanfare__Membership__Note head;
    struct wire wire;
    fanfare__membership__note__init(&head);
    head.cluster_id = note->cluster_id;
    head.node_id = note->node_id;
    head.name = unconst(note->name);
    head.raft = fill_address(&wire.raft, &note->raft);
    fill_of[note->kind](&head, &wire, note);
    size_t bytes = fanfare__membership__note__get_packed_size(&head);
    out->len += fanfare__membership__note__pack(&head, (uint8_t *)buf_reserve(out, bytes));
}

/* ---- in ---- */

static void *take_memory(void *arg, size_t bytes)
{
    (void)arg;
    return mem_new(bytes > 0 ? bytes : 1);
}

static void give_memory(void *arg, void *pointer)
{
    (void)arg;
    mem_free(pointer);
}

/* Copy a text that fits. */
static bool take_text(const char *from, char *to, size_t bytes_max)
{
    size_t len = strlen(from);
    if (len >= bytes_max) { return false; }
    memcpy(to, from, len + 1);
    return true;
}

/* The same for names and hosts: no blanks, no control characters. */
static bool take_word(const char *from, char *to, size_t bytes_max)
{
    for (const char *p = from; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f) { return false; }
    }
    return take_text(from, to, bytes_max);
}

static bool take_address(const Fanfare__Membership__Address *wire, struct pmap_address *out)
{
    if (wire == NULL) { return true; }
    out->port = (uint16_t)wire->port;
    return wire->port > 0 && wire->port <= UINT16_MAX && wire->host[0] != '\0' &&
           take_word(wire->host, out->host, sizeof out->host);
}

static bool take_discovery(const Fanfare__Membership__Discovery *wire, struct note_discovery *out)
{
    if (wire->n_seen > PMAP_NODES_MAX || wire->n_members > PMAP_NODES_MAX) { return false; }
    out->wants_answer = wire->wants_answer;
    out->expect = wire->expect;
    out->attempt = wire->attempt;
    out->is_founding = wire->is_founding;
    out->promised_to = wire->promised_to;
    out->promised = wire->promised;
    out->seen_count = (uint32_t)wire->n_seen;
    for (size_t i = 0; i < wire->n_seen; i++) {
        out->seen[i] = wire->seen[i];
    }
    out->member_count = (uint32_t)wire->n_members;
    for (size_t i = 0; i < wire->n_members; i++) {
        if (!take_address(wire->members[i], &out->member[i])) { return false; }
    }
    return take_address(wire->leader, &out->leader);
}

static bool take_join(const Fanfare__Membership__Join *wire, struct note_join *out)
{
    out->boot = wire->boot;
    out->challenge = wire->challenge;
    out->level = wire->level;
    return wire->boot != 0 && wire->client != NULL && wire->peer != NULL &&
           take_word(wire->zone, out->zone, sizeof out->zone) &&
           take_address(wire->client, &out->client) && take_address(wire->peer, &out->peer);
}

static bool take_join_reply(const Fanfare__Membership__JoinReply *wire, struct note_join_reply *out)
{
    out->boot = wire->boot;
    out->is_member = wire->is_member;
    out->incarnation = wire->incarnation;
    out->version = wire->version;
    out->challenge = wire->challenge;
    return (!wire->is_member || wire->incarnation != 0) &&
           take_address(wire->leader, &out->leader) &&
           take_text(wire->refusal, out->refusal, sizeof out->refusal);
}

static void take_ping(const Fanfare__Membership__Ping *wire, struct note_ping *out)
{
    out->stamp_ms = wire->stamp_ms;
    out->incarnation = wire->incarnation;
    out->boot = wire->boot;
    out->replica = wire->replica;
    out->replica_last = wire->replica_last;
    out->version = wire->version;
    out->warming = wire->warming;
    out->is_draining = wire->is_draining;
    out->is_leaving = wire->is_leaving;
    out->level = wire->level;
    out->users_version = wire->users_version;
}

static bool take_users_reply(const Fanfare__Membership__ChangeUsersReply *wire,
                             struct note_users_reply *out)
{
    out->id = wire->id;
    out->outcome = wire->outcome;
    out->version = wire->version;
    return take_text(wire->text, out->text, sizeof out->text);
}

static bool take_settled(const Fanfare__Membership__Settled *wire, struct note_settled *out)
{
    if (wire->n_partitions > NOTE_SETTLED_MAX || wire->n_changes != wire->n_partitions) {
        return false;
    }
    out->count = (uint32_t)wire->n_partitions;
    for (uint32_t i = 0; i < out->count; i++) {
        out->at[i] = (struct pmap_settled){wire->partitions[i], wire->changes[i]};
    }
    return true;
}

static bool take_body(const Fanfare__Membership__Note *wire, struct note *out)
{
    switch (wire->body_case) {
    case FANFARE__MEMBERSHIP__NOTE__BODY_DISCOVERY:
        out->kind = NOTE_DISCOVERY;
        return take_discovery(wire->discovery, &out->discovery);
    case FANFARE__MEMBERSHIP__NOTE__BODY_RELEASE:
        out->kind = NOTE_RELEASE;
        out->release = wire->release->promised;
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_JOIN:
        out->kind = NOTE_JOIN;
        return out->raft.port != 0 && take_join(wire->join, &out->join);
    case FANFARE__MEMBERSHIP__NOTE__BODY_JOIN_REPLY:
        out->kind = NOTE_JOIN_REPLY;
        return take_join_reply(wire->join_reply, &out->join_reply);
    case FANFARE__MEMBERSHIP__NOTE__BODY_PING:
        out->kind = NOTE_PING;
        take_ping(wire->ping, &out->ping);
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_ECHO:
        out->kind = NOTE_ECHO;
        out->echo =
            (struct note_echo){wire->echo->stamp_ms, wire->echo->incarnation, wire->echo->renew};
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_SUSPECT:
        out->kind = NOTE_SUSPECT;
        out->suspect = (struct note_suspect){wire->suspect->node_id, wire->suspect->incarnation};
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_UNSERVED:
        out->kind = NOTE_UNSERVED;
        out->unserved = (struct note_unserved){wire->unserved->partition, wire->unserved->epoch};
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_FORGET:
        out->kind = NOTE_FORGET;
        out->forget.request = wire->forget->request;
        return take_word(wire->forget->name, out->forget.name, sizeof out->forget.name);
    case FANFARE__MEMBERSHIP__NOTE__BODY_FORGET_REPLY:
        out->kind = NOTE_FORGET_REPLY;
        out->forget_reply.request = wire->forget_reply->request;
        out->forget_reply.is_over = wire->forget_reply->is_over;
        return take_text(wire->forget_reply->error, out->forget_reply.error,
                         sizeof out->forget_reply.error);
    case FANFARE__MEMBERSHIP__NOTE__BODY_SETTLED:
        out->kind = NOTE_SETTLED;
        return take_settled(wire->settled, &out->settled);
    case FANFARE__MEMBERSHIP__NOTE__BODY_CHANGE_USERS:
        out->kind = NOTE_CHANGE_USERS;
        out->change_users.term = wire->change_users->term;
        out->change_users.command =
            slice_of(mem_copy(wire->change_users->command.data, wire->change_users->command.len),
                     wire->change_users->command.len);
        return true;
    case FANFARE__MEMBERSHIP__NOTE__BODY_CHANGE_USERS_REPLY:
        out->kind = NOTE_USERS_REPLY;
        return take_users_reply(wire->change_users_reply, &out->users_reply);
    case FANFARE__MEMBERSHIP__NOTE__BODY__NOT_SET:
    case _FANFARE__MEMBERSHIP__NOTE__BODY__CASE_IS_INT_SIZE: break;
    }
    return true; /* of a newer version */
}

bool note_decode(struct slice bytes, struct note *out)
{
    ProtobufCAllocator allocator = {take_memory, give_memory, NULL};
    Fanfare__Membership__Note *wire =
        fanfare__membership__note__unpack(&allocator, bytes.len, (const uint8_t *)bytes.data);
    *out = (struct note){0};
    if (wire == NULL) { return false; }
    out->cluster_id = wire->cluster_id;
    out->node_id = wire->node_id;
    bool ok = wire->node_id != 0 && wire->name[0] != '\0' &&
              take_word(wire->name, out->name, sizeof out->name) &&
              take_address(wire->raft, &out->raft) && take_body(wire, out);
    fanfare__membership__note__free_unpacked(wire, &allocator);
    return ok;
}

bool note_is_of(struct slice bytes, const char *node_name)
{
    struct note note;
    bool is_its = note_decode(bytes, &note) && strcmp(note.name, node_name) == 0;
    note_fini(&note);
    return is_its;
}

void note_fini(struct note *note)
{
    if (note->kind != NOTE_CHANGE_USERS) { return; }
    mem_free(unconst(note->change_users.command.data));
    note->kind = NOTE_NONE;
}
