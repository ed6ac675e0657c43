/* gate: see the header. */
#include "partition/gate.h"

#include "base/mem.h"

struct gate_key {
    uint64_t node_id;
    uint64_t worker;
};

struct gate {
    struct map_node in_lanes;
    struct gate_key key;
    uint64_t incarnation;
    uint64_t seq; /* the lowest one that was refused */
};

static struct gate_key key_of(const struct partition_origin *origin)
{
    return (struct gate_key){origin->node_id, origin->worker};
}

static struct slice slice_of_key(const struct gate_key *key)
{
    return slice_of(key, sizeof *key);
}

static struct gate *find(const struct gates *gates, const struct partition_origin *origin)
{
    const struct gate_key key = key_of(origin);
    struct map_node *node =
        map_find(&gates->lanes, slice_of_key(&key), slice_hash(slice_of_key(&key)));
    return node != NULL ? CONTAINER_OF(node, struct gate, in_lanes) : NULL;
}

static void gate_free(struct gates *gates, struct gate *gate)
{
    map_remove(&gates->lanes, &gate->in_lanes);
    mem_free(gate);
}

void gates_fini(struct gates *gates)
{
    struct map_node *node;
    while ((node = map_next(&gates->lanes, NULL)) != NULL) {
        gate_free(gates, CONTAINER_OF(node, struct gate, in_lanes));
    }
    map_fini(&gates->lanes);
}

bool gates_hold(const struct gates *gates, const struct partition_request *request)
{
    const struct partition_origin *origin = &request->origin;
    if (LIKELY(gates->lanes.count == 0) || origin->is_parking) { return false; }
    const struct gate *gate = find(gates, origin);
    return gate != NULL && origin->incarnation == gate->incarnation && origin->seq > gate->seq;
}

bool gates_refuse(struct gates *gates, const struct partition_request *request)
{
    const struct partition_origin *origin = &request->origin;
    if (LIKELY(gates->lanes.count == 0) || origin->is_parking) { return false; }
    struct gate *gate = find(gates, origin);
    if (gate == NULL || origin->incarnation < gate->incarnation) { return false; }
    bool is_over = origin->incarnation > gate->incarnation || origin->seq <= gate->seq ||
                   origin->acked_low > gate->seq;
    if (is_over) { gate_free(gates, gate); }
    return !is_over;
}

void gates_answer(struct gates *gates, const struct partition_request *request, enum err err)
{
    const struct partition_origin *origin = &request->origin;
    bool comes_again = err == ERR_NOT_LEADER || err == ERR_SLOW || err == ERR_INDOUBT;
    if (LIKELY(!comes_again) || origin->is_parking) { return; }
    struct gate *gate = find(gates, origin);
    if (gate == NULL) {
        gate = mem_new(sizeof *gate);
        *gate = (struct gate){
            .key = key_of(origin), .incarnation = origin->incarnation, .seq = origin->seq};
        gate->in_lanes.key = slice_of_key(&gate->key);
        map_insert(&gates->lanes, &gate->in_lanes, slice_hash(gate->in_lanes.key));
        return;
    }
    bool is_older = origin->incarnation < gate->incarnation;
    bool is_over = origin->incarnation > gate->incarnation || origin->acked_low > gate->seq;
    if (!is_older && (is_over || origin->seq < gate->seq)) {
        gate->incarnation = origin->incarnation;
        gate->seq = origin->seq;
    }
}
