/* sim_membership_data: see its header. The state machines are volatile: a node that starts has what its log and snapshot hold. */
#include "sim/sim_membership_data.h"

#include "base/mem.h"
#include "consensus/map/placement_replicas.h"
#include "partition/partition.h"
#include "partition/replicas.h"

enum { FIRST_GROUP = 100 };

struct replica {
    struct partitions *partitions;
    uint32_t partition;
    uint64_t applied;
    uint64_t term; /* in which it leads */
    struct buf restoring;
    uint8_t has[MDATA_NUMBERS];
};

/* In place of the broker's. */
struct partitions {
    struct mnode *node;
    struct replica replica[MSIM_PARTITIONS];
};

/* ---- the state machine ---- */

static enum fsm_answer on_apply(void *arg, const struct fsm_batch *batch)
{
    struct replica *r = arg;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t number;
        CHECK(batch->commands[i].data.len == sizeof number);
        memcpy(&number, batch->commands[i].data.data, sizeof number);
        CHECK(number < MDATA_NUMBERS);
        if (r->has[number] != 0) {
            msim_fail(r->partitions->node->sim, "%s applies number %u of partition %u twice",
                      r->partitions->node->name, number, r->partition);
        }
        r->has[number] = 1;
    }
    r->applied = batch->last_index;
    return FSM_DONE;
}

static uint64_t on_applied_index(void *arg)
{
    return ((struct replica *)arg)->applied;
}

struct image {
    uint8_t has[MDATA_NUMBERS];
    size_t at;
};

static void *on_snapshot_begin(void *arg)
{
    struct image *image = mem_new0(sizeof *image);
    memcpy(image->has, ((struct replica *)arg)->has, sizeof image->has);
    return image;
}

static enum err on_snapshot_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    size_t rest = sizeof image->has - image->at;
    *bytes = rest < bytes_max ? rest : bytes_max;
    memcpy(out, image->has + image->at, *bytes);
    image->at += *bytes;
    return ERR_OK;
}

static void on_restore_begin(void *arg)
{
    struct replica *r = arg;
    r->applied = 0;
    r->restoring.len = 0;
}

static enum err on_restore_write(void *arg, struct slice bytes)
{
    buf_append(&((struct replica *)arg)->restoring, bytes);
    return ERR_OK;
}

static enum err on_restore_end(void *arg, uint64_t index)
{
    struct replica *r = arg;
    if (r->restoring.len != sizeof r->has) { return ERR_CORRUPT; }
    memcpy(r->has, r->restoring.data, sizeof r->has);
    buf_fini(&r->restoring);
    r->applied = index;
    return ERR_OK;
}

static void on_leader(void *arg, bool is_leader, uint64_t term)
{
    ((struct replica *)arg)->term = is_leader ? term : 0;
}

static void on_closed(void *arg)
{
    struct replica *r = arg;
    r->term = 0;
    r->applied = 0;
    memset(r->has, 0, sizeof r->has);
    buf_fini(&r->restoring);
}

static const struct fsm_ops fsm_ops = {
    .apply = on_apply,
    .applied_index = on_applied_index,
    .snapshot_begin = on_snapshot_begin,
    .snapshot_read = on_snapshot_read,
    .snapshot_end = mem_free,
    .restore_begin = on_restore_begin,
    .restore_write = on_restore_write,
    .restore_end = on_restore_end,
    .on_leader = on_leader,
    .on_closed = on_closed,
    .is_volatile = true,
};

/* ---- partition.h, as far as replicas.c needs it ---- */

uint64_t partitions_group(uint32_t partition)
{
    return FIRST_GROUP + partition;
}

uint64_t partitions_replica(const struct partitions *partitions, uint32_t partition)
{
    struct engine_status status;
    (void)engine_status(partitions->node->engine, partitions_group(partition), &status);
    return status.self;
}

