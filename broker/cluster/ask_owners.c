/* ask_owners: PUBSUB's questions to all owners, and the answers to others'. */
#include "cluster/ask_owners.h"

#include "base/glob.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/asking.h"
#include "cluster/cluster_int.h"
#include "cluster/dialled.h"

struct owner_asking {
    struct asking base;
    struct cluster_ask *asked;
    uint64_t map_version;
};

/* ---- this node's own part ---- */

struct names_found {
    struct buf *names;
    uint64_t count;
    bool has_pattern;
    struct glob pattern;
};

static void add_found(void *arg, struct slice name)
{
    struct names_found *g = arg;
    if (g->has_pattern && !glob_matches(&g->pattern, name)) { return; }
    uint32_t len = (uint32_t)name.len;
    buf_append(g->names, slice_of((const char *)&len, sizeof len));
    buf_append(g->names, name);
    g->count++;
}

static bool is_owned_here(const struct cluster_worker *cw, struct slice name)
{
    struct directory *d = cw->cluster->directory;
    struct remote_partition at = directory_partition_peek(d, directory_partition_of(d, name));
    return at.phase == PARTITION_OWNED;
}

static void answer_own(struct cluster_worker *cw, struct cluster_ask *q)
{
    struct directory *d = cw->cluster->directory;
    if (q->wants_names) {
        struct names_found g = {.names = &q->names, .has_pattern = q->has_pattern};
        glob_init(&g.pattern, q->pattern);
        directory_each(d, q->kind, add_found, &g);
        glob_fini(&g.pattern);
        q->names_found += g.count;
        return;
    }
    for (uint32_t i = 0; i < q->name_count; i++) {
        if (is_owned_here(cw, q->name[i])) {
            q->count[i] = directory_subscribers(d, q->kind, q->name[i]);
        }
    }
}

/* ---- asking ---- */

static uint32_t owner_of(const struct cluster_worker *cw, struct slice name)
{
    return cw->map->partition[directory_partition_of(cw->cluster->directory, name)].owner;
}

static bool all_can_answer(const struct cluster_worker *cw)
{
    if (cw->map == NULL) { return false; }
    for (uint32_t p = 0; p < cw->map->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(cw->cluster->directory, p);
        if (at.epoch != cw->map->partition[p].epoch) { return false; }
        if (at.phase == PARTITION_OWNED) { continue; }
        if (at.phase != PARTITION_READY || !dialled_can_ask(cw->dialled[at.owner])) {
            return false;
        }
    }
    return true;
}

static struct owner_asking *owner_asking_at(struct asking *q)
{
    return CONTAINER_OF(q, struct owner_asking, base);
}

static void send_query(struct owner_asking *q, uint32_t node)
{
    const struct cluster_ask *asked = q->asked;
    struct slice *names = mem_new((asked->name_count + 1) * sizeof *names);
    size_t count = 0;
    for (uint32_t i = 0; i < asked->name_count; i++) {
        if (owner_of(q->base.cw, asked->name[i]) == node) { names[count++] = asked->name[i]; }
    }
    if (asked->wants_names || count > 0) {
        struct wire_query query = {
            .what = asked->wants_names ? WIRE_QUERY_NAMES : WIRE_QUERY_COUNTS,
            .kind = asked->kind,
            .has_pattern = asked->has_pattern,
            .pattern = asked->pattern,
            .name = names,
            .name_count = count,
        };
        asking_send(&q->base, node, &query);
    }
    mem_free(names);
}

static void begin(struct asking *base)
{
    struct owner_asking *q = owner_asking_at(base);
    struct cluster_worker *cw = base->cw;
    struct cluster_ask *asked = q->asked;
    q->map_version = cw->map->version;
    asked->names.len = 0;
    asked->names_found = 0;
    for (uint32_t i = 0; !asked->wants_names && i < asked->name_count; i++) {
        asked->count[i] = 0;
    }
    uint64_t owners = 0;
    for (uint32_t p = 0; p < cw->map->partition_count; p++) {
        owners |= 1ULL << cw->map->partition[p].owner;
    }
    answer_own(cw, asked);
    for (; owners != 0; owners &= owners - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(owners);
        if (node != cw->self) { send_query(q, node); }
    }
}

