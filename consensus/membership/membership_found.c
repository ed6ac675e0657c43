/* membership_found: what a node without a cluster does: it looks for one, and helps to found one.
 * Owns: the discovery, the promise. Thread: the raft thread.
 *
 * Nodes without a cluster ask everybody they know. The one with the lowest name, when `expect` of
 * them hear each other, makes an attempt: a random cluster id, for which it asks the others' promise.
 * A promise is durable before it is told, and binds its giver to help found no other cluster; so of
 * any two sets of nodes that share one, one at most founds. With all promises in hand the founder
 * writes down that it founds, and then does; whatever happens to it, it goes on with that id when it
 * starts again. An attempt that was given up is never taken up again, so its giver can be released.
 * Always: a founder is written down as such before its group exists; nobody else ever creates it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "consensus/membership/membership_int.h"

enum {
    DISCOVERY_MS = 100,
    FRESH_MS = 1500, /* a node that was heard less long ago is there */
    QUIET_MS = 3000, /* one that expects nobody else founds when nobody answered for so long */
    WAIT_LOG_MS = 10000,
};

static bool is_clusterless(const struct core *core)
{
    return core->file.state == CLUSTER_NONE || core->file.state == CLUSTER_PROMISED;
}

static bool is_fresh(const struct core *core, const struct node *node)
{
    return node->id != 0 && node->discovery_ms != 0 && core->now_ms < node->discovery_ms + FRESH_MS;
}

/* Has no cluster, and is of those who would found one with us. */
static bool is_candidate(const struct core *core, const struct node *node)
{
    return is_fresh(core, node) && node->cluster_id == 0 && node->expect == core->opts.expect;
}

/* ---- discovery ---- */

static struct note make_discovery(struct core *core, bool wants_answer)
{
    struct note note = core_note_new(core, NOTE_DISCOVERY);
    struct note_discovery *discovery = &note.discovery;
    const struct pmap *map = core_control_map(core);
    note.raft = core->opts.raft;
    discovery->wants_answer = wants_answer;
    discovery->expect = is_clusterless(core) ? core->opts.expect : 0;
    discovery->attempt = core->attempt;
    discovery->is_founding = core->file.state == CLUSTER_FOUNDING;
    if (core->file.state == CLUSTER_PROMISED) {
        discovery->promised_to = core->file.founder_id;
        discovery->promised = core->file.cluster_id;
    }
    for (size_t i = 0; i < CORE_NODES_MAX && discovery->seen_count < PMAP_NODES_MAX; i++) {
        if (is_fresh(core, &core->nodes[i]) && core->nodes[i].cluster_id == 0) {
            discovery->seen[discovery->seen_count++] = core->nodes[i].id;
        }
    }
    for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
        if (map->node[i].id != 0) {
            discovery->member[discovery->member_count++] = map->node[i].raft;
        }
    }
    if (note.cluster_id != 0) { discovery->leader = core_leader_address(core); }
    return note;
}

void found_discover_all(struct core *core)
{
    struct note note = make_discovery(core, true);
    struct buf bytes = {0};
    note_encode(&bytes, &note);
    core->world.send_join(core->world.arg, buf_slice(&bytes));
    for (uint32_t i = 0; i < core->file.peer_count; i++) {
        core->world.send_to(core->world.arg, &core->file.peer[i], buf_slice(&bytes));
    }
    buf_fini(&bytes);
}

static void answer_discovery(struct core *core, const struct note *note)
{
    struct note answer = make_discovery(core, false);
    core_send_to(core, &note->raft, &answer);
}

static void note_discovery(struct core *core, struct node *from, const struct note *note)
{
    const struct note_discovery *discovery = &note->discovery;
    from->discovery_ms = core->now_ms;
    from->cluster_id = note->cluster_id;
    from->expect = discovery->expect;
    from->attempt = discovery->attempt;
    from->is_founding = discovery->is_founding;
    from->promised_to = discovery->promised_to;
    from->promised = discovery->promised;
    from->sees_me = false;
    for (uint32_t i = 0; i < discovery->seen_count; i++) {
        if (discovery->seen[i] == core->opts.node_id) { from->sees_me = true; }
    }
}

