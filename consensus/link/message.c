/* message: between struct message and the bytes of proto/raft.proto.
 * Owns: nothing. Thread: any. Always: a decoded message is complete and within its limits, whatever
 * the bytes are. */
#include "consensus/link/message.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/unconst.h"
#include "consensus/link/beats_int.h"

enum {
    FIRST_BYTES = 16384
}; /* of a frame on its way in or out, on the stack: all that most need */

/* ---- out ---- */

static void pack(struct buf *out, Fanfare__Raft__Frame *frame)
{
    size_t bytes = fanfare__raft__frame__get_packed_size(frame);
    out->len += fanfare__raft__frame__pack(frame, (uint8_t *)buf_reserve(out, bytes));
}

static void pack_message(struct buf *out, Fanfare__Raft__Message *wire)
{
    Fanfare__Raft__Frame frame = FANFARE__RAFT__FRAME__INIT;
    frame.n_messages = 1;
    frame.messages = &wire;
    pack(out, &frame);
}

/* protobuf-c wants pointers to bytes that it will not write. */
static ProtobufCBinaryData binary(struct slice s)
{
    union {
        const char *in;
        uint8_t *out;
    } bytes = {s.data};
    return (ProtobufCBinaryData){s.len, bytes.out};
}

static void encode_append(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    const struct raft_append_entries *a = &m->raft.append_entries;
    CHECK(a->n_entries <= MESSAGE_ENTRIES_MAX);
    Fanfare__Raft__Append body = FANFARE__RAFT__APPEND__INIT;
    _Alignas(ARENA_ALIGN) char first[FIRST_BYTES];
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    Fanfare__Raft__Entry *entries = arena_alloc(&arena, a->n_entries * sizeof *entries);
    Fanfare__Raft__Entry **pointers = arena_alloc(&arena, a->n_entries * sizeof *pointers);
    for (unsigned i = 0; i < a->n_entries; i++) {
        fanfare__raft__entry__init(&entries[i]);
        entries[i].term = a->entries[i].term;
        entries[i].type = a->entries[i].type;
        entries[i].data = binary(slice_of(a->entries[i].buf.base, a->entries[i].buf.len));
        pointers[i] = &entries[i];
    }
    body.term = a->term;
    body.prev_index = a->prev_log_index;
    body.prev_term = a->prev_log_term;
    body.commit = a->leader_commit;
    body.stamp_ms = m->stamp_ms;
    body.n_entries = a->n_entries;
    body.entries = pointers;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_APPEND;
    wire->append = &body;
    pack_message(out, wire);
    arena_reset(&arena);
}

static void encode_vote(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    const struct raft_request_vote *v = &m->raft.request_vote;
    Fanfare__Raft__VoteRequest body = FANFARE__RAFT__VOTE_REQUEST__INIT;
    body.term = v->term;
    body.last_index = v->last_log_index;
    body.last_term = v->last_log_term;
    body.disrupt_leader = v->disrupt_leader;
    body.pre_vote = v->pre_vote;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_VOTE_REQUEST;
    wire->vote_request = &body;
    pack_message(out, wire);
}

static void encode_vote_reply(struct buf *out, Fanfare__Raft__Message *wire,
                              const struct message *m)
{
    const struct raft_request_vote_result *v = &m->raft.request_vote_result;
    Fanfare__Raft__VoteReply body = FANFARE__RAFT__VOTE_REPLY__INIT;
    body.term = v->term;
    body.granted = v->vote_granted;
    body.pre_vote = v->pre_vote;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_VOTE_REPLY;
    wire->vote_reply = &body;
    pack_message(out, wire);
}

static void encode_append_reply(struct buf *out, Fanfare__Raft__Message *wire,
                                const struct message *m)
{
    const struct raft_append_entries_result *a = &m->raft.append_entries_result;
    Fanfare__Raft__AppendReply body = FANFARE__RAFT__APPEND_REPLY__INIT;
    body.term = a->term;
    body.rejected = a->rejected;
    body.last_index = a->last_log_index;
    body.stamp_ms = m->stamp_ms;
    body.is_ailing = m->is_ailing;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_APPEND_REPLY;
    wire->append_reply = &body;
    pack_message(out, wire);
}