static void take_counts(struct owner_asking *q, uint32_t node,
                        const struct wire_query_answer *answer)
{
    struct cluster_ask *asked = q->asked;
    size_t at = 0;
    for (uint32_t i = 0; i < asked->name_count && at < answer->count_count; i++) {
        if (owner_of(q->base.cw, asked->name[i]) == node) { asked->count[i] = answer->count[at++]; }
    }
}

static bool take(struct asking *base, uint32_t node, const struct wire_query_answer *answer)
{
    struct owner_asking *q = owner_asking_at(base);
    struct cluster_ask *asked = q->asked;
    if (answer->status != WIRE_DONE || q->map_version != base->cw->map->version) {
        return false; /* owners have changed */
    }
    for (size_t i = 0; asked->wants_names && i < answer->name_count; i++) {
        struct names_found g = {.names = &asked->names};
        add_found(&g, answer->name[i]);
        asked->names_found++;
    }
    if (!asked->wants_names) { take_counts(q, node, answer); }
    return true;
}

static void end(struct asking *base, enum err err)
{
    struct owner_asking *q = owner_asking_at(base);
    struct cluster_ask *asked = q->asked;
    mem_free(q);
    asked->err = err;
    asked->on_done(asked);
}

void cluster_ask_owners(struct cluster *c, uint32_t worker, struct cluster_ask *asked)
{
    static const struct asking_ops ops = {
        .can_begin = all_can_answer, .begin = begin, .take = take, .end = end};
    struct owner_asking *q = mem_new0(sizeof *q);
    q->asked = asked;
    asking_start(&q->base, c->worker[worker], &ops);
}

/* ---- answering ---- */

struct names_owned {
    struct accepted_peer *accepted;
    bool has_pattern;
    struct glob pattern;
    struct buf names;
    struct slice *slice;
    size_t count;
    size_t cap;
};

static void add_owned(void *arg, struct slice name)
{
    struct names_owned *l = arg;
    if (l->has_pattern && !glob_matches(&l->pattern, name)) { return; }
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 64;
        l->slice = mem_resize(l->slice, l->cap * sizeof *l->slice);
    }
    l->slice[l->count++] = slice_of(NULL, name.len);
    buf_append(&l->names, name);
}

static void answer_names(struct accepted_peer *accepted, const struct wire_query *ask)
{
    struct names_owned l = {.accepted = accepted, .has_pattern = ask->has_pattern};
    glob_init(&l.pattern, ask->pattern);
    directory_each(accepted->cw->cluster->directory, ask->kind, add_owned, &l);
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
            .type = WIRE_QUERY_ANSWER,
            .answer = {.id = ask->id,
                       .is_last = end == l.count,
                       .status = WIRE_DONE,
                       .name = l.slice + begun,
                       .name_count = end - begun},
        };
        accepted_answer(accepted, &frame);
        begun = end;
    } while (begun < l.count);
    buf_fini(&l.names);
    mem_free(l.slice);
}

static void answer_counts(struct accepted_peer *accepted, const struct wire_query *ask)
{
    struct cluster_worker *cw = accepted->cw;
    uint64_t *count = mem_new((ask->name_count + 1) * sizeof *count);
    bool is_owner = true;
    for (size_t i = 0; i < ask->name_count; i++) {
        is_owner = is_owner && is_owned_here(cw, ask->name[i]);
        count[i] = directory_subscribers(cw->cluster->directory, ask->kind, ask->name[i]);
    }
    const struct wire_frame frame = {
        .type = WIRE_QUERY_ANSWER,
        .answer = {.id = ask->id,
                   .is_last = true,
                   .status = is_owner ? WIRE_DONE : WIRE_NOT_OWNER,
                   .count = count,
                   .count_count = ask->name_count},
    };
    accepted_answer(accepted, &frame);
    mem_free(count);
}

bool ask_owners_on_query(struct accepted_peer *accepted, const struct wire_query *ask)
{
    if (ask->kind == TOPIC_PATTERN) { return false; }
    if (ask->what == WIRE_QUERY_NAMES) {
        answer_names(accepted, ask);
    } else {
        answer_counts(accepted, ask);
    }
    return true;
}
