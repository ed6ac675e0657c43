/* ask_owners: PUBSUB's questions to all owners, and the answers to others'. */
#include "base/clock.h"
#include "base/glob.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"

struct asking {
    struct list link; /* in half.askings */
    struct half *half;
    struct cluster_question *asked;
    uint64_t map_version;
    uint64_t since_ns;
    uint64_t id[PMAP_NODES_MAX]; /* outstanding at a node; 0: not, or answered */
    uint32_t left;
    bool is_begun;
};

/* ---- this node's own part ---- */

struct gathering {
    struct buf *names;
    uint64_t count;
    bool has_pattern;
    struct glob pattern;
};

static void gather_name(void *arg, struct slice name)
{
    struct gathering *g = arg;
    if (g->has_pattern && !glob_matches(&g->pattern, name)) { return; }
    uint32_t len = (uint32_t)name.len;
    buf_append(g->names, slice_of((const char *)&len, sizeof len));
    buf_append(g->names, name);
    g->count++;
}

static bool is_owned_here(const struct half *half, struct slice name)
{
    struct directory *d = half->cluster->directory;
    struct remote_partition at = directory_partition_peek(d, directory_partition_of(d, name));
    return at.phase == PARTITION_OWNED;
}

static void answer_own(struct half *half, struct cluster_question *q)
{
    struct directory *d = half->cluster->directory;
    if (q->wants_names) {
        struct gathering g = {.names = &q->names, .has_pattern = q->has_pattern};
        glob_init(&g.pattern, q->pattern);
        directory_each(d, q->kind, gather_name, &g);
        glob_fini(&g.pattern);
        q->names_found += g.count;
        return;
    }
    for (uint32_t i = 0; i < q->name_count; i++) {
        if (is_owned_here(half, q->name[i])) {
            q->count[i] = directory_subscribers(d, q->kind, q->name[i]);
        }
    }
}

/* ---- asking ---- */

static uint32_t owner_of(const struct half *half, struct slice name)
{
    return half->map->partition[directory_partition_of(half->cluster->directory, name)].owner;
}

static bool all_can_answer(const struct half *half)
{
    if (half->map == NULL) { return false; }
    for (uint32_t p = 0; p < half->map->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(half->cluster->directory, p);
        if (at.epoch != half->map->partition[p].epoch) { return false; }
        if (at.phase == PARTITION_OWNED) { continue; }
        if (at.phase != PARTITION_READY || !outlet_can_ask(half->outlet[at.owner])) {
            return false;
        }
    }
    return true;
}

static void send_query(struct asking *q, uint32_t node)
{
    struct half *half = q->half;
    const struct cluster_question *asked = q->asked;
    struct slice *names = mem_new((asked->name_count + 1) * sizeof *names);
    size_t count = 0;
    for (uint32_t i = 0; i < asked->name_count; i++) {
        if (owner_of(half, asked->name[i]) == node) { names[count++] = asked->name[i]; }
    }
    if (asked->wants_names || count > 0) {
        q->id[node] = ++half->next_id;
        q->left++;
        const struct wire_frame frame = {
            .type = WIRE_QUERY,
            .query = {.id = q->id[node],
                      .what = asked->wants_names ? WIRE_QUERY_NAMES : WIRE_QUERY_COUNTS,
                      .kind = asked->kind,
                      .has_pattern = asked->has_pattern,
                      .pattern = asked->pattern,
                      .name = names,
                      .name_count = count},
        };
        outlet_send(half->outlet[node], half->outlet[node]->request, &frame);
    }
    mem_free(names);
}

static void finish(struct asking *q, enum err err)
{
    struct cluster_question *asked = q->asked;
    list_remove(&q->link);
    mem_free(q);
    asked->err = err;
    asked->on_done(asked);
}

static void begin(struct asking *q)
{
    struct half *half = q->half;
    struct cluster_question *asked = q->asked;
    q->is_begun = all_can_answer(half);
    if (!q->is_begun) { return; }
    q->map_version = half->map->version;
    q->left = 0;
    asked->names.len = 0;
    asked->names_found = 0;
    for (uint32_t i = 0; !asked->wants_names && i < asked->name_count; i++) {
        asked->count[i] = 0;
    }
    uint64_t owners = 0;
    for (uint32_t p = 0; p < half->map->partition_count; p++) {
        owners |= 1ULL << half->map->partition[p].owner;
    }
    answer_own(half, asked);
    for (; owners != 0; owners &= owners - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(owners);
        if (node != half->self) { send_query(q, node); }
    }
}

void cluster_ask(struct cluster *c, uint32_t worker, struct cluster_question *asked)
{
    struct half *half = c->half[worker];
    struct asking *q = mem_new0(sizeof *q);
    q->half = half;
    q->asked = asked;
    q->since_ns = clock_mono_ns();
    list_push_back(&half->askings, &q->link);
    begin(q);
    half_look(half);
}

static struct asking *find(struct half *half, uint32_t node, uint64_t id)
{
    LIST_EACH (at, &half->askings) {
        struct asking *q = CONTAINER_OF(at, struct asking, link);
        if (q->is_begun && q->id[node] == id) { return q; }
    }
    return NULL;
}

