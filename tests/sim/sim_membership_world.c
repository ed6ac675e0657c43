/* sim_membership_world: nodes, clocks, network, the loop of events, and what is checked after each.
 * Always checked: there is one cluster; who has a valid lease and owns something by the map it was
 * given is up, in that very life, in the newest map that exists anywhere. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim_membership_data.h"
#include "sim/sim_membership_users.h"

#include "partition/replicas.h"

enum { DISK_BYTES = 4 << 20 };

void msim_print(struct msim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("[%8lu] ", (unsigned long)sim->now_ms);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void msim_fail(struct msim *sim, const char *format, ...)
{
    if (sim->has_failed) { return; }
    va_list args;
    va_start(args, format);
    int used = snprintf(sim->failure, sizeof sim->failure,
                        "seed=%lu t=%lu: ", (unsigned long)sim->seed, (unsigned long)sim->now_ms);
    vsnprintf(sim->failure + used, sizeof sim->failure - (size_t)used, format, args);
    va_end(args);
    sim->has_failed = true;
}

/* ---- checks ---- */

static void check_map(struct mnode *node, const struct pmap *map)
{
    struct msim *sim = node->sim;
    if (map == NULL) { return; }
    if (sim->cluster_id == 0) {
        sim->cluster_id = map->cluster_id;
        sim->stats.founded++;
    }
    if (map->cluster_id != sim->cluster_id) {
        msim_fail(sim, "%s is in a second cluster", node->name);
    }
    if (sim->newest == NULL || map->version > sim->newest->version) {
        pmap_unref(sim->newest);
        sim->newest = pmap_ref(map);
    }
}

static bool owns_any(const struct pmap *map, uint32_t index)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner == index) { return true; }
    }
    return false;
}

static void check_lease(struct mnode *node)
{
    struct msim *sim = node->sim;
    if (node->core == NULL || node->map == NULL || sim->newest == NULL) { return; }
    if (mnode_clock_ms(node) >= node->lease_until_ms) { return; }
    uint32_t self = pmap_find_id(node->map, node->id);
    if (self == PMAP_NOBODY || !node->map->node[self].is_up ||
        node->map->node[self].incarnation != node->lease_incarnation ||
        !owns_any(node->map, self)) {
        return;
    }
    sim->stats.lease_checks++;
    uint32_t index = pmap_find_id(sim->newest, node->id);
    bool is_up = index != PMAP_NOBODY && sim->newest->node[index].is_up &&
                 sim->newest->node[index].incarnation == node->lease_incarnation;
    if (!is_up) {
        msim_fail(sim,
                  "%s owns partitions under a lease of incarnation %lu for %lu ms more, and is not "
                  "up in map %lu",
                  node->name, (unsigned long)node->lease_incarnation,
                  (unsigned long)(node->lease_until_ms - mnode_clock_ms(node)),
                  (unsigned long)sim->newest->version);
    }
}

void msim_settle(struct mnode *node)
{
    struct msim *sim = node->sim;
    if (node->engine == NULL) { return; }
    engine_turn(node->engine);
    struct core_status status;
    core_status(node->core, &status);
    check_map(node, status.map);
    for (int i = 1; i <= sim->node_count; i++) {
        check_lease(&sim->nodes[i]);
    }
}

/* ---- how it stands ---- */

const char *msim_unrest(struct msim *sim)
{
    const struct pmap *map = sim->newest;
    uint32_t owned[PMAP_NODES_MAX] = {0};
    uint32_t most = 0;
    uint32_t fewest = UINT32_MAX;
    uint32_t voters = 0;
    uint32_t up = 0;
    if (map == NULL) { return "there is no cluster"; }
    for (int i = 1; i <= sim->node_count; i++) {
        const struct mnode *node = &sim->nodes[i];
        if (node->is_absent) { continue; }
        if (node->core == NULL) { return "a node is down"; }
        if (node->map == NULL || node->map->version != map->version) { return "a map is old"; }
        struct core_status status;
        core_status(node->core, &status);
        if (status.unready_because != NULL) { return status.unready_because; }
        if (mnode_clock_ms(node) >= node->lease_until_ms) { return "a lease has ended"; }
    }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner == PMAP_NOBODY) { return "a partition has no owner"; }
        owned[map->partition[p].owner]++;
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->node[i].id == 0 || !map->node[i].is_up) { continue; }
        most = owned[i] > most ? owned[i] : most;
        fewest = owned[i] < fewest ? owned[i] : fewest;
        voters += map->node[i].is_voter;
        up++;
    }
    if (most > fewest + 1) { return "the partitions are not spread evenly"; }
    uint32_t wanted = up < CORE_VOTERS_MAX ? up - (up % 2 == 0) : CORE_VOTERS_MAX;
    if (voters < wanted) { return "there are too few voters"; }
    const char *why = sim->truth != NULL ? mdata_unrest(sim) : NULL;
    return why == NULL && sim->truth != NULL ? musers_unrest(sim) : why;
}

