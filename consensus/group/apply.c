/* apply: see the header. */
#include "consensus/group/apply.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"

enum {
    BATCH_COMMANDS_MAX = 4096,
    BATCH_BYTES_MAX = 4 << 20,
    UNAPPLIED_CACHE_FACTOR = 2,
    DRAIN_MS = 50, /* that nothing is handed over for the sake of who waits for the machine */
};

/* The commands of a batch are in engine->apply_commands. */
struct collected {
    struct groups *all;
    size_t count;
    size_t bytes;
    size_t entry_bytes;
    uint64_t conf_index; /* of the last configuration among the entries; 0: none */
};

static void collect(struct collected *c, const struct fsm_command *command)
{
    struct groups *all = c->all;
    if (c->count == all->apply_cap) {
        all->apply_cap = all->apply_cap > 0 ? all->apply_cap * 2 : 64;
        all->apply_commands =
            mem_resize(all->apply_commands, all->apply_cap * sizeof *all->apply_commands);
    }
    all->apply_commands[c->count++] = *command;
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

/* Give the commands of an entry that was proposed here their proposals, which leave the group's list:
 * both are in the same order. */
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
            list_remove(&p->link);
        }
    }
}

/* Those whose entry was not what was committed at its index. */
static void end_overtaken(struct group *g, uint64_t upto)
{
    while (!list_is_empty(&g->proposed)) {
        struct proposal *p = CONTAINER_OF(g->proposed.next, struct proposal, link);
        if (p->index > upto) { return; }
        list_remove(&p->link);
        p->on_done(p, ERR_INDOUBT);
    }
}

static void end_origins(const struct fsm_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct proposal *p = batch->commands[i].origin;
        if (p != NULL) { p->on_done(p, ERR_OK); }
    }
}

/* Entries from `index` on are to be applied and were forgotten; what is read stays until they are. */
static void read_back(struct group *g, uint64_t index)
{
    struct wal *wal = g->all->wal;
    if (wal_is_reading(g->log)) { return; }
    uint64_t upto = index - 1;
    size_t bytes = 0;
    for (; upto < group_commit_index(g) && bytes < BATCH_BYTES_MAX; upto++) {
        bytes += wal_log_entry(g->log, upto + 1)->len;
    }
    wal_pin(wal, g->log, g->applied + 1, upto);
    wal_read(wal, g->log, index, BATCH_BYTES_MAX, group_on_read, g);
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
            read_back(g, index + 1);
            break;
        }
        if (entry->type == RAFT_COMMAND && !collect_entry(c, index + 1, entry)) {
            group_stop(g, "an entry makes no sense");
            return g->applied;
        }
        index++;
        c->entry_bytes += entry->len;
        if (entry->type == RAFT_CHANGE) { c->conf_index = index; }
    }
    return index;
}

/* What the machine has not taken yet waits in memory, but for all groups together no more than that. */
void apply_forget(struct group *g)
{
    struct wal *wal = g->all->wal;
    uint64_t upto = guard_apply_durable(g);
    if (wal_cached_bytes(wal) > g->all->opts.cache_bytes * UNAPPLIED_CACHE_FACTOR) {
        wal_evict(wal, g->log, upto < g->raft.last_stored ? upto : g->raft.last_stored);
    }
}

bool apply_is_busy(const struct group *g)
{
    return g->batch.last_index != 0;
}

/* Sequentially consistent, as are the mailbox's own words: either the machine's thread sees this, or we see its task before we
 * sleep. */
void apply_show_awaited(struct group *g)
{
    uint64_t handed = apply_is_busy(g) ? g->batch.last_index : g->applied;
    if (g->view == NULL) { return; }
    bool is_awaited = g->state != GROUP_RUNNING || g->is_installing || g->drain_until_ms != 0 ||
                      !list_is_empty(&g->reads) || group_commit_index(g) > handed;
    atomic_store(&g->view->is_awaited, is_awaited);
}

bool apply_drain(struct group *g)
{
    bool is_busy = apply_is_busy(g);
    g->drain_until_ms = is_busy ? group_now_ms(g) + DRAIN_MS : 0;
    apply_show_awaited(g);
    return !is_busy;
}

bool apply_lags(const struct group *g)
{
    const struct engine_opts *opts = &g->all->opts;
    bool is_late =
        apply_is_busy(g) && group_now_ms(g) >= g->batch_ms + (uint64_t)opts->unapplied_ms_max;
    return is_late || g->unapplied_bytes > opts->unapplied_bytes_max;
}

/* The machine holds the batch: so far the group is applied. */
static void advance(struct group *g)
{
    metric_add(METRIC_raft_commands_applied_total, g->batch.count);
    metric_add(METRIC_raft_entries_applied_total, g->batch.last_index - g->applied);
    g->applied = g->batch.last_index;
    g->unapplied_bytes -= g->batch_bytes < g->unapplied_bytes ? g->batch_bytes : g->unapplied_bytes;
    if (g->batch_conf_index != 0) {
        const struct wal_entry *entry = wal_log_entry(g->log, g->batch_conf_index);
        g->applied_conf_index = g->batch_conf_index;
        g->applied_conf.len = 0;
        buf_append(&g->applied_conf, slice_of(entry->data, entry->len));
    }
    g->batch = (struct fsm_batch){0};
    wal_pin(g->all->wal, g->log, 0, 0);
    wal_evict(g->all->wal, g->log, g->applied);
}

/* The machine keeps the commands: the engine makes itself others. */
static void give_commands(struct groups *all)
{
    all->apply_commands = NULL;
    all->apply_cap = 0;
}

void apply_done(struct group *g, uint64_t index)
{
    CHECK(apply_is_busy(g) && g->batch.last_index == index);
    union {
        const struct fsm_command *in;
        struct fsm_command *out;
    } commands = {g->batch.commands};
    mem_free(commands.out);
    advance(g);
}

/* May a batch be handed over now? */
static bool may_hand_over(struct group *g)
{
    if (g->state != GROUP_RUNNING || g->is_installing || apply_is_busy(g)) { return false; }
    if (g->drain_until_ms == 0) { return true; }
    if (group_now_ms(g) < g->drain_until_ms) { return false; }
    g->drain_until_ms = 0; /* whoever wanted it does not want it any more */
    return true;
}

/* False: there is nothing, or the machine has it now. */
static bool hand_over(struct group *g)
{
    struct groups *all = g->all;
    struct collected c = {.all = all};
    uint64_t last = collect_all(g, &c, guard_apply_durable(g));
    if (g->state != GROUP_RUNNING || last == g->applied) { return false; }
    match_origins(g, all->apply_commands, c.count);
    end_overtaken(g, last);
    g->batch = (struct fsm_batch){all->apply_commands, c.count, last};
    g->batch_bytes = c.entry_bytes;
    g->batch_conf_index = c.conf_index;
    g->batch_ms = group_now_ms(g);
    wal_pin(all->wal, g->log, g->applied + 1, last);
    if (g->fsm_ops->apply(g->fsm, &g->batch) == FSM_TAKEN) {
        give_commands(all);
        return false;
    }
    struct fsm_batch done = g->batch;
    advance(g);
    end_origins(&done);
    return true;
}

void apply_committed(struct group *g)
{
    read_show(g);
    bool is_changed = false;
    while (may_hand_over(g) && hand_over(g)) {
        is_changed = true;
    }
    if (is_changed) { read_show(g); }
    apply_show_awaited(g);
}
