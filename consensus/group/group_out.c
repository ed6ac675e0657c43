/* group_out: messages of a group on their way out: what they wait for, and their entries.
 * Owns: the messages that wait. Thread: the raft thread.
 * Always: a message leaves when its gate is durable, in the order made; only one whose entries must
 * be read from the disk lets others pass. */
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/beat.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"
#include "consensus/group/yield.h"
#include "consensus/group/snapshot/snapshot.h"

enum {
    AWAITING_READ_MAX = 64,    /* messages of a group that wait for entries from the disk */
    AWAITING_FLUSH_MAX = 1024, /* messages of a group that wait for a flush */
    AWAITING_FLUSH_BYTES_MAX = 4 << 20, /* and of all groups: engine_opts */
};

/* ---- gates ---- */

/* An encoded message that waits for a batch to be durable. */
struct awaiting_flush {
    struct list link;
    uint64_t gate;
    struct buf frame;
    char to_name[];
};

/* It waits no more. */
static void awaiting_flush_free(struct group *g, struct awaiting_flush *item)
{
    g->awaiting_flush_count--;
    g->awaiting_flush_bytes -= item->frame.len;
    g->all->awaiting_flush_bytes -= item->frame.len;
    buf_fini(&item->frame);
    mem_free(item);
}

/* Keep it until its batch is durable. If too much waits already, since the flush is stuck, it is as
 * if lost on the way. */
static void await_flush(struct group *g, const char *to_name, const struct message *message,
                        uint64_t gate)
{
    struct groups *all = g->all;
    if (g->awaiting_flush_count >= AWAITING_FLUSH_MAX ||
        g->awaiting_flush_bytes >= AWAITING_FLUSH_BYTES_MAX ||
        all->awaiting_flush_bytes >= all->opts.awaiting_flush_bytes_max) {
        metric_add(METRIC_raft_held_dropped_messages_total, 1);
        return;
    }
    size_t name_bytes = strlen(to_name) + 1;
    struct awaiting_flush *item = mem_new0(sizeof *item + name_bytes);
    memcpy(item->to_name, to_name, name_bytes);
    message_encode(&item->frame, message);
    item->gate = gate;
    list_push_back(&g->awaiting_flush, &item->link);
    g->awaiting_flush_count++;
    g->awaiting_flush_bytes += item->frame.len;
    all->awaiting_flush_bytes += item->frame.len;
}

void group_send(struct group *g, uint64_t to, const char *to_name, struct message *message,
                uint64_t gate)
{
    struct groups *all = g->all;
    message->group = g->id;
    message->from = g->self;
    message->to = to;
    if (gate > wal_batch_flushed(all->wal) || !list_is_empty(&g->awaiting_flush)) {
        await_flush(g, to_name, message, gate);
        return;
    }
    all->frame.len = 0;
    message_encode(&all->frame, message);
    all->world.send(all->world.arg, to_name, buf_slice(&all->frame), false);
}

void group_send_flushed(struct group *g)
{
    uint64_t flushed = wal_batch_flushed(g->all->wal);
    while (!list_is_empty(&g->awaiting_flush)) {
        struct awaiting_flush *item =
            CONTAINER_OF(g->awaiting_flush.next, struct awaiting_flush, link);
        if (item->gate > flushed) { return; }
        list_remove(&item->link);
        g->all->world.send(g->all->world.arg, item->to_name, buf_slice(&item->frame), false);
        awaiting_flush_free(g, item);
    }
}

/* ---- entries ---- */

/* An AppendEntries whose entries are being read. */
struct awaiting_read {
    struct list link;
    struct raft_append_entries append; /* without entries */
    uint64_t to;
    char to_name[];
};

/* Send an AppendEntries with its entries from the log. False: an entry is not in memory, *missing
 * is its index. */
static bool send_append(struct group *g, uint64_t to, const char *to_name,
                        const struct raft_append_entries *append, uint64_t *missing)
{
    struct raft_entry *entries = g->all->entries_out;
    CHECK(append->n_entries <= MESSAGE_ENTRIES_MAX);
    for (unsigned i = 0; i < append->n_entries; i++) {
        *missing = append->prev_log_index + 1 + i;
        const struct wal_entry *entry = wal_log_entry(g->log, *missing);
        if (entry == NULL || entry->data == NULL) { return false; }
        entries[i] = (struct raft_entry){
            .term = entry->term, .type = entry->type, .buf = {entry->data, entry->len}};
    }
    if (beat_send(g, to, to_name, append)) { return true; }
    struct message message = {.kind = MESSAGE_RAFT, .stamp_ms = group_now_ms(g)};
    message.raft.type = RAFT_APPEND_ENTRIES;
    message.raft.append_entries = *append;
    message.raft.append_entries.entries = entries;
    uint64_t gate = guard_term_gate(g);
    uint64_t change_gate =
        guard_change_gate(g, entries, append->n_entries, append->prev_log_index + 1);
    group_send(g, to, to_name, &message, gate > change_gate ? gate : change_gate);
    return true;
}