struct mnode *msim_leader(struct msim *sim)
{
    struct mnode *leader = NULL;
    uint64_t term = 0;
    for (int i = 1; i <= sim->node_count; i++) {
        struct core_status status;
        if (sim->nodes[i].core == NULL) { continue; }
        core_status(sim->nodes[i].core, &status);
        if (status.raft.is_leader && status.raft.term > term) {
            leader = &sim->nodes[i];
            term = status.raft.term;
        }
    }
    return leader;
}

/* ---- clock and network ---- */

uint64_t mnode_clock_ms(const struct mnode *node)
{
    return node->clock_offset_ms + node->sim->now_ms * node->clock_ppm / 1000000;
}

/* The world's time at which the node's clock shows `clock_ms`. */
static uint64_t world_ms(const struct mnode *node, uint64_t clock_ms)
{
    if (clock_ms <= node->clock_offset_ms) { return 0; }
    uint64_t since = clock_ms - node->clock_offset_ms;
    return since > UINT64_MAX / 2000000 ? UINT64_MAX
                                        : (since * 1000000 + node->clock_ppm - 1) / node->clock_ppm;
}

/* A packet to whoever has that address: a node's number as its host, and its port. */
static void post(struct mnode *node, enum mkind kind, const struct pmap_address *to,
                 struct slice bytes)
{
    struct msim *sim = node->sim;
    int number = to->host[0] - '0';
    int from = node->name[1] - '0';
    CHECK(number >= 1 && number <= MSIM_NODES_MAX);
    if (number > sim->node_count || sim->blocked[from][number] ||
        sim_random(&sim->random, 1000) < sim->loss_per_mille) {
        return;
    }
    int copies = 1 + (sim_random(&sim->random, 1000) < sim->dup_per_mille);
    for (int i = 0; i < copies; i++) {
        uint64_t delay = sim_random(&sim->random, 12) ? sim_random(&sim->random, 8)
                                                      : sim_random(&sim->random, sim->late_ms_max);
        struct sim_packet packet = {.due_ms = sim->now_ms + 1 + delay,
                                    .kind = kind,
                                    .from = from,
                                    .to = number,
                                    .to_port = to->port,
                                    .cluster = node->link_cluster};
        buf_append(&packet.bytes, bytes);
        sim_packets_push(&sim->packets, packet);
    }
}

/* ---- what engine and core need of the world ---- */

static uint64_t world_now(void *arg)
{
    return mnode_clock_ms(arg);
}

static uint64_t world_random(void *arg)
{
    struct msim *sim = ((struct mnode *)arg)->sim;
    uint64_t high = sim_random(&sim->random, UINT32_MAX);
    return high << 32 | sim_random(&sim->random, UINT32_MAX);
}

static void send_named(struct mnode *node, enum mkind kind, const char *name, struct slice bytes)
{
    struct pmap_address address;
    if (node->core != NULL && core_address_of(node->core, name, &address)) {
        post(node, kind, &address, bytes);
    }
}

static void world_frame(void *arg, const char *name, struct slice frame, bool is_bulk)
{
    (void)is_bulk;
    send_named(arg, M_FRAME, name, frame);
}

static void world_send(void *arg, const char *name, struct slice note)
{
    send_named(arg, M_NOTE, name, note);
}

static void world_send_to(void *arg, const struct pmap_address *to, struct slice note)
{
    post(arg, M_CONTACT, to, note);
}

/* The join list has everybody's names; they are resolved now. */
/* Whoever is expected in simulation founds one cluster by their promises alone. */
static uint32_t world_join_count(void *arg)
{
    (void)arg;
    return 0;
}

