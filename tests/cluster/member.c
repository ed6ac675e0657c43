/* member: one process that is nothing but a member of a cluster, for membership.py.
 * usage: member -d DIR -n NAME -l HOST:PORT [-j HOST:PORT,...] [-e EXPECT] [-p PARTITIONS] [-z ZONE]
 *               [-t NODE_TIMEOUT_MS]
 * Lines on standard input are commands: status, drain, leave, forget NAME, suspect NAME. Each map is
 * one line on standard output. At the end of the input it stops. Threads: main, raft. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node_options.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "consensus/membership/membership.h"

enum { LINE_BYTES = 512, MAPS_MAX = 1024 };

static struct membership *membership;
static _Atomic(const struct pmap *) newest;
static const struct pmap *kept[MAPS_MAX]; /* all that main may still look at: the last ones */
static struct pmap_address join_list[JOIN_MAX];
static struct membership_opts opts = {
    .zone = "",
    .join = join_list,
    .partition_count = 64,
    .election_ms = 1000,
    .heartbeat_ms = 100,
    .node_timeout_ms = 1000,
    .disk_reserve_bytes = 64 << 20,
};

static void print_map(const char *word, const struct pmap *map, uint32_t self)
{
    char text[16384];
    int len =
        snprintf(text, sizeof text, "%s t=%" PRIu64 " version=%" PRIu64 " cluster=%016" PRIx64,
                 word, clock_wall_us() / 1000, map->version, map->cluster_id);
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        uint32_t owned = 0;
        if (node->id == 0) { continue; }
        for (uint32_t p = 0; p < map->partition_count; p++) {
            owned += map->partition[p].owner == i;
        }
        len += snprintf(text + len, sizeof text - (size_t)len, " %s=%s,%s,%s,%" PRIu64 ",%u,%s:%u",
                        node->name, node->is_up ? "up" : "down",
                        node->is_draining ? "draining" : "-", node->is_voter ? "voter" : "-",
                        node->incarnation, (unsigned)owned, node->raft.host, node->raft.port);
    }
    printf("%s self=%d\n", text, self == PMAP_NOBODY ? -1 : (int)self);
    fflush(stdout);
}

static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    static uint64_t count;
    (void)arg;
    pmap_unref(kept[count % MAPS_MAX]);
    kept[count++ % MAPS_MAX] = pmap_ref(map);
    atomic_store(&newest, map);
    print_map("map", map, self);
}

static void on_forgotten(void *arg, const char *error)
{
    (void)arg;
    printf("forget %s\n", error != NULL ? error : "OK");
    fflush(stdout);
}

static void print_status(void)
{
    struct membership_status status;
    const struct pmap *map = atomic_load(&newest);
    uint32_t self = map != NULL ? pmap_find_id(map, opts.node_id) : PMAP_NOBODY;
    uint64_t incarnation = self != PMAP_NOBODY ? map->node[self].incarnation : 0;
    membership_status(membership, &status);
    printf("status unready=%s leader=%s leads=%d term=%" PRIu64 " lease=%d has_lease=%d\n",
           status.unready_because != NULL ? status.unready_because : "-", status.leader,
           status.is_leader, status.term, membership_has_lease(membership, incarnation),
           status.has_lease);
    if (map != NULL) { print_map("present", map, self); }
    printf("end\n");
    fflush(stdout);
}

static void suspect(const char *name)
{
    const struct pmap *map = atomic_load(&newest);
    uint32_t index = map != NULL ? pmap_find_name(map, slice_of_str(name)) : PMAP_NOBODY;
    if (index == PMAP_NOBODY) { return; }
    membership_suspect(membership, map->node[index].id, map->node[index].incarnation);
}

static void run_command(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "status") == 0) { print_status(); }
    if (strcmp(line, "drain") == 0) { membership_drain(membership); }
    if (strcmp(line, "leave") == 0) { membership_leave(membership); }
    if (strncmp(line, "forget ", 7) == 0) {
        membership_forget(membership, line + 7, on_forgotten, NULL);
    }
    if (strncmp(line, "suspect ", 8) == 0) { suspect(line + 8); }
}

static void parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "d:n:l:j:e:p:z:t:")) != -1) {
        switch (option) {
        case 'd': opts.dir = optarg; break;
        case 'n': opts.name = optarg; break;
        case 'l': parse_address(optarg, &opts.raft); break;
        case 'j': parse_join(optarg, &opts, join_list); break;
        case 'e': opts.expect = (uint32_t)atoi(optarg); break;
        case 'p': opts.partition_count = (uint32_t)atoi(optarg); break;
        case 'z': opts.zone = optarg; break;
        case 't': opts.node_timeout_ms = (uint32_t)atoi(optarg); break;
        default: exit(2);
        }
    }
    if (opts.dir == NULL || opts.name == NULL || opts.raft.host[0] == '\0') { exit(2); }
}

int main(int argc, char **argv)
{
    static struct thread self;
    char line[LINE_BYTES];
    thread_adopt(&self, "main");
    signal(SIGPIPE, SIG_IGN);
    parse(argc, argv);
    (void)mkdir(opts.dir, 0700);
    opts.node_id = node_id_of(opts.dir);
    opts.client = opts.raft;
    opts.peer = opts.raft;
    opts.raft_listen_host = opts.raft.host;
    opts.raft_listen_port = opts.raft.port;
    opts.on_map = on_map;
    if (membership_start(&membership, &opts) != ERR_OK) { return 1; }
    while (fgets(line, sizeof line, stdin) != NULL) {
        run_command(line);
    }
    membership_stop(membership);
    for (size_t i = 0; i < MAPS_MAX; i++) {
        pmap_unref(kept[i]);
    }
    return 0;
}