/* ---- promises ---- */

/* A candidate that would come before `name`, or NULL. */
static const struct node *candidate_below(const struct core *core, const char *name)
{
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        const struct node *node = &core->nodes[i];
        if (is_candidate(core, node) && strcmp(node->name, name) < 0) { return node; }
    }
    return NULL;
}

static void maybe_promise(struct core *core, const struct node *to)
{
    const struct cluster_file *file = &core->file;
    if (core->own_groups > 0) { return; } /* it is no founder's company */
    bool is_free = file->state == CLUSTER_NONE ||
                   (file->state == CLUSTER_PROMISED && file->founder_id == to->id);
    bool is_new = file->state == CLUSTER_NONE || file->cluster_id != to->attempt;
    if (!is_free || !is_new || core->attempt != 0 || to->attempt == 0 || core->opts.expect == 0 ||
        !is_candidate(core, to) || strcmp(to->name, core->opts.name) >= 0 ||
        candidate_below(core, to->name) != NULL) {
        return;
    }
    struct cluster_file next = {
        .state = CLUSTER_PROMISED, .cluster_id = to->attempt, .founder_id = to->id};
    snprintf(next.founder, sizeof next.founder, "%s", to->name);
    if (!core_save(core, &next)) { return; }
    LOG_INFO("promised to help found a cluster", LOG_STR("founder", to->name));
}

/* It waits for an attempt that is not, and will never be, ours. */
static void maybe_release(struct core *core, const struct note *note)
{
    uint64_t promised = note->discovery.promised;
    bool is_ours = promised == core->attempt ||
                   (core->file.state != CLUSTER_PROMISED && promised == core->file.cluster_id);
    if (note->discovery.promised_to != core->opts.node_id || is_ours) { return; }
    struct note release = core_note_new(core, NOTE_RELEASE);
    release.release = promised;
    core_send_to(core, &note->raft, &release);
}

void found_on_release(struct core *core, const struct note *note)
{
    if (core->file.state != CLUSTER_PROMISED || core->file.founder_id != note->node_id ||
        core->file.cluster_id != note->release) {
        return;
    }
    struct cluster_file next = {.state = CLUSTER_NONE};
    if (core_save(core, &next)) {
        LOG_INFO("released from a promise", LOG_STR("founder", note->name));
    }
}

void found_on_discovery(struct core *core, struct node *from, const struct note *note)
{
    if (note->raft.port == 0) { return; }
    bool was_asked = from->attempt != 0;
    note_discovery(core, from, note);
    if (note->cluster_id != 0) { join_on_discovery(core, from, note); }
    maybe_release(core, note);
    if (is_clusterless(core) && note->cluster_id == 0) { maybe_promise(core, from); }
    bool is_asked = from->attempt != 0 && !was_asked;
    if (note->discovery.wants_answer || is_asked) { answer_discovery(core, note); }
}

/* ---- founding ---- */

static void found(struct core *core)
{
    struct cluster_file next = {.state = CLUSTER_FOUNDING, .cluster_id = core->attempt};
    if (!core_save(core, &next)) { return; }
    core->attempt = 0;
    LOG_INFO("founding a cluster", LOG_STR("node", core->opts.name),
             LOG_UINT("partitions", core->opts.partition_count));
    core->world.set_cluster(core->world.arg, next.cluster_id);
    CHECK(core_create_group(core, true) == ERR_OK);
}

/* Of the nodes that the join list names, and this one, two sets that each have as many as expected
 * could found a cluster without hearing of each other. */
