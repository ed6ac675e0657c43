/* ask_members: ACL LOG's questions to all members that are up, and the answers to others'. A refusal goes over the wire as
 * TEXTS names and NUMBERS counts. */
#include "cluster/ask_members.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"
#include "cluster/accepted.h"
#include "cluster/asking.h"
#include "cluster/cluster_int.h"
#include "cluster/dialled.h"

enum { TEXTS = 4, NUMBERS = 5, PART_REFUSALS = 128 };

struct member_asking {
    struct asking base;
    struct cluster_log_ask *asked;
};

/* ---- what was found ---- */

void cluster_log_ask_fini(struct cluster_log_ask *asked)
{
    for (uint32_t i = 0; i < asked->count; i++) {
        mem_free(unconst(asked->refusal[i].context.data)); /* the first of one block */
    }
    mem_free(asked->refusal);
    asked->refusal = NULL;
    asked->count = asked->cap = 0;
}

static struct slice put_text(char **at, struct slice text)
{
    struct slice own = slice_of(*at, text.len);
    if (text.len > 0) { memcpy(*at, text.data, text.len); }
    *at += text.len;
    return own;
}

static void add_found(struct cluster_log_ask *asked, const struct cluster_refusal *refusal,
                      const char *node)
{
    if (asked->count == asked->cap) {
        asked->cap = asked->cap > 0 ? asked->cap * 2 : 16;
        asked->refusal = mem_resize(asked->refusal, asked->cap * sizeof *asked->refusal);
    }
    struct cluster_refusal *own = &asked->refusal[asked->count++];
    char *at = mem_new(refusal->context.len + refusal->object.len + refusal->user.len +
                       refusal->client.len + 1);
    *own = *refusal;
    own->context = put_text(&at, refusal->context);
    own->object = put_text(&at, refusal->object);
    own->user = put_text(&at, refusal->user);
    own->client = put_text(&at, refusal->client);
    snprintf(own->node, sizeof own->node, "%s", node);
}

/* ---- asking ---- */

static bool must_ask(const struct cluster_worker *cw, uint32_t node)
{
    return cw->map->level >= PMAP_LEVEL_USERS && node != cw->self && node_is_up(cw->map, node);
}

static bool all_can_answer(const struct cluster_worker *cw)
{
    if (cw->map == NULL || cw->self == PMAP_NOBODY) { return false; }
    for (uint32_t i = 0; i < cw->map->node_count; i++) {
        if (must_ask(cw, i) && !dialled_can_ask(cw->dialled[i])) { return false; }
    }
    return true;
}

static struct member_asking *member_asking_at(struct asking *q)
{
    return CONTAINER_OF(q, struct member_asking, base);
}

static void take_own(void *arg, const struct cluster_refusal *refusal)
{
    struct member_asking *q = arg;
    const struct cluster_worker *cw = q->base.cw;
    add_found(q->asked, refusal, cw->map->node[cw->self].name);
}

static void begin(struct asking *base)
{
    struct member_asking *q = member_asking_at(base);
    const struct cluster_worker *cw = base->cw;
    const struct cluster_refusals_ops *ops = &cw->cluster->opts.refusals;
    struct wire_query query = {
        .what = q->asked->forgets ? WIRE_QUERY_FORGET_REFUSALS : WIRE_QUERY_REFUSALS,
        .kind = TOPIC_CHANNEL,
        .limit = q->asked->limit,
    };
    cluster_log_ask_fini(q->asked);
    if (q->asked->forgets) {
        ops->forget(ops->arg);
    } else {
        ops->tell(ops->arg, q->asked->limit, take_own, q);
    }
    for (uint32_t i = 0; i < cw->map->node_count; i++) {
        if (must_ask(cw, i)) { asking_send(base, i, &query); }
    }
}

