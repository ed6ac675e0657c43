/* group_out: messages of a group on their way out: what they wait for, and their entries.
 * Owns: the queue of messages. Thread: the raft thread.
 * Always: a message leaves when its gate is durable, in the order made; only one whose entries must
 * be read from the disk lets others pass. */
#include "base/mem.h"
#include "consensus/group.h"
#include "consensus/group_int.h"
#include "consensus/guards.h"
#include "consensus/snapshot.h"

enum { READING_MAX = 64 }; /* messages that wait for entries from the disk */

static void out_free(struct group_out *out)
{
    buf_fini(&out->frame);
    mem_free(out->to_name);
    mem_free(out);
}

static struct group_out *out_new(struct group *g, const char *to_name, uint64_t gate)
{
    struct group_out *out = mem_new0(sizeof *out);
    out->to_name = mem_copy(to_name, strlen(to_name) + 1);
    out->gate = gate;
    const struct list *last = g->out.prev;
    if (last != &g->out) { /* gates never fall: order is kept */
        uint64_t before = CONTAINER_OF(g->out.prev, struct group_out, link)->gate;
        out->gate = gate > before ? gate : before;
    }
    return out;
}

void group_send(struct group *g, uint64_t to, const char *to_name, struct message *message,
                uint64_t gate)
{
    struct group_out *out = out_new(g, to_name, gate);
    message->group = g->id;
    message->from = g->self;
    message->to = to;
    message_encode(&out->frame, message);
    list_push_back(&g->out, &out->link);
}

/* Encode an AppendEntries from the log. False: an entry is not in memory, *missing is its index. */
static bool append_fill(struct group *g, struct group_out *out, uint64_t *missing)
{
    struct raft_append_entries *a = &out->append;
    struct raft_entry *entries = a->n_entries > 0 ? mem_new0(a->n_entries * sizeof *entries) : NULL;
    for (unsigned i = 0; i < a->n_entries; i++) {
        *missing = a->prev_log_index + 1 + i;
        const struct wal_entry *entry = wal_log_entry(g->log, *missing);
        if (entry == NULL || entry->data == NULL) {
            mem_free(entries);
            return false;
        }
        entries[i] = (struct raft_entry){
            .term = entry->term, .type = entry->type, .buf = {entry->data, entry->len}};
    }
    uint64_t gate = guard_change_gate(g, entries, a->n_entries, a->prev_log_index + 1);
    out->gate = gate > out->gate ? gate : out->gate;
    struct message message = {.group = g->id, .from = g->self, .to = out->to, .kind = MESSAGE_RAFT};
    message.raft.type = RAFT_APPEND_ENTRIES;
    message.raft.append_entries = *a;
    message.raft.append_entries.entries = entries;
    message.stamp_ms = group_now_ms(g);
    message_encode(&out->frame, &message);
    mem_free(entries);
    return true;
}

/* Put aside a message whose entries are on the disk only, and fetch them. */
static void append_park(struct group *g, struct group_out *out, uint64_t missing)
{
    if (wal_log_entry(g->log, missing) == NULL || g->reading_count >= READING_MAX) {
        out_free(out); /* as if lost on the way: the library asks again */
        return;
    }
    list_push_back(&g->reading, &out->link);
    g->reading_count++;
    if (!wal_is_reading(g->log)) {
        wal_read(g->engine->wal, g->log, missing, g->engine->opts.append_bytes_max, group_on_read,
                 g);
    }
}

void group_on_read(void *arg, enum err err)
{
    struct group *g = arg;
    if (err != ERR_OK) {
        group_stop(g, "an entry of the log cannot be read back");
        return;
    }
    struct list parked;
    list_init(&parked);
    while (!list_is_empty(&g->reading)) {
        list_push_back(&parked, list_pop_front(&g->reading));
    }
    g->reading_count = 0;
    while (!list_is_empty(&parked)) {
        struct group_out *out = CONTAINER_OF(list_pop_front(&parked), struct group_out, link);
        uint64_t missing = 0;
        if (!group_is_leader(g) || out->append.term != raft_current_term(&g->raft)) {
            out_free(out);
        } else if (append_fill(g, out, &missing)) {
            list_push_back(&g->out, &out->link);
        } else {
            append_park(g, out, missing);
        }
    }
    fsm_apply(g);
    group_send_out(g);
}

/* How many of the entries from `first` on go into one message. */
static unsigned append_count(const struct group *g, uint64_t first, unsigned count)
{
    size_t bytes = 0;
    unsigned fit = 0;
    for (; fit < count && fit < MESSAGE_ENTRIES_MAX; fit++) {
        const struct wal_entry *entry = wal_log_entry(g->log, first + fit);
        bytes += entry != NULL ? entry->len : 0;
        if (fit > 0 && bytes > g->engine->opts.append_bytes_max) { break; }
    }
    return fit;
}

/* An AppendEntries as the library wants it carries no entries: fill them in, in as many messages as
 * the size asks for. */
static void take_append(struct group *g, const struct raft_message *message)
{
    struct raft_append_entries rest = message->append_entries;
    do {
        struct group_out *out = out_new(g, message->server_address, guard_term_gate(g));
        out->to = message->server_id;
        out->append = rest;
        out->append.entries = NULL;
        out->append.n_entries = append_count(g, rest.prev_log_index + 1, rest.n_entries);
        unsigned taken = out->append.n_entries;
        uint64_t missing = 0;
        if (append_fill(g, out, &missing)) {
            list_push_back(&g->out, &out->link);
        } else {
            append_park(g, out, missing);
        }
        rest.n_entries -= taken;
        rest.prev_log_index += taken;
        if (taken > 0) { rest.prev_log_term = wal_log_term(g->log, rest.prev_log_index); }
    } while (rest.n_entries > 0);
}

void group_take_message(struct group *g, const struct raft_message *from)
{
    if (from->server_id == GROUP_NOBODY) { return; }
    if (from->type == RAFT_APPEND_ENTRIES) {
        take_append(g, from);
        return;
    }
    if (from->type == RAFT_INSTALL_SNAPSHOT) {
        snapshot_offer(g, from->server_id, from->server_address);
        return;
    }
    struct message message = {.kind = MESSAGE_RAFT, .raft = *from};
    guard_prevote_denial(g, &message.raft);
    bool is_reply = from->type == RAFT_APPEND_ENTRIES_RESULT;
    if (is_reply && g->heard_term == from->append_entries_result.term &&
        g->heard_from == from->server_id) {
        message.stamp_ms = g->heard_stamp_ms;
    }
    if (from->type == RAFT_TIMEOUT_NOW) { g->lease_is_void = true; }
    group_send(g, from->server_id, from->server_address, &message, guard_term_gate(g));
}

void group_send_out(struct group *g)
{
    uint64_t flushed = wal_batch_flushed(g->engine->wal);
    while (!list_is_empty(&g->out)) {
        struct group_out *out = CONTAINER_OF(g->out.next, struct group_out, link);
        if (out->gate > flushed) { return; }
        list_remove(&out->link);
        g->engine->world.send(g->engine->world.arg, out->to_name, buf_slice(&out->frame), false);
        out_free(out);
    }
}

void group_out_end(struct group *g)
{
    while (!list_is_empty(&g->out)) {
        out_free(CONTAINER_OF(list_pop_front(&g->out), struct group_out, link));
    }
    while (!list_is_empty(&g->reading)) {
        out_free(CONTAINER_OF(list_pop_front(&g->reading), struct group_out, link));
    }
}
