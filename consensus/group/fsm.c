/* fsm: feeds committed entries to a state machine.
 * Owns: nothing; the position is group->applied. Thread: the raft thread.
 * Always: entries are applied once, in order, and only when they are committed and durable on this
 * node. */
#include "consensus/group/fsm.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"

enum { BATCH_COMMANDS_MAX = 4096, BATCH_BYTES_MAX = 4 << 20 };

void fsm_command_encode(struct buf *out, struct slice command)
{
    char *p = buf_reserve(out, FSM_COMMAND_HEAD_BYTES + command.len);
    for (int i = 0; i < FSM_COMMAND_HEAD_BYTES; i++) {
        p[i] = (char)(command.len >> (8 * i));
    }
    out->len += FSM_COMMAND_HEAD_BYTES;
    buf_append(out, command);
}

bool fsm_command_decode(struct slice *entry, struct slice *command)
{
    const unsigned char *p = (const unsigned char *)entry->data;
    if (entry->len < FSM_COMMAND_HEAD_BYTES) { return false; }
    size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    struct slice rest =
        slice_of(entry->data + FSM_COMMAND_HEAD_BYTES, entry->len - FSM_COMMAND_HEAD_BYTES);
    if (len > rest.len) { return false; }
    *command = slice_of(rest.data, len);
    *entry = slice_of(rest.data + len, rest.len - len);
    return true;
}

/* The commands of a batch are in engine->apply_commands. */
struct collected {
    struct engine *engine;
    size_t count;
    size_t bytes;
};

static void collect(struct collected *c, const struct fsm_command *command)
{
    struct engine *e = c->engine;
    if (c->count == e->apply_cap) {
        e->apply_cap = e->apply_cap > 0 ? e->apply_cap * 2 : 64;
        e->apply_commands = mem_resize(e->apply_commands, e->apply_cap * sizeof *e->apply_commands);
    }
    e->apply_commands[c->count++] = *command;
    c->bytes += command->data.len;
}

static bool collect_entry(struct collected *c, uint64_t index, const struct wal_entry *entry)
{
    struct slice rest = slice_of(entry->data, entry->len);
    struct fsm_command command = {.index = index, .term = entry->term};
    while (rest.len > 0) {
        if (!fsm_command_decode(&rest, &command.data)) { return false; }
        collect(c, &command);
    }
    return true;
}

/* Give the commands of an entry that was proposed here their proposals: both are in the same order.
 * */
static void match_origins(struct group *g, struct fsm_command *commands, size_t count)
{
    struct list *at = g->proposed.next;
    for (size_t i = 0; i < count && at != &g->proposed;) {
        struct proposal *p = CONTAINER_OF(at, struct proposal, link);
        if (p->index < commands[i].index) {
            at = at->next;
        } else if (p->index > commands[i].index || p->term != commands[i].term) {
            i++;
        } else {
            commands[i++].origin = p;
            at = at->next;
        }
    }
}

static void end_origins(struct group *g, uint64_t upto)
{
    while (!list_is_empty(&g->proposed)) {
        struct proposal *p = CONTAINER_OF(g->proposed.next, struct proposal, link);
        if (p->index > upto) { return; }
        list_remove(&p->link);
        bool is_ours = wal_log_term(g->log, p->index) == p->term;
        p->on_done(p, is_ours ? ERR_OK : ERR_INDOUBT);
    }
}

/* Collect from applied + 1 on. Returns the last index collected. */
static uint64_t collect_all(struct group *g, struct collected *c, uint64_t limit)
{
    uint64_t index = g->applied;
    while (index < limit && c->count < BATCH_COMMANDS_MAX && c->bytes < BATCH_BYTES_MAX) {
        const struct wal_entry *entry = wal_log_entry(g->log, index + 1);
        if (entry == NULL) {
            group_stop(g, "a committed entry is not in the log");
            return g->applied;
        }
        if (entry->data == NULL) {
            if (!wal_is_reading(g->log)) {
                wal_read(g->engine->wal, g->log, index + 1, BATCH_BYTES_MAX, group_on_read, g);
            }
            break;
        }
        if (entry->type == RAFT_COMMAND && !collect_entry(c, index + 1, entry)) {
            group_stop(g, "an entry makes no sense");
            return g->applied;
        }
        index++;
        if (entry->type == RAFT_CHANGE) {
            g->applied_conf_index = index;
            g->applied_conf.len = 0;
            buf_append(&g->applied_conf, slice_of(entry->data, entry->len));
        }
    }
    return index;
}

void fsm_apply(struct group *g)
{
    while (g->state == GROUP_RUNNING && !g->is_installing) {
        struct collected c = {.engine = g->engine};
        uint64_t last = collect_all(g, &c, guard_apply_durable(g));
        if (g->state != GROUP_RUNNING || last == g->applied) { return; }
        struct fsm_command *commands = g->engine->apply_commands;
        match_origins(g, commands, c.count);
        struct fsm_batch batch = {commands, c.count, last};
        g->fsm_ops->apply(g->fsm, &batch);
        metric_add(METRIC_raft_commands_applied_total, c.count);
        metric_add(METRIC_raft_entries_applied_total, last - g->applied);
        g->applied = last;
        end_origins(g, last);
        wal_evict(g->engine->wal, g->log, last);
    }
}