/* Read entries back, from `missing` on, for a message that waits for them. */
static void fetch(struct group *g, uint64_t missing)
{
    if (!wal_is_reading(g->log)) {
        wal_read(g->all->wal, g->log, missing, g->all->opts.append_bytes_max, group_on_read, g);
    }
}

/* Entries that the library still thinks of may have gone, being behind a snapshot: that is offered
 * in their place. */
static void send_snapshot(struct group *g, uint64_t to, const char *to_name, uint64_t missing)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (snapshot != NULL && missing <= snapshot->index) { snapshot_offer(g, to, to_name); }
}

/* Send an AppendEntries, now or when its entries have been read. If too many wait, it is as if lost
 * on the way: the library asks again. */
static void send_or_await_read(struct group *g, uint64_t to, const char *to_name,
                               const struct raft_append_entries *append)
{
    uint64_t missing = 0;
    if (send_append(g, to, to_name, append, &missing)) { return; }
    if (wal_log_entry(g->log, missing) == NULL) {
        send_snapshot(g, to, to_name, missing);
        return;
    }
    if (g->awaiting_read_count >= AWAITING_READ_MAX) { return; }
    size_t name_bytes = strlen(to_name) + 1;
    struct awaiting_read *item = mem_new0(sizeof *item + name_bytes);
    item->append = *append;
    item->to = to;
    memcpy(item->to_name, to_name, name_bytes);
    list_push_back(&g->awaiting_read, &item->link);
    g->awaiting_read_count++;
    fetch(g, missing);
}

void group_on_read(void *arg, enum err err)
{
    struct group *g = arg;
    group_touch(g);
    if (err != ERR_OK) {
        group_stop(g, "an entry of the log cannot be read back");
        return;
    }
    for (size_t count = g->awaiting_read_count; count > 0; count--) {
        struct awaiting_read *item =
            CONTAINER_OF(list_pop_front(&g->awaiting_read), struct awaiting_read, link);
        g->awaiting_read_count--;
        if (group_is_leader(g) && item->append.term == raft_current_term(&g->raft)) {
            send_or_await_read(g, item->to, item->to_name, &item->append);
        }
        mem_free(item);
    }
}

/* How many of the entries from `first` on go into one message. */
static unsigned append_count(const struct group *g, uint64_t first, unsigned count)
{
    size_t bytes = 0;
    unsigned fit = 0;
    for (; fit < count && fit < MESSAGE_ENTRIES_MAX; fit++) {
        const struct wal_entry *entry = wal_log_entry(g->log, first + fit);
        bytes += entry != NULL ? entry->len : 0;
        if (fit > 0 && bytes > g->all->opts.append_bytes_max) { break; }
    }
    return fit;
}

/* An AppendEntries as the library wants it carries no entries: fill them in, in as many messages as
 * the size asks for. */
static void take_append(struct group *g, const struct raft_message *message)
{
    struct raft_append_entries rest = message->append_entries;
    do {
        struct raft_append_entries append = rest;
        append.entries = NULL;
        append.n_entries = append_count(g, rest.prev_log_index + 1, rest.n_entries);
        send_or_await_read(g, message->server_id, message->server_address, &append);
        rest.n_entries -= append.n_entries;
        rest.prev_log_index += append.n_entries;
        rest.prev_log_term = wal_log_term(g->log, rest.prev_log_index);
    } while (rest.n_entries > 0 && rest.prev_log_term != 0);
}

/* Before the word that lets another one lead leaves this node. */
static void void_lease(struct group *g)
{
    g->lease_is_void = true;
    g->void_ms = group_now_ms(g);
    read_show(g);
    if (g->fsm_ops->on_transfer != NULL) { g->fsm_ops->on_transfer(g->fsm); }
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
    const struct raft_append_entries_result *result = &from->append_entries_result;
    bool is_success =
        is_reply && result->rejected == 0 && result->term == raft_current_term(&g->raft);
    if (is_success && beat_send_reply(g, from->server_id, from->server_address,
                                      result->last_log_index, message.stamp_ms)) {
        return;
    }
    message.is_ailing = is_reply && yield_is_ailing(g->all);
    if (from->type == RAFT_TIMEOUT_NOW) { void_lease(g); }
    group_send(g, from->server_id, from->server_address, &message, guard_term_gate(g));
}

void group_out_end(struct group *g)
{
    while (!list_is_empty(&g->awaiting_flush)) {
        awaiting_flush_free(
            g, CONTAINER_OF(list_pop_front(&g->awaiting_flush), struct awaiting_flush, link));
    }
    while (!list_is_empty(&g->awaiting_read)) {
        mem_free(CONTAINER_OF(list_pop_front(&g->awaiting_read), struct awaiting_read, link));
    }
}