static void encode_timeout_now(struct buf *out, Fanfare__Raft__Message *wire,
                               const struct message *m)
{
    Fanfare__Raft__TimeoutNow body = FANFARE__RAFT__TIMEOUT_NOW__INIT;
    body.term = m->raft.timeout_now.term;
    body.last_index = m->raft.timeout_now.last_log_index;
    body.last_term = m->raft.timeout_now.last_log_term;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_TIMEOUT_NOW;
    wire->timeout_now = &body;
    pack_message(out, wire);
}

static void encode_raft(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    switch (m->raft.type) {
    case RAFT_APPEND_ENTRIES: encode_append(out, wire, m); return;
    case RAFT_APPEND_ENTRIES_RESULT: encode_append_reply(out, wire, m); return;
    case RAFT_REQUEST_VOTE: encode_vote(out, wire, m); return;
    case RAFT_REQUEST_VOTE_RESULT: encode_vote_reply(out, wire, m); return;
    case RAFT_TIMEOUT_NOW: encode_timeout_now(out, wire, m); return;
    case RAFT_INSTALL_SNAPSHOT: /* sent as an offer */ break;
    }
    UNREACHABLE();
}

static void encode_offer(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    Fanfare__Raft__SnapshotOffer body = FANFARE__RAFT__SNAPSHOT_OFFER__INIT;
    body.term = m->term;
    body.index = m->manifest.index;
    body.index_term = m->manifest.term;
    body.conf_index = m->manifest.conf_index;
    body.conf = binary(buf_slice(&m->manifest.conf));
    body.bytes = m->manifest.bytes;
    body.crc = m->manifest.crc;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_OFFER;
    wire->snapshot_offer = &body;
    pack_message(out, wire);
}

static void encode_pull(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    Fanfare__Raft__SnapshotPull body = FANFARE__RAFT__SNAPSHOT_PULL__INIT;
    body.index = m->index;
    body.offset = m->offset;
    body.snapshot_crc = m->snapshot_crc;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_PULL;
    wire->snapshot_pull = &body;
    pack_message(out, wire);
}

static void encode_chunk(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    Fanfare__Raft__SnapshotChunk body = FANFARE__RAFT__SNAPSHOT_CHUNK__INIT;
    body.index = m->index;
    body.offset = m->offset;
    body.data = binary(m->data);
    body.crc = m->crc;
    body.snapshot_crc = m->snapshot_crc;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_CHUNK;
    wire->snapshot_chunk = &body;
    pack_message(out, wire);
}

static void encode_damaged(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    Fanfare__Raft__SnapshotDamaged body = FANFARE__RAFT__SNAPSHOT_DAMAGED__INIT;
    body.index = m->index;
    body.snapshot_crc = m->snapshot_crc;
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_DAMAGED;
    wire->snapshot_damaged = &body;
    pack_message(out, wire);
}

static void encode_terms(struct buf *out, Fanfare__Raft__Message *wire, const struct message *m)
{
    CHECK(m->group_count <= MESSAGE_GROUPS_MAX);
    if (m->kind == MESSAGE_TERM_QUERY) {
        Fanfare__Raft__TermQuery body = FANFARE__RAFT__TERM_QUERY__INIT;
        body.round = m->round;
        body.n_groups = m->group_count;
        body.groups = unconst(m->groups);
        wire->body_case = FANFARE__RAFT__MESSAGE__BODY_TERM_QUERY;
        wire->term_query = &body;
        pack_message(out, wire);
        return;
    }
    Fanfare__Raft__TermReply body = FANFARE__RAFT__TERM_REPLY__INIT;
    body.round = m->round;
    body.n_groups = m->group_count;
    body.groups = unconst(m->groups);
    body.n_terms = m->group_count;
    body.terms = unconst(m->terms);
    body.n_replicas = m->group_count;
    body.replicas = unconst(m->replicas);
    wire->body_case = FANFARE__RAFT__MESSAGE__BODY_TERM_REPLY;
    wire->term_reply = &body;
    pack_message(out, wire);
}

