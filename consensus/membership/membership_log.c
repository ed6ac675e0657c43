/* membership_log: what changed from one map to the next, as log lines: one per member and event, one
 * per pair of owners.
 * Owns: nothing. Thread: the raft thread. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/membership/membership_int.h"

static const struct pmap_node nobody;

static const struct pmap_node *node_at(const struct pmap *map, uint32_t index)
{
    return map != NULL && index < map->node_count ? &map->node[index] : &nobody;
}

static void log_member(const char *event, const struct pmap_node *node, const struct pmap *map)
{
    LOG_INFO(event, LOG_STR("node", node->name), LOG_UINT("incarnation", node->incarnation),
             LOG_STR("host", node->peer.host), LOG_UINT("port", node->peer.port),
             LOG_UINT("version", map->version));
}

static void log_change(const struct pmap_node *old, const struct pmap_node *new,
                       const struct pmap *map)
{
    if (old->id != new->id && old->id != 0) {
        log_member(new->id != 0 && strcmp(old->name, new->name) == 0 ? "member replaced: empty disk"
                                                                     : "member forgotten",
                   old, map);
    }
    if (new->id == 0) { return; }
    if (old->id != new->id) { log_member("member new", new, map); }
    bool was_up = old->id == new->id && old->is_up;
    if (new->is_up && (!was_up || old->incarnation != new->incarnation)) {
        log_member("member up", new, map);
    }
    if (was_up && !new->is_up) { log_member("member down", new, map); }
    if (new->is_draining && !(old->id == new->id && old->is_draining)) {
        log_member("member draining", new, map);
    }
    if (new->is_voter != (old->id == new->id && old->is_voter)) {
        log_member(new->is_voter ? "member votes" : "member votes no more", new, map);
    }
}

/* ---- owners ---- */

/* The partitions that went from one owner to another, as ranges; cut when it gets long. */
struct moved {
    uint32_t from;
    uint32_t to;
    uint32_t count;
    uint32_t last;
    uint64_t epoch_max;
    struct buf ranges;
};

enum { RANGES_BYTES_MAX = 512 };

static uint32_t owner_in(const struct pmap *map, uint32_t partition)
{
    return map != NULL ? map->partition[partition].owner : PMAP_NOBODY;
}

static void add_partition(struct moved *moved, const struct pmap *map, uint32_t partition)
{
    uint64_t epoch = map->partition[partition].epoch;
    bool goes_on = moved->count > 0 && moved->last + 1 == partition;
    if (!goes_on && moved->ranges.len < RANGES_BYTES_MAX) {
        buf_appendf(&moved->ranges, "%s%u", moved->count > 0 ? "," : "", (unsigned)partition);
    }
    if (goes_on && moved->ranges.len < RANGES_BYTES_MAX) {
        /* A range's end is written over by the next one. */
        size_t at = moved->ranges.len;
        while (at > 0 && moved->ranges.data[at - 1] != '-' && moved->ranges.data[at - 1] != ',') {
            at--;
        }
        bool has_end = at > 0 && moved->ranges.data[at - 1] == '-';
        moved->ranges.len = has_end ? at - 1 : moved->ranges.len;
        buf_appendf(&moved->ranges, "-%u", (unsigned)partition);
    }
    moved->count++;
    moved->last = partition;
    moved->epoch_max = epoch > moved->epoch_max ? epoch : moved->epoch_max;
}

static const char *name_of(const struct pmap *map, uint32_t index)
{
    return index != PMAP_NOBODY && node_at(map, index)->id != 0 ? node_at(map, index)->name : "-";
}

static void log_moved(const struct pmap *before, const struct pmap *after, struct moved *moved)
{
    LOG_INFO("partitions have another owner", LOG_SLICE("partitions", buf_slice(&moved->ranges)),
             LOG_STR("from", name_of(before, moved->from)),
             LOG_STR("to", name_of(after, moved->to)), LOG_UINT("epoch_max", moved->epoch_max),
             LOG_UINT("version", after->version));
    buf_fini(&moved->ranges);
}

static void log_owners(const struct pmap *before, const struct pmap *after)
{
    bool *is_told = mem_new0(after->partition_count);
    for (uint32_t p = 0; p < after->partition_count; p++) {
        struct moved moved = {.from = owner_in(before, p), .to = owner_in(after, p)};
        if (is_told[p] || moved.from == moved.to) { continue; }
        for (uint32_t q = p; q < after->partition_count; q++) {
            if (owner_in(before, q) == moved.from && owner_in(after, q) == moved.to) {
                add_partition(&moved, after, q);
                is_told[q] = true;
            }
        }
        log_moved(before, after, &moved);
    }
    mem_free(is_told);
}

void membership_log_changes(const struct pmap *before, const struct pmap *after)
{
    uint32_t count = after->node_count;
    if (!log_is_on(LOG_LEVEL_INFO)) { return; }
    if (before != NULL && before->node_count > count) { count = before->node_count; }
    for (uint32_t i = 0; i < count; i++) {
        log_change(node_at(before, i), node_at(after, i), after);
    }
    log_owners(before, after);
}