static void take_counts(struct asking *q, uint32_t node, const struct wire_answer *answer)
{
    struct cluster_question *asked = q->asked;
    size_t at = 0;
    for (uint32_t i = 0; i < asked->name_count && at < answer->count_count; i++) {
        if (owner_of(q->half, asked->name[i]) == node) { asked->count[i] = answer->count[at++]; }
    }
}

void ask_owners_on_answer(struct outlet *outlet, const struct wire_answer *answer)
{
    struct asking *q = find(outlet->half, outlet->node, answer->id);
    if (q == NULL) { return; }
    if (answer->status != WIRE_DONE || q->map_version != outlet->half->map->version) {
        q->is_begun = false; /* owners have changed: once more, at the next tick */
        return;
    }
    struct cluster_question *asked = q->asked;
    for (size_t i = 0; asked->wants_names && i < answer->name_count; i++) {
        struct gathering g = {.names = &asked->names};
        gather_name(&g, answer->name[i]);
        asked->names_found++;
    }
    if (!asked->wants_names) { take_counts(q, outlet->node, answer); }
    if (answer->is_last) {
        q->id[outlet->node] = 0;
        q->left--;
    }
    half_look(outlet->half);
}

void ask_owners_on_down(struct half *half)
{
    LIST_EACH (at, &half->askings) {
        struct asking *q = CONTAINER_OF(at, struct asking, link);
        if (q->left > 0) { q->is_begun = false; }
    }
}

void ask_owners_turn(struct half *half)
{
    LIST_EACH (at, &half->askings) {
        struct asking *q = CONTAINER_OF(at, struct asking, link);
        if (q->is_begun && q->left == 0) { finish(q, ERR_OK); }
    }
}

void ask_owners_tick(struct half *half)
{
    uint64_t since_ns = clock_mono_ns() - (uint64_t)half->cluster->opts.timeout_ms * NS_PER_MS;
    LIST_EACH (at, &half->askings) {
        struct asking *q = CONTAINER_OF(at, struct asking, link);
        if (q->since_ns <= since_ns || atomic_load(&half->cluster->is_stopping)) {
            finish(q, ERR_CLUSTER_DOWN);
        } else if (!q->is_begun) {
            begin(q);
        }
    }
}

void ask_owners_stop(struct half *half)
{
    LIST_EACH (at, &half->askings) {
        finish(CONTAINER_OF(at, struct asking, link), ERR_CLUSTER_DOWN);
    }
}

/* ---- answering ---- */

struct listing {
    struct inlet *inlet;
    bool has_pattern;
    struct glob pattern;
    struct buf names;
    struct slice *slice;
    size_t count;
    size_t cap;
};

static void list_name(void *arg, struct slice name)
{
    struct listing *l = arg;
    if (l->has_pattern && !glob_matches(&l->pattern, name)) { return; }
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 64;
        l->slice = mem_resize(l->slice, l->cap * sizeof *l->slice);
    }
    l->slice[l->count++] = slice_of(NULL, name.len);
    buf_append(&l->names, name);
}

static void answer_names(struct inlet *inlet, const struct wire_ask *ask)
{
    struct listing l = {.inlet = inlet, .has_pattern = ask->has_pattern};
    glob_init(&l.pattern, ask->pattern);
    directory_each(inlet->half->cluster->directory, ask->kind, list_name, &l);
    glob_fini(&l.pattern);
    size_t offset = 0;
    for (size_t i = 0; i < l.count; i++) {
        l.slice[i].data = l.names.data + offset;
        offset += l.slice[i].len;
    }
    size_t begun = 0;
    do {
        size_t bytes = 0;
        size_t end = begun;
        while (end < l.count && bytes < SYNC_FRAME_BYTES) {
            bytes += l.slice[end++].len + 8;
        }
        const struct wire_frame frame = {
            .type = WIRE_ANSWER,
            .answer = {.id = ask->id,
                       .is_last = end == l.count,
                       .status = WIRE_DONE,
                       .name = l.slice + begun,
                       .name_count = end - begun},
        };
        inlet_answer(inlet, &frame);
        begun = end;
    } while (begun < l.count);
    buf_fini(&l.names);
    mem_free(l.slice);
}

static void answer_counts(struct inlet *inlet, const struct wire_ask *ask)
{
    struct half *half = inlet->half;
    uint64_t *count = mem_new((ask->name_count + 1) * sizeof *count);
    bool is_owner = true;
    for (size_t i = 0; i < ask->name_count; i++) {
        is_owner = is_owner && is_owned_here(half, ask->name[i]);
        count[i] = directory_subscribers(half->cluster->directory, ask->kind, ask->name[i]);
    }
    const struct wire_frame frame = {
        .type = WIRE_ANSWER,
        .answer = {.id = ask->id,
                   .is_last = true,
                   .status = is_owner ? WIRE_DONE : WIRE_NOT_OWNER,
                   .count = count,
                   .count_count = ask->name_count},
    };
    inlet_answer(inlet, &frame);
    mem_free(count);
}

bool ask_owners_on_query(struct inlet *inlet, const struct wire_ask *ask)
{
    if (ask->kind == TOPIC_PATTERN) { return false; }
    switch (ask->what) {
    case WIRE_QUERY_NAMES: answer_names(inlet, ask); return true;
    case WIRE_QUERY_COUNTS: answer_counts(inlet, ask); return true;
    }
    return false;
}