void message_encode(struct buf *out, const struct message *m)
{
    Fanfare__Raft__Message wire = FANFARE__RAFT__MESSAGE__INIT;
    wire.group = m->group;
    wire.from = m->from;
    wire.to = m->to;
    switch (m->kind) {
    case MESSAGE_RAFT: encode_raft(out, &wire, m); return;
    case MESSAGE_SNAPSHOT_OFFER: encode_offer(out, &wire, m); return;
    case MESSAGE_SNAPSHOT_PULL: encode_pull(out, &wire, m); return;
    case MESSAGE_SNAPSHOT_CHUNK: encode_chunk(out, &wire, m); return;
    case MESSAGE_SNAPSHOT_DAMAGED: encode_damaged(out, &wire, m); return;
    case MESSAGE_TERM_QUERY:
    case MESSAGE_TERM_REPLY: encode_terms(out, &wire, m); return;
    case MESSAGE_NONE: break;
    }
    UNREACHABLE();
}

void hello_encode(struct buf *out, const struct hello *hello)
{
    union {
        const char *in;
        char *out;
    } name = {hello->node_name}, to = {hello->to_name};
    Fanfare__Raft__Frame frame = FANFARE__RAFT__FRAME__INIT;
    Fanfare__Raft__Hello wire;
    fanfare__raft__hello__init(&wire);
    wire.cluster_id = hello->cluster_id;
    wire.node_id = hello->node_id;
    wire.node_name = name.out;
    wire.version = hello->version;
    wire.is_bulk = hello->is_bulk;
    wire.is_contact = hello->is_contact;
    wire.to_name = to.out;
    frame.hello = &wire;
    pack(out, &frame);
}

void note_frame_encode(struct buf *out, struct slice note)
{
    Fanfare__Raft__Frame frame = FANFARE__RAFT__FRAME__INIT;
    ProtobufCBinaryData wire = binary(note);
    frame.n_notes = 1;
    frame.notes = &wire;
    pack(out, &frame);
}

/* ---- in ---- */