static bool take(struct asking *base, uint32_t node, const struct wire_query_answer *answer)
{
    struct member_asking *q = member_asking_at(base);
    size_t count = answer->name_count / TEXTS;
    bool is_good = answer->name_count == count * TEXTS && answer->count_count == count * NUMBERS;
    for (size_t i = 0; is_good && i < count; i++) {
        const struct slice *text = &answer->name[i * TEXTS];
        const uint64_t *number = &answer->count[i * NUMBERS];
        const struct cluster_refusal refusal = {
            .context = text[0],
            .object = text[1],
            .user = text[2],
            .client = text[3],
            .id = number[0],
            .count = number[1],
            .reason = number[2],
            .created_ms = number[3],
            .updated_ms = number[4],
        };
        add_found(q->asked, &refusal, base->cw->map->node[node].name);
    }
    return true;
}

/* Is one asked that is up no more? Its answer will not come. */
static bool has_gone(const struct asking *q)
{
    for (uint32_t i = 0; i < PMAP_NODES_MAX; i++) {
        if (q->id[i] != 0 && !node_is_up(q->cw->map, i)) { return true; }
    }
    return false;
}

static void end(struct asking *base, enum err err)
{
    struct member_asking *q = member_asking_at(base);
    struct cluster_log_ask *asked = q->asked;
    mem_free(q);
    asked->err = err;
    asked->on_done(asked);
}

void cluster_ask_log(struct cluster *c, uint32_t worker, struct cluster_log_ask *asked)
{
    static const struct asking_ops ops = {.can_begin = all_can_answer,
                                          .begin = begin,
                                          .take = take,
                                          .is_stale = has_gone,
                                          .end = end};
    struct member_asking *q = mem_new0(sizeof *q);
    q->asked = asked;
    asking_start(&q->base, c->worker[worker], &ops);
}

/* ---- answering ---- */

struct telling {
    struct accepted_peer *accepted;
    uint64_t id;
    struct cluster_log_ask own; /* copies: what is told is borrowed */
};

static void take_told(void *arg, const struct cluster_refusal *refusal)
{
    add_found(&((struct telling *)arg)->own, refusal, "");
}

static void send_part(const struct telling *telling, uint32_t from, uint32_t to)
{
    struct slice text[PART_REFUSALS * TEXTS];
    uint64_t number[PART_REFUSALS * NUMBERS];
    for (uint32_t i = from; i < to; i++) {
        const struct cluster_refusal *refusal = &telling->own.refusal[i];
        const struct slice texts[] = {refusal->context, refusal->object, refusal->user,
                                      refusal->client};
        const uint64_t numbers[] = {refusal->id, refusal->count, refusal->reason,
                                    refusal->created_ms, refusal->updated_ms};
        memcpy(&text[(i - from) * TEXTS], texts, sizeof texts);
        memcpy(&number[(i - from) * NUMBERS], numbers, sizeof numbers);
    }
    const struct wire_frame frame = {
        .type = WIRE_QUERY_ANSWER,
        .answer = {.id = telling->id,
                   .is_last = to == telling->own.count,
                   .status = WIRE_DONE,
                   .name = text,
                   .name_count = (size_t)(to - from) * TEXTS,
                   .count = number,
                   .count_count = (size_t)(to - from) * NUMBERS},
    };
    accepted_answer(telling->accepted, &frame);
}

void ask_members_on_query(struct accepted_peer *accepted, const struct wire_query *ask)
{
    const struct cluster_refusals_ops *ops = &accepted->cw->cluster->opts.refusals;
    struct telling telling = {.accepted = accepted, .id = ask->id};
    if (ask->what == WIRE_QUERY_FORGET_REFUSALS) {
        ops->forget(ops->arg);
    } else {
        ops->tell(ops->arg, ask->limit, take_told, &telling);
    }
    uint32_t from = 0;
    do {
        uint32_t left = telling.own.count - from;
        uint32_t count = left < PART_REFUSALS ? left : PART_REFUSALS;
        send_part(&telling, from, from + count);
        from += count;
    } while (from < telling.own.count);
    cluster_log_ask_fini(&telling.own);
}