enum err partitions_create(struct partitions *partitions, uint32_t partition, uint64_t replica,
                           bool is_founder)
{
    struct msim *sim = partitions->node->sim;
    struct engine_server self = {replica, partitions->node->name};
    if (is_founder && sim->founded[partition] != 0 && sim->founded[partition] != replica) {
        msim_fail(sim, "%s founds partition %u, which was founded", partitions->node->name,
                  partition);
    }
    if (is_founder) { sim->founded[partition] = replica; }
    return engine_group_create(partitions->node->engine, partitions_group(partition), replica,
                               &fsm_ops, &partitions->replica[partition], &self,
                               is_founder ? 1 : 0);
}

enum err partitions_open(struct partitions *partitions, uint32_t partition)
{
    return engine_group_open(partitions->node->engine, partitions_group(partition), &fsm_ops,
                             &partitions->replica[partition]);
}

void partitions_delete(struct partitions *partitions, uint32_t partition)
{
    partitions->node->sim->stats.deletions++;
    engine_group_delete(partitions->node->engine, partitions_group(partition));
}

/* No life that may still ask is over. */
void partitions_forget(struct partitions *partitions, uint64_t node_id, uint64_t incarnation_below)
{
    struct msim *sim = partitions->node->sim;
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        struct core_status status;
        if (node->core == NULL || node->id != node_id) { continue; }
        core_status(node->core, &status);
        bool is_served = node->lease_until_ms > mnode_clock_ms(node);
        if (is_served && node->lease_incarnation < incarnation_below) {
            msim_fail(sim, "%s forgets a life of %s that goes on", partitions->node->name,
                      node->name);
        }
    }
    sim->stats.forgotten_lives++;
}

uint64_t partition_leads(const struct partitions *partitions, uint32_t partition)
{
    return partitions->replica[partition].term;
}

/* ---- life ---- */

static uint64_t now_ms(void *arg)
{
    return mnode_clock_ms(arg);
}

void mdata_start(struct mnode *node)
{
    struct msim *sim = node->sim;
    struct partitions *partitions = mem_new0(sizeof *partitions);
    partitions->node = node;
    for (uint32_t p = 0; p < sim->partition_count; p++) {
        partitions->replica[p].partitions = partitions;
        partitions->replica[p].partition = p;
    }
    struct replicas_opts opts = {.partitions = partitions,
                                 .engine = node->engine,
                                 .partition_count = sim->partition_count,
                                 .forget_ms = 10000,
                                 .now_ms = now_ms,
                                 .arg = node};
    node->partitions = partitions;
    node->replicas = replicas_new(&opts);
}

void mdata_stop(struct mnode *node)
{
    if (node->partitions == NULL) { return; }
    replicas_free(node->replicas);
    for (uint32_t p = 0; p < node->sim->partition_count; p++) {
        buf_fini(&node->partitions->replica[p].restoring);
    }
    mem_free(node->partitions);
    node->replicas = NULL;
    node->partitions = NULL;
}

void mdata_tick(struct mnode *node)
{
    struct pmap_settled settled[4]; /* fewer than there may be */
    if (node->replicas == NULL) { return; }
    uint32_t count = replicas_tick(node->replicas, settled, COUNT_OF(settled));
    if (count > 0) { core_settled(node->core, settled, count); }
}

uint64_t mdata_replica(const struct mnode *node, uint32_t partition)
{
    return partitions_replica(node->partitions, partition);
}

/* ---- clients ---- */

struct write {
    struct proposal proposal;
    struct msim *sim;
    uint32_t partition;
    uint32_t number;
};

static void on_written(struct proposal *proposal, enum err err)
{
    struct write *w = CONTAINER_OF(proposal, struct write, proposal);
    if (err == ERR_OK) {
        w->sim->truth[w->partition].is_acked[w->number] = 1;
        w->sim->stats.acked++;
    }
    mem_free(w);
}

static void write_to(struct mnode *node, uint32_t partition)
{
    struct msim *sim = node->sim;
    struct mdata_truth *truth = &sim->truth[partition];
    if (truth->next == MDATA_NUMBERS) { return; }
    struct write *w = mem_new0(sizeof *w);
    w->sim = sim;
    w->partition = partition;
    w->number = truth->next++;
    w->proposal.group = partitions_group(partition);
    w->proposal.data = slice_of(&w->number, sizeof w->number);
    w->proposal.on_done = on_written;
    engine_propose(node->engine, &w->proposal);
}