static struct slice view(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

static bool decode_append(const Fanfare__Raft__Append *wire, struct message *m, struct arena *arena)
{
    if (wire->n_entries > MESSAGE_ENTRIES_MAX || wire->term == 0 ||
        (wire->prev_index == 0) != (wire->prev_term == 0)) {
        return false;
    }
    struct raft_append_entries *a = &m->raft.append_entries;
    m->raft.type = RAFT_APPEND_ENTRIES;
    m->stamp_ms = wire->stamp_ms;
    a->term = wire->term;
    a->prev_log_index = wire->prev_index;
    a->prev_log_term = wire->prev_term;
    a->leader_commit = wire->commit;
    a->n_entries = (unsigned)wire->n_entries;
    a->entries = arena_alloc(arena, wire->n_entries * sizeof *a->entries);
    for (size_t i = 0; i < wire->n_entries; i++) {
        const Fanfare__Raft__Entry *e = wire->entries[i];
        bool known = e->type == RAFT_COMMAND || e->type == RAFT_BARRIER || e->type == RAFT_CHANGE;
        if (!known || e->term == 0 || e->term > wire->term ||
            e->data.len > WAL_CONTENT_BYTES_MAX / 2) {
            return false;
        }
        a->entries[i] = (struct raft_entry){
            .term = e->term, .type = e->type, .buf = {e->data.data, e->data.len}};
    }
    return true;
}

static bool decode_offer(const Fanfare__Raft__SnapshotOffer *wire, struct message *m)
{
    m->kind = MESSAGE_SNAPSHOT_OFFER;
    m->term = wire->term;
    m->manifest = (struct manifest){
        .index = wire->index,
        .term = wire->index_term,
        .conf_index = wire->conf_index,
        .bytes = wire->bytes,
        .crc = wire->crc,
        .conf = {(char *)wire->conf.data, wire->conf.len, 0},
    };
    return wire->term > 0 && wire->index > 0 && wire->index_term > 0 && wire->conf_index > 0 &&
           wire->conf_index <= wire->index && wire->conf.len > 0 &&
           wire->conf.len <= WAL_CONF_BYTES_MAX;
}

static bool decode_terms(const Fanfare__Raft__Message *wire, struct message *m)
{
    if (wire->body_case == FANFARE__RAFT__MESSAGE__BODY_TERM_QUERY) {
        m->kind = MESSAGE_TERM_QUERY;
        m->round = wire->term_query->round;
        m->group_count = wire->term_query->n_groups;
        m->groups = wire->term_query->groups;
        return m->group_count <= MESSAGE_GROUPS_MAX;
    }
    const Fanfare__Raft__TermReply *reply = wire->term_reply;
    m->kind = MESSAGE_TERM_REPLY;
    m->round = reply->round;
    m->group_count = reply->n_groups;
    m->groups = reply->groups;
    m->terms = reply->terms;
    m->replicas = reply->replicas;
    return m->group_count <= MESSAGE_GROUPS_MAX && reply->n_terms == reply->n_groups &&
           reply->n_replicas == reply->n_groups;
}

static bool decode_vote(const Fanfare__Raft__VoteRequest *v, struct message *m)
{
    m->raft.type = RAFT_REQUEST_VOTE;
    m->raft.request_vote = (struct raft_request_vote){
        .version = 2,
        .term = v->term,
        .candidate_id = m->from,
        .last_log_index = v->last_index,
        .last_log_term = v->last_term,
        .disrupt_leader = v->disrupt_leader,
        .pre_vote = v->pre_vote,
    };
    return v->term > 0;
}

static bool decode_vote_reply(const Fanfare__Raft__VoteReply *v, struct message *m)
{
    m->raft.type = RAFT_REQUEST_VOTE_RESULT;
    m->raft.request_vote_result = (struct raft_request_vote_result){
        .version = 2, .term = v->term, .vote_granted = v->granted, .pre_vote = v->pre_vote};
    return v->term > 0;
}

static bool decode_append_reply(const Fanfare__Raft__AppendReply *a, struct message *m)
{
    m->raft.type = RAFT_APPEND_ENTRIES_RESULT;
    m->stamp_ms = a->stamp_ms;
    m->is_ailing = a->is_ailing;
    m->raft.append_entries_result = (struct raft_append_entries_result){
        .version = 1, .term = a->term, .rejected = a->rejected, .last_log_index = a->last_index};
    return a->term > 0;
}

static bool decode_body(const Fanfare__Raft__Message *wire, struct message *m, struct arena *arena)
{
    m->kind = MESSAGE_RAFT;
    switch (wire->body_case) {
    case FANFARE__RAFT__MESSAGE__BODY_VOTE_REQUEST: return decode_vote(wire->vote_request, m);
    case FANFARE__RAFT__MESSAGE__BODY_VOTE_REPLY: return decode_vote_reply(wire->vote_reply, m);
    case FANFARE__RAFT__MESSAGE__BODY_APPEND: return decode_append(wire->append, m, arena);
    case FANFARE__RAFT__MESSAGE__BODY_APPEND_REPLY:
        return decode_append_reply(wire->append_reply, m);
    case FANFARE__RAFT__MESSAGE__BODY_TIMEOUT_NOW:
        m->raft.type = RAFT_TIMEOUT_NOW;
        m->raft.timeout_now = (struct raft_timeout_now){
            .term = wire->timeout_now->term,
            .last_log_index = wire->timeout_now->last_index,
            .last_log_term = wire->timeout_now->last_term,
        };
        return wire->timeout_now->term > 0;
    case FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_OFFER: return decode_offer(wire->snapshot_offer, m);
    case FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_PULL:
        m->kind = MESSAGE_SNAPSHOT_PULL;
        m->index = wire->snapshot_pull->index;
        m->offset = wire->snapshot_pull->offset;
        m->snapshot_crc = wire->snapshot_pull->snapshot_crc;
        return true;
    case FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_CHUNK:
        m->kind = MESSAGE_SNAPSHOT_CHUNK;
        m->index = wire->snapshot_chunk->index;
        m->offset = wire->snapshot_chunk->offset;
        m->data = view(wire->snapshot_chunk->data);
        m->crc = wire->snapshot_chunk->crc;
        m->snapshot_crc = wire->snapshot_chunk->snapshot_crc;
        return true;
    case FANFARE__RAFT__MESSAGE__BODY_SNAPSHOT_DAMAGED:
        m->kind = MESSAGE_SNAPSHOT_DAMAGED;
        m->index = wire->snapshot_damaged->index;
        m->snapshot_crc = wire->snapshot_damaged->snapshot_crc;
        return true;
    case FANFARE__RAFT__MESSAGE__BODY_TERM_QUERY:
    case FANFARE__RAFT__MESSAGE__BODY_TERM_REPLY: return decode_terms(wire, m);
    case FANFARE__RAFT__MESSAGE__BODY_BEATS: /* are many: hand_over_one */
    case FANFARE__RAFT__MESSAGE__BODY__NOT_SET:
    case _FANFARE__RAFT__MESSAGE__BODY__CASE_IS_INT_SIZE: m->kind = MESSAGE_NONE; return true;
    }
    return false;
}

/* A message between replicas names its group and both of them. */
static bool has_ends(const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_RAFT:
    case MESSAGE_SNAPSHOT_OFFER:
    case MESSAGE_SNAPSHOT_PULL:
    case MESSAGE_SNAPSHOT_CHUNK:
    case MESSAGE_SNAPSHOT_DAMAGED: return m->group != 0 && m->from != 0 && m->to != 0;
    case MESSAGE_TERM_QUERY:
    case MESSAGE_TERM_REPLY:
    case MESSAGE_NONE: return true;
    }
    UNREACHABLE();
}

