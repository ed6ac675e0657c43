/* jams: channels behind full lanes. */
#include "cluster/jams.h"

#include "base/mem.h"
#include "pubsub/msg.h"
#include "pubsub/partition.h"

struct jam {
    struct map_node by_name;
    struct list link; /* in jams.behind[] */
    struct list shipments;
    uint32_t partition;
    enum topic_kind kind;
    char name[];
};

static uint64_t hash_of(enum topic_kind kind, struct slice channel)
{
    return slice_hash(channel) + (uint64_t)kind;
}

static struct jam *jam_find(const struct jams *jams, enum topic_kind kind, struct slice channel)
{
    if (LIKELY(jams->count == 0)) { return NULL; }
    struct map_node *node = map_find(&jams->channels, channel, hash_of(kind, channel));
    return node != NULL ? CONTAINER_OF(node, struct jam, by_name) : NULL;
}

bool jams_have(const struct jams *jams, enum topic_kind kind, struct slice channel)
{
    return jam_find(jams, kind, channel) != NULL;
}

static struct list *behind(struct jams *jams, uint32_t partition, uint32_t node)
{
    return &jams->behind[partition % jams->lane_count * REMOTE_NODES_MAX + node];
}

static struct jam *jam_new(struct jams *jams, const struct shipment *s, struct slice channel,
                           uint32_t node)
{
    struct jam *jam = mem_new0(sizeof *jam + channel.len + 1);
    memcpy(jam->name, channel.data, channel.len);
    jam->by_name.key = slice_of(jam->name, channel.len);
    jam->partition = s->partition;
    jam->kind = s->kind;
    list_init(&jam->shipments);
    map_insert(&jams->channels, &jam->by_name, hash_of(s->kind, channel));
    list_push_back(behind(jams, s->partition, node), &jam->link);
    return jam;
}

static void jam_free_if_over(struct jams *jams, struct jam *jam)
{
    if (!list_is_empty(&jam->shipments)) { return; }
    map_remove(&jams->channels, &jam->by_name);
    list_remove(&jam->link);
    mem_free(jam);
}

static void jam_add(struct jams *jams, struct jam *jam, struct shipment *s)
{
    list_push_back(&jam->shipments, &s->link);
    jams->count++;
}

enum shipment_result jams_order(struct jams *jams, struct shipment *s)
{
    struct slice channel = msg_channel(s->kind, s->span.data);
    struct jam *jam = jam_find(jams, s->kind, channel);
    uint32_t full_node = 0;
    if (jam == NULL) {
        enum shipment_result result = shipment_order(s, &full_node);
        if (LIKELY(result != SHIPMENT_LANE_FULL)) { return result; }
        jam = jam_new(jams, s, channel, full_node);
    }
    jam_add(jams, jam, s);
    return SHIPMENT_LANE_FULL;
}

/* ---- going on ---- */

static void refuse(struct jams *jams, struct shipment *s)
{
    list_remove(&s->link);
    jams->count--;
    jams->on_refused(jams->arg, s);
}

static void jam_refuse(struct jams *jams, struct jam *jam)
{
    while (!list_is_empty(&jam->shipments)) {
        refuse(jams, CONTAINER_OF(jam->shipments.prev, struct shipment, link));
    }
    jam_free_if_over(jams, jam);
}

static void move_behind(struct jam *jam, struct list *lane)
{
    list_remove(&jam->link);
    list_push_back(lane, &jam->link);
}

/* Order the first of the first channel behind a lane; the next turn is another one's. False: the lane is full
 * again. */
static bool step(struct jams *jams, struct list *lane)
{
    struct jam *jam = CONTAINER_OF(lane->next, struct jam, link);
    struct shipment *s = CONTAINER_OF(list_pop_front(&jam->shipments), struct shipment, link);
    uint32_t full_node = 0;
    enum shipment_result result = shipment_order(s, &full_node);
    if (result != SHIPMENT_ORDERED) { list_push_back(jam->shipments.next, &s->link); }
    switch (result) {
    case SHIPMENT_LANE_FULL: {
        struct list *full_lane = behind(jams, jam->partition, full_node);
        if (full_lane == lane) { return false; }
        move_behind(jam, full_lane);
        return true;
    }
    case SHIPMENT_ELSEWHERE: jam_refuse(jams, jam); return true;
    case SHIPMENT_ORDERED:
        jams->count--;
        jams->on_ordered(jams->arg, s);
        move_behind(jam, lane);
        jam_free_if_over(jams, jam);
        return true;
    }
    UNREACHABLE();
}

void jams_try(struct jams *jams)
{
    for (uint32_t i = 0; jams->count > 0 && i < jams->lane_count * REMOTE_NODES_MAX; i++) {
        struct list *lane = &jams->behind[i];
        while (!list_is_empty(lane) && step(jams, lane)) {}
    }
}

void jams_let_go(struct jams *jams)
{
    atomic_store(&jams->has_room, true);
}

void jams_turn(struct jams *jams)
{
    if (LIKELY(jams->count == 0)) { return; }
    if (atomic_exchange(&jams->has_room, false)) { jams_try(jams); }
}

/* ---- the end ---- */

static void refuse_where(struct jams *jams,
                         bool (*is_meant)(const struct jam *jam, const void *arg), const void *arg)
{
    for (uint32_t i = 0; jams->count > 0 && i < jams->lane_count * REMOTE_NODES_MAX; i++) {
        LIST_EACH (at, &jams->behind[i]) {
            struct jam *jam = CONTAINER_OF(at, struct jam, link);
            if (is_meant(jam, arg)) { jam_refuse(jams, jam); }
        }
    }
}

static bool is_of_partition(const struct jam *jam, const void *partition)
{
    return jam->partition == *(const uint32_t *)partition;
}

void jams_leave(struct jams *jams, uint32_t partition)
{
    refuse_where(jams, is_of_partition, &partition);
}

static bool is_any(const struct jam *jam, const void *arg)
{
    (void)jam;
    (void)arg;
    return true;
}

void jams_stop(struct jams *jams)
{
    refuse_where(jams, is_any, NULL);
}

void jams_drop(struct jams *jams, const void *arg)
{
    for (uint32_t i = 0; jams->count > 0 && i < jams->lane_count * REMOTE_NODES_MAX; i++) {
        LIST_EACH (at, &jams->behind[i]) {
            struct jam *jam = CONTAINER_OF(at, struct jam, link);
            LIST_EACH (of_jam, &jam->shipments) {
                struct shipment *s = CONTAINER_OF(of_jam, struct shipment, link);
                if (s->arg == arg) { refuse(jams, s); }
            }
            jam_free_if_over(jams, jam);
        }
    }
}

void jams_init(struct jams *jams, uint32_t lane_count)
{
    jams->lane_count = lane_count;
    jams->behind = mem_new(lane_count * REMOTE_NODES_MAX * sizeof *jams->behind);
    for (uint32_t i = 0; i < lane_count * REMOTE_NODES_MAX; i++) {
        list_init(&jams->behind[i]);
    }
}

void jams_fini(struct jams *jams)
{
    CHECK(jams->count == 0);
    mem_free(jams->behind);
    map_fini(&jams->channels);
}