static bool could_found_two(struct core *core)
{
    uint32_t named = core->world.join_count(core->world.arg) + !core->is_in_join;
    if (named < 2 || core->opts.expect > named / 2) { return false; }
    /* By then its own discovery would have come back to it. */
    bool is_certain = core->now_ms >= core->started_ms + FRESH_MS;
    if (is_certain && core_may_tell(core, &core->expect_told_ms)) {
        LOG_ERROR(
            "this node founds no cluster: expect is not more than half of join, so that there "
            "could be two; raise expect, or let join name fewer",
            LOG_UINT("expect", core->opts.expect), LOG_UINT("join", named));
    }
    return true;
}

/* Why this node does not try to found a cluster now; NULL: it should, with the others of
 * `*others_count`, of whom `*promised_count` have promised. */
static const char *must_wait(struct core *core, uint32_t *others_count, uint32_t *promised_count)
{
    *others_count = 0;
    *promised_count = 0;
    core->obstacle = keep_obstacle(core);
    if (core->obstacle != NULL) { return "a way for its data"; }
    if (core->file.state == CLUSTER_PROMISED) { return "a promise to the founder"; }
    if (core->join_cluster != 0) { return "a cluster that exists"; }
    if (core->opts.expect > 0 && could_found_two(core)) { return "a higher expect"; }
    if (candidate_below(core, core->opts.name) != NULL) { return "a node with a lower name"; }
    for (size_t i = 0; i < CORE_NODES_MAX; i++) {
        const struct node *node = &core->nodes[i];
        if (is_fresh(core, node) && node->is_founding) { return "a founder"; }
        if (!is_candidate(core, node)) { continue; }
        if (strcmp(node->name, core->opts.name) == 0) { return "another node with the same name"; }
        bool is_free = node->promised_to == 0 || node->promised_to == core->opts.node_id;
        if (!node->sees_me || !is_free) { continue; }
        (*others_count)++;
        *promised_count += node->promised_to == core->opts.node_id && core->attempt != 0 &&
                           node->promised == core->attempt;
    }
    if (*others_count + 1 < core->opts.expect) { return "more nodes"; }
    bool is_hasty =
        core->opts.expect == 1 && core->opts.has_join && core->now_ms < core->started_ms + QUIET_MS;
    return is_hasty ? "an answer from the join list" : NULL;
}

static void log_waiting(struct core *core, const char *what, uint32_t others_count)
{
    if (core->now_ms < core->quiet_log_ms) { return; }
    bool is_first = core->quiet_log_ms == 0;
    core->quiet_log_ms = core->now_ms + WAIT_LOG_MS;
    if (is_first) { return; }
    LOG_WARN("this node still has no cluster", LOG_STR("waits_for", what),
             LOG_UINT("seen", others_count + 1), LOG_UINT("expect", core->opts.expect),
             LOG_STR("founder", core->file.founder));
}

void found_tick(struct core *core)
{
    if (!is_clusterless(core)) { return; }
    uint32_t others_count;
    uint32_t promised_count;
    const char *what = must_wait(core, &others_count, &promised_count);
    if (core->opts.expect == 0) { what = "a member to answer"; }
    if (what != NULL) {
        core->attempt = 0;
        log_waiting(core, what, others_count);
    } else if (core->attempt == 0) {
        core->attempt = core->world.random(core->world.arg) | 1;
        core->discovery_next_ms = 0;
    }
    if (core->attempt != 0 && promised_count + 1 >= core->opts.expect) {
        found(core);
        return;
    }
    if (core->now_ms >= core->discovery_next_ms) {
        core->discovery_next_ms = core->now_ms + DISCOVERY_MS;
        found_discover_all(core);
        for (size_t i = 0; i < CORE_NODES_MAX; i++) {
            const struct node *node = &core->nodes[i];
            struct note discovery;
            if (!is_fresh(core, node) || node->raft.port == 0) { continue; }
            discovery = make_discovery(core, true);
            core_send_to(core, &node->raft, &discovery);
        }
    }
}