static bool hand_over_one(const Fanfare__Raft__Message *wire, struct arena *arena,
                          const struct message_handler *handler, void *arg)
{
    if (wire->body_case == FANFARE__RAFT__MESSAGE__BODY_BEATS) {
        return beats_decode(wire->beats, handler, arg);
    }
    struct message message = {.group = wire->group, .from = wire->from, .to = wire->to};
    if (!decode_body(wire, &message, arena) || !has_ends(&message)) { return false; }
    if (message.kind != MESSAGE_NONE) { handler->on_message(arg, &message); }
    return true;
}

static enum err hand_over(const Fanfare__Raft__Frame *frame, struct arena *arena,
                          const struct message_handler *handler, void *arg)
{
    if (frame->hello != NULL) {
        const Fanfare__Raft__Hello *h = frame->hello;
        if (handler->on_hello == NULL) { return ERR_INVALID; }
        struct hello hello = {h->cluster_id, h->node_id,    h->node_name, h->version,
                              h->is_bulk,    h->is_contact, h->to_name};
        handler->on_hello(arg, &hello);
    }
    if ((frame->n_messages > 0 && handler->on_message == NULL) ||
        (frame->n_notes > 0 && handler->on_note == NULL)) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < frame->n_messages; i++) {
        if (!hand_over_one(frame->messages[i], arena, handler, arg)) { return ERR_INVALID; }
    }
    for (size_t i = 0; i < frame->n_notes; i++) {
        handler->on_note(arg, view(frame->notes[i]));
    }
    return ERR_OK;
}

enum err message_decode(struct slice bytes, const struct message_handler *handler, void *arg)
{
    _Alignas(ARENA_ALIGN) char first[FIRST_BYTES];
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    ProtobufCAllocator allocator = {arena_alloc, arena_ignore, &arena};
    Fanfare__Raft__Frame *frame =
        fanfare__raft__frame__unpack(&allocator, bytes.len, (const uint8_t *)bytes.data);
    enum err err = frame != NULL ? hand_over(frame, &arena, handler, arg) : ERR_INVALID;
    arena_reset(&arena);
    return err;
}