void mdata_write(struct msim *sim)
{
    uint32_t partition = (uint32_t)sim_random(&sim->random, sim->partition_count);
    for (int i = 1; i <= sim->node_count; i++) {
        struct mnode *node = &sim->nodes[i];
        if (node->partitions == NULL || node->paused_until_ms > sim->now_ms ||
            node->partitions->replica[partition].term == 0) {
            continue;
        }
        write_to(node, partition);
        msim_settle(node);
    }
}

void mdata_alone(struct mnode *node)
{
    struct msim *sim = node->sim;
    CHECK(replicas_open_alone(node->partitions, sim->partition_count) == ERR_OK);
    for (int i = 0; i < 400; i++) {
        sim->now_ms += 10;
        node->sd.now_ms = sim->now_ms;
        (void)sim_disk_step(&node->sd, sim->now_ms);
        engine_tick(node->engine);
        for (uint32_t p = 0; p < sim->partition_count; p++) {
            if (i % 10 == 0 && node->partitions->replica[p].term != 0) { write_to(node, p); }
        }
        engine_turn(node->engine);
    }
}

/* ---- checks ---- */

static const struct replica *replica_at(struct msim *sim, uint64_t node_id, uint32_t partition)
{
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        if (node->id == node_id && node->partitions != NULL) {
            return &node->partitions->replica[partition];
        }
    }
    return NULL;
}

static const char *check_replica(struct msim *sim, uint32_t partition,
                                 const struct pmap_replica *replica)
{
    const struct replica *r = replica_at(sim, sim->newest->node[replica->node].id, partition);
    if (r == NULL) { return "a replica's node is down"; }
    if (partitions_replica(r->partitions, partition) != replica->id) {
        return "a replica is not there";
    }
    for (uint32_t n = 0; n < sim->truth[partition].next; n++) {
        if (sim->truth[partition].is_acked[n] != 0 && r->has[n] == 0) {
            return "a replica does not have what was acknowledged";
        }
    }
    return NULL;
}

static const char *check_partition(struct msim *sim, uint32_t partition, uint32_t wanted)
{
    const struct pmap_partition *row = &sim->newest->partition[partition];
    uint32_t leaders = 0;
    if (!row->is_settled) { return "a partition's replicas are not settled"; }
    if (row->replica_count != wanted) { return "a partition has too few replicas"; }
    for (uint32_t i = 0; i < row->replica_count; i++) {
        const char *why = check_replica(sim, partition, &row->replica[i]);
        if (why != NULL) { return why; }
    }
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        if (node->partitions == NULL) { continue; }
        leaders += node->partitions->replica[partition].term != 0;
        uint32_t index = pmap_find_id(sim->newest, node->id);
        if (partitions_replica(node->partitions, partition) != 0 &&
            (index == PMAP_NOBODY || pmap_replica_on(row, index) == NULL)) {
            return "a replica is left over";
        }
    }
    return leaders == 1 ? NULL : "a partition has no leader, or two";
}

const char *mdata_unrest(struct msim *sim)
{
    const struct pmap *map = sim->newest;
    struct placement_change change;
    uint32_t members = 0;
    if (map->level < PMAP_LEVEL_REPLICAS) { return "the level was not raised"; }
    for (uint32_t i = 0; i < map->node_count; i++) {
        members += map->node[i].id != 0;
    }
    uint32_t wanted = members < MDATA_REPLICAS ? members : MDATA_REPLICAS;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const char *why = check_partition(sim, p, wanted);
        if (why != NULL) { return why; }
    }
    return placement_replicas_next(map, MDATA_REPLICAS, &change) ? "replicas are to move" : NULL;
}

void mdata_count_leaders(struct msim *sim)
{
    for (uint32_t p = 0; p < sim->newest->partition_count; p++) {
        uint32_t to = placement_leader(sim->newest, p);
        const struct replica *r =
            to != PMAP_NOBODY ? replica_at(sim, sim->newest->node[to].id, p) : NULL;
        sim->stats.led++;
        sim->stats.led_by_choice += r != NULL && r->term != 0;
    }
}