static void world_send_join(void *arg, struct slice note)
{
    struct mnode *node = arg;
    for (int i = 1; i <= node->sim->node_count; i++) {
        struct pmap_address to = {.port = node->sim->nodes[i].port};
        snprintf(to.host, sizeof to.host, "%d", i);
        post(node, M_CONTACT, &to, note);
    }
}

static void world_redial(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

static void world_set_cluster(void *arg, uint64_t cluster_id)
{
    ((struct mnode *)arg)->link_cluster = cluster_id;
}

/* When it fails nobody knows whether it happened. */
static enum err world_save(void *arg, const struct cluster_file *file)
{
    struct mnode *node = arg;
    struct msim *sim = node->sim;
    if (sim_random(&sim->random, 1000) < sim->save_fails_per_mille) { return ERR_FULL; }
    node->file = *file;
    return ERR_OK;
}

static uint32_t world_on_map(void *arg, const struct pmap *map, uint32_t self)
{
    struct mnode *node = arg;
    uint32_t had = 0;
    uint32_t has = 0;
    uint32_t before = node->map != NULL ? pmap_find_id(node->map, node->id) : PMAP_NOBODY;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        had += before != PMAP_NOBODY && node->map->partition[p].owner == before;
        has += self != PMAP_NOBODY && map->partition[p].owner == self;
    }
    if (node->map != NULL && map->version < node->map->version) {
        msim_fail(node->sim, "%s was given an older map", node->name);
    }
    if (has > had) {
        node->warming = has - had;
        node->warm_until_ms = node->sim->now_ms + sim_random(&node->sim->random, 60);
    }
    pmap_unref(node->map);
    node->map = pmap_ref(map);
    check_map(node, map);
    if (node->replicas != NULL) { replicas_on_map(node->replicas, map, self); }
    return node->warming;
}

static void world_soon(void *arg)
{
    ((struct mnode *)arg)->tick_at_ms = 0;
}

static void world_set_lease(void *arg, uint64_t until_ms, uint64_t incarnation)
{
    struct mnode *node = arg;
    if (incarnation != node->lease_incarnation) { node->life_ms = node->sim->now_ms; }
    node->lease_until_ms = until_ms;
    node->lease_incarnation = incarnation;
}

static void world_fatal(void *arg, const char *what)
{
    struct mnode *node = arg;
    msim_fail(node->sim, "%s: %s", node->name, what);
}

/* ---- life of a node ---- */

static enum err start_core(struct mnode *node)
{
    const struct msim *sim = node->sim;
    struct core_world world = {
        .arg = node,
        .now_ms = world_now,
        .random = world_random,
        .send = world_send,
        .send_to = world_send_to,
        .send_join = world_send_join,
        .join_count = world_join_count,
        .redial = world_redial,
        .set_cluster = world_set_cluster,
        .save = world_save,
        .on_map = world_on_map,
        .on_roster = musers_on_roster,
        .own_users = musers_own,
        .soon = world_soon,
        .set_lease = world_set_lease,
    };
    struct core_opts opts = {
        .node_id = node->id,
        .name = node->name,
        .zone = node->name[1] % 2 == 0 ? "even" : "odd",
        .has_join = true,
        .expect = node->expect,
        .partition_count = sim->partition_count,
        .has_data = node->partitions != NULL,
        .has_users = !node->knows_no_users,
        .replicas = MDATA_REPLICAS,
        .heartbeat_ms = 100,
        .node_timeout_ms = sim->node_timeout_ms,
    };
    snprintf(opts.raft.host, sizeof opts.raft.host, "%c", node->name[1]);
    opts.raft.port = node->port;
    opts.client = opts.raft;
    opts.peer = opts.raft;
    node->link_cluster = node->file.state >= CLUSTER_FOUNDING ? node->file.cluster_id : 0;
    return core_new(&node->core, &opts, &world, node->engine, &node->file);
}

