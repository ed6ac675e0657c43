/* beats: see beats.h and proto/raft.proto.
 * Owns: nothing. Thread: any. Always: who reads them finds the messages that they stand for. */
#include "consensus/link/beats.h"

#include "consensus/link/beats_int.h"

/* A list of the message on the wire for each word of a beat. */
enum { BEAT_WORDS = sizeof(struct beat) / sizeof(uint64_t) };

static void set_lists(Fanfare__Raft__Beats *body, uint64_t (*lists)[BEATS_MAX], size_t count)
{
    body->n_groups = body->n_from = body->n_to = body->n_terms = body->n_indexes = count;
    body->n_index_terms = body->is_reply ? 0 : count;
    body->groups = lists[0];
    body->from = lists[1];
    body->to = lists[2];
    body->terms = lists[3];
    body->indexes = lists[4];
    body->index_terms = lists[5];
    body->n_stamps_ms = body->is_reply ? count : 0;
    body->stamps_ms = lists[6];
}

void beats_encode(struct buf *out, const struct beats *beats)
{
    CHECK(beats->count > 0 && beats->count <= BEATS_MAX);
    uint64_t lists[BEAT_WORDS][BEATS_MAX];
    for (size_t i = 0; i < beats->count; i++) {
        const struct beat *beat = &beats->list[i];
        lists[0][i] = beat->group;
        lists[1][i] = beat->from;
        lists[2][i] = beat->to;
        lists[3][i] = beat->term;
        lists[4][i] = beat->index;
        lists[5][i] = beat->index_term;
        lists[6][i] = beat->stamp_ms;
    }
    Fanfare__Raft__Beats body = FANFARE__RAFT__BEATS__INIT;
    body.is_reply = beats->is_reply;
    body.is_ailing = beats->is_ailing;
    body.stamp_ms = beats->stamp_ms;
    set_lists(&body, lists, beats->count);
    Fanfare__Raft__Message wire = FANFARE__RAFT__MESSAGE__INIT;
    wire.body_case = FANFARE__RAFT__MESSAGE__BODY_BEATS;
    wire.beats = &body;
    Fanfare__Raft__Message *messages[] = {&wire};
    Fanfare__Raft__Frame frame = FANFARE__RAFT__FRAME__INIT;
    frame.n_messages = 1;
    frame.messages = messages;
    size_t bytes = fanfare__raft__frame__get_packed_size(&frame);
    out->len += fanfare__raft__frame__pack(&frame, (uint8_t *)buf_reserve(out, bytes));
}

static bool has_lists(const Fanfare__Raft__Beats *wire)
{
    size_t count = wire->n_groups;
    return count <= BEATS_MAX && wire->n_from == count && wire->n_to == count &&
           wire->n_terms == count && wire->n_indexes == count &&
           wire->n_index_terms == (wire->is_reply ? 0 : count) &&
           wire->n_stamps_ms == (wire->is_reply ? count : 0);
}

static bool decode_one(const Fanfare__Raft__Beats *wire, size_t i, struct message *m)
{
    m->group = wire->groups[i];
    m->from = wire->from[i];
    m->to = wire->to[i];
    bool is_whole =
        m->group != 0 && m->from != 0 && m->to != 0 && wire->terms[i] != 0 && wire->indexes[i] != 0;
    if (wire->is_reply) {
        m->raft.append_entries_result.term = wire->terms[i];
        m->raft.append_entries_result.last_log_index = wire->indexes[i];
        m->stamp_ms = wire->stamps_ms[i];
        return is_whole;
    }
    m->raft.append_entries.term = wire->terms[i];
    m->raft.append_entries.prev_log_index = wire->indexes[i];
    m->raft.append_entries.prev_log_term = wire->index_terms[i];
    m->raft.append_entries.leader_commit = wire->indexes[i];
    return is_whole && wire->index_terms[i] != 0;
}

bool beats_decode(const Fanfare__Raft__Beats *wire, const struct message_handler *handler,
                  void *arg)
{
    if (!has_lists(wire)) { return false; }
    struct message m = {.kind = MESSAGE_RAFT, .stamp_ms = wire->stamp_ms};
    if (wire->is_reply) {
        m.is_ailing = wire->is_ailing;
        m.raft.type = RAFT_APPEND_ENTRIES_RESULT;
        m.raft.append_entries_result.version = 1;
    } else {
        m.raft.type = RAFT_APPEND_ENTRIES;
    }
    for (size_t i = 0; i < wire->n_groups; i++) {
        if (!decode_one(wire, i, &m)) { return false; }
        handler->on_message(arg, &m);
    }
    return true;
}