static enum err start_engine(struct mnode *node)
{
    struct msim *sim = node->sim;
    struct engine_opts opts = engine_opts_default();
    struct engine_world world = {node, &node->sd.disk, world_now, world_frame, world_fatal};
    struct wal_report report;
    opts.node_name = node->name;
    opts.node_id = node->id;
    opts.random_seed = sim_random(&sim->random, UINT32_MAX);
    opts.segment_bytes = 64 << 10;
    opts.snapshot_log_bytes = 4096;
    opts.trailing_entries = 8;
    opts.ballast_bytes = 128 << 10;
    opts.free_bytes_min = 128 << 10;
    opts.chunk_bytes = 512;
    node->sd.now_ms = sim->now_ms;
    node->clock_offset_ms = sim_random(&sim->random, 1000000);
    return engine_open(&node->engine, &opts, &world, &report);
}

void msim_live_alone(struct mnode *node)
{
    CHECK(start_engine(node) == ERR_OK);
    mdata_start(node);
    mdata_alone(node);
    msim_stop(node, false);
}

void msim_start(struct mnode *node)
{
    struct msim *sim = node->sim;
    MSIM_LOG(sim, "%s starts, port %u, file %d", node->name, node->port, (int)node->file.state);
    enum err err = start_engine(node);
    if (err == ERR_OK && sim->truth != NULL && !node->is_old) { mdata_start(node); }
    if (err == ERR_OK) { err = start_core(node); }
    if (err != ERR_OK) {
        msim_fail(sim, "%s does not start: %s", node->name, err_word(err));
        return;
    }
    node->tick_at_ms = sim->now_ms;
    msim_settle(node);
}

static void end_process(struct mnode *node)
{
    sim_disk_interrupt(&node->sd);
    engine_free(node->engine);
    core_free(node->core);
    mdata_stop(node);
    node->engine = NULL;
    node->core = NULL;
    pmap_unref(node->map);
    node->map = NULL;
    musers_stop(node);
    node->lease_until_ms = 0;
    node->is_drained = false;
    node->warming = 0;
    node->paused_until_ms = 0;
    node->up_at_ms = node->sim->now_ms + 20 + sim_random(&node->sim->random, 3000);
}

void msim_stop(struct mnode *node, bool is_power_cut)
{
    struct msim *sim = node->sim;
    if (node->engine == NULL) { return; }
    MSIM_LOG(sim, "%s %s", node->name, is_power_cut ? "loses power" : "is killed");
    end_process(node);
    if (is_power_cut) {
        sim->stats.power_cuts++;
        sim_disk_crash(&node->sd);
    } else {
        sim->stats.kills++;
        sim_disk_kill(&node->sd);
    }
}

void msim_wipe(struct mnode *node)
{
    struct msim *sim = node->sim;
    MSIM_LOG(sim, "%s loses its disk", node->name);
    if (node->engine != NULL) { end_process(node); }
    sim->stats.wipes++;
    sim_disk_fini(&node->sd);
    sim_disk_init(&node->sd, sim_random(&sim->random, UINT32_MAX) + 1);
    node->sd.capacity_bytes = DISK_BYTES;
    node->id += 1000;
    node->file = (struct cluster_file){0};
    node->up_at_ms = sim->now_ms + 10;
}

/* ---- events ---- */

enum event {
    EVENT_NONE,
    EVENT_PACKET,
    EVENT_DISK,
    EVENT_ENGINE,
    EVENT_CORE,
    EVENT_WARM,
    EVENT_UP,
    EVENT_WRITE
};

struct next {
    uint64_t at_ms;
    enum event event;
    struct mnode *node;
};

static void earlier(struct next *next, uint64_t at_ms, enum event event, struct mnode *node)
{
    if (at_ms < next->at_ms) { *next = (struct next){at_ms, event, node}; }
}

static uint64_t not_before(uint64_t at_ms, uint64_t min_ms)
{
    return at_ms > min_ms ? at_ms : min_ms;
}

static struct next find_next(struct msim *sim, uint64_t until_ms)
{
    struct next next = {until_ms, EVENT_NONE, NULL};
    if (sim->truth != NULL) { earlier(&next, sim->write_at_ms, EVENT_WRITE, NULL); }
    earlier(&next, sim_packets_due_ms(&sim->packets), EVENT_PACKET, NULL);
    for (int i = 1; i <= sim->node_count; i++) {
        struct mnode *node = &sim->nodes[i];
        uint64_t from = node->paused_until_ms;
        if (node->engine == NULL) {
            if (!node->is_absent) { earlier(&next, node->up_at_ms, EVENT_UP, node); }
            continue;
        }
        uint64_t disk_ms = sim_disk_next_ms(&node->sd);
        uint64_t engine_ms = world_ms(node, engine_next_ms(node->engine));
        if (disk_ms != UINT64_MAX) { earlier(&next, not_before(disk_ms, from), EVENT_DISK, node); }
        earlier(&next, not_before(engine_ms, from), EVENT_ENGINE, node);
        earlier(&next, not_before(node->tick_at_ms, from), EVENT_CORE, node);
        if (node->warming > 0) {
            earlier(&next, not_before(node->warm_until_ms, from), EVENT_WARM, node);
        }
    }
    return next;
}

static void hand_over(struct msim *sim, struct mnode *node, const struct sim_packet *packet)
{
    const char *from = sim->nodes[packet->from].name;
    bool is_ours = packet->cluster == node->link_cluster && packet->cluster != 0;
    if (packet->to_port != node->port || (packet->kind != M_CONTACT && !is_ours)) { return; }
    node->sd.now_ms = sim->now_ms;
    if (packet->kind != M_FRAME) {
        core_note(node->core, packet->kind == M_NOTE ? from : NULL, buf_slice(&packet->bytes));
    } else if (engine_receive(node->engine, from, buf_slice(&packet->bytes)) != ERR_OK) {
        msim_fail(sim, "a frame was refused");
    }
    msim_settle(node);
}

static void deliver(struct msim *sim)
{
    struct sim_packet packet = sim_packets_pop(&sim->packets);
    struct mnode *node = &sim->nodes[packet.to];
    if (node->engine != NULL && node->paused_until_ms > sim->now_ms) {
        packet.due_ms = node->paused_until_ms; /* it waits in a socket */
        sim_packets_push(&sim->packets, packet);
        return;
    }
    if (node->engine != NULL && !sim->blocked[packet.from][packet.to]) {
        hand_over(sim, node, &packet);
    }
    buf_fini(&packet.bytes);
}

static bool run_one(struct msim *sim, uint64_t until_ms)
{
    struct next next = find_next(sim, until_ms);
    struct mnode *node = next.node;
    sim->now_ms = next.at_ms > sim->now_ms ? next.at_ms : sim->now_ms;
    sim->stats.events++;
    if (node != NULL) { node->sd.now_ms = sim->now_ms; }
    switch (next.event) {
    case EVENT_NONE: return false;
    case EVENT_PACKET: deliver(sim); break;
    case EVENT_DISK:
        (void)sim_disk_step(&node->sd, sim->now_ms);
        msim_settle(node);
        break;
    case EVENT_ENGINE:
        engine_tick(node->engine);
        msim_settle(node);
        break;
    case EVENT_CORE:
        node->tick_at_ms = sim->now_ms + core_tick_ms(node->core);
        core_tick(node->core);
        mdata_tick(node);
        musers_tick(node);
        msim_settle(node);
        break;
    case EVENT_WRITE:
        sim->write_at_ms = sim->now_ms + 1 + sim_random(&sim->random, 200);
        mdata_write(sim);
        musers_change(sim);
        break;
    case EVENT_WARM:
        node->warming = 0;
        core_set_warming(node->core, 0);
        msim_settle(node);
        break;
    case EVENT_UP: msim_start(node); break;
    }
    return !sim->has_failed;
}

bool msim_run(struct msim *sim, uint64_t until_ms)
{
    while (run_one(sim, until_ms)) {}
    return !sim->has_failed;
}

/* ---- begin and end ---- */

void msim_add(struct msim *sim, int number, uint32_t expect)
{
    struct mnode *node = &sim->nodes[number];
    node->sim = sim;
    snprintf(node->name, sizeof node->name, "n%d", number);
    node->id = (uint64_t)number;
    node->port = 1000;
    node->expect = expect;
    node->clock_ppm = 1000000;
    sim_disk_init(&node->sd, sim->seed * 131 + (uint64_t)number);
    node->sd.capacity_bytes = DISK_BYTES;
    node->sd.delay_ms_max = 3;
}

void msim_end(struct msim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        sim->nodes[i].is_absent = true;
        msim_stop(&sim->nodes[i], false);
        sim_disk_fini(&sim->nodes[i].sd);
    }
    sim_packets_free(&sim->packets);
    mem_free(sim->truth);
    pmap_unref(sim->newest);
}
