/* sim_oracle: the promises, held against all that clients did and saw in one run. Events are numbered in the order in
 * which they happened, so "certainly before" is a comparison. */
#include <string.h>

#include "base/glob.h"
#include "base/mem.h"
#include "sim/handover/sim_handover.h"

/* Of one channel. */
struct trial {
    uint32_t topic;
    uint32_t *message; /* the channel's, in the order of their numbers */
    uint32_t count;
    uint32_t *place;    /* by message: its index in message[] */
    uint32_t *copies;   /* by index, as the next */
    uint32_t *possible; /* windows that may have been counted and do not show it */
    bool *survived;     /* a client that was not closed has it */
    uint32_t *incoming; /* in the order's graph */
    struct edge {
        uint32_t to;
        struct edge *next;
    } * *out;
};

bool sim_matches(uint32_t subscribed, uint32_t published)
{
    if (sim_topic_kind(subscribed) != TOPIC_PATTERN) { return subscribed == published; }
    return sim_topic_kind(published) == TOPIC_CHANNEL &&
           glob_match(slice_of_str(sim->topic_name[subscribed]),
                      slice_of_str(sim->topic_name[published]));
}

/* A client without a promise: what the broker closed, or what left. */
static bool is_hidden(const struct sim_window *w)
{
    return w->client->is_over || w->is_refused;
}

static bool took_place(const struct trial *t, uint32_t at)
{
    const struct sim_message *m = &sim->message[t->message[at]];
    return m->outcome == OUTCOME_COUNT || t->survived[at];
}

/* ---- one window ---- */

static void add_edge(struct trial *t, uint32_t from, uint32_t to)
{
    struct edge *edge = mem_new(sizeof *edge);
    *edge = (struct edge){to, t->out[from]};
    t->out[from] = edge;
    t->incoming[to]++;
}

static void judge_received(struct trial *t, const struct sim_window *w, uint8_t *has)
{
    uint32_t last = UINT32_MAX;
    uint64_t latest_start = 0;
    for (uint32_t i = 0; i < w->received_count; i++) {
        uint32_t number = w->received[i];
        const struct sim_message *m = &sim->message[number];
        if (!sim_matches(w->topic, m->topic)) {
            sim_fail("unknown: message %u of %s came by %s", number, sim->topic_name[m->topic],
                     sim->topic_name[w->topic]);
        }
        if (m->topic != t->topic) { continue; }
        uint32_t at = t->place[number];
        if (has[at]) { sim_fail("duplicate: message %u of %s", number, sim->topic_name[m->topic]); }
        has[at] = true;
        t->copies[at]++;
        t->survived[at] |= !w->client->is_closed;
        bool is_late = m->outcome == OUTCOME_COUNT && m->end < w->asked;
        if (is_late || (m->outcome == OUTCOME_COUNT && m->end < latest_start)) {
            sim_fail("realtime: message %u of %s by node %u, %lu to %lu, %s %lu, came to node %u "
                     "by %s, asked %lu",
                     number, sim->topic_name[m->topic], m->node, m->start, m->end,
                     is_late ? "was over before" : "came after one that began at",
                     is_late ? w->asked : latest_start, w->client->worker->node->index,
                     sim->topic_name[w->topic], w->asked);
        }
        if (m->start > latest_start) { latest_start = m->start; }
        for (uint32_t j = i; j > 0; j--) {
            const struct sim_message *earlier = &sim->message[w->received[j - 1]];
            bool is_inverted = earlier->topic == m->topic && earlier->publisher == m->publisher &&
                               w->received[j - 1] > number;
            if (is_inverted) {
                sim_fail("order: publisher %u of node %u: message %u of %s came before %u",
                         m->publisher, m->node, w->received[j - 1], sim->topic_name[m->topic],
                         number);
            }
        }
        if (last != UINT32_MAX) { add_edge(t, last, at); }
        last = at;
    }
}

/* Only a client that is gone, or was refused, may have been counted without showing it. */
static void count_possible(struct trial *t, const struct sim_window *w, const uint8_t *has)
{
    for (uint32_t at = 0; at < t->count; at++) {
        const struct sim_message *m = &sim->message[t->message[at]];
        t->possible[at] += !has[at] && is_hidden(w) && w->asked <= m->end;
    }
}

/* All that certainly took place while it was in force is there. Of a client that was closed: up to the last one that
 * it shows. */
static void judge_missing(const struct trial *t, const struct sim_window *w, const uint8_t *has)
{
    if (w->is_refused || w->confirmed == SIM_NEVER) { return; }
    uint64_t until = w->client->is_over ? 0 : SIM_NEVER;
    for (uint32_t i = w->received_count; w->client->is_over && i > 0; i--) {
        const struct sim_message *last = &sim->message[w->received[i - 1]];
        if (last->topic != t->topic) { continue; }
        until = last->start; /* what was over by then came before it */
        break;
    }
    if (w->end_asked < until) { until = w->end_asked; }
    for (uint32_t at = 0; at < t->count; at++) {
        const struct sim_message *m = &sim->message[t->message[at]];
        uint64_t end = m->outcome == OUTCOME_COUNT ? m->end : SIM_NEVER - 1;
        bool is_within = w->confirmed < m->start && end < until;
        if (is_within && took_place(t, at) && !has[at]) {
            sim_fail("lost: message %u of %s (by node %u, outcome %d, %lu to %lu) did not come to "
                     "node %u "
                     "worker %u by %s, confirmed %lu%s",
                     t->message[at], sim->topic_name[t->topic], m->node, m->outcome, m->start,
                     m->end, w->client->worker->node->index, w->client->worker->index,
                     sim->topic_name[w->topic], w->confirmed,
                     w->client->is_closed ? ", which was closed later" : "");
            return;
        }
    }
}

/* ---- the channel ---- */

static void each_window(struct trial *t, void (*visit)(struct trial *t, const struct sim_window *w))
{
    for (uint32_t i = 0; i < sim->client_count; i++) {
        for (const struct sim_window *w = sim->client[i]->windows; w != NULL; w = w->next) {
            if (sim_matches(w->topic, t->topic)) { visit(t, w); }
        }
    }
}

static void visit_received(struct trial *t, const struct sim_window *w)
{
    uint8_t *has = mem_new0(t->count + 1);
    judge_received(t, w, has);
    count_possible(t, w, has);
    mem_free(has);
}

static void visit_missing(struct trial *t, const struct sim_window *w)
{
    uint8_t *has = mem_new0(t->count + 1);
    for (uint32_t i = 0; i < w->received_count; i++) {
        if (sim->message[w->received[i]].topic == t->topic) {
            has[t->place[w->received[i]]] = true;
        }
    }
    judge_missing(t, w, has);
    mem_free(has);
}

static void judge_counts(const struct trial *t)
{
    for (uint32_t at = 0; at < t->count; at++) {
        const struct sim_message *m = &sim->message[t->message[at]];
        if (m->outcome == OUTCOME_DOWN && t->copies[at] > 0) {
            sim_fail("executed: message %u was refused and delivered", t->message[at]);
        }
        if (m->outcome != OUTCOME_COUNT) { continue; }
        uint32_t low = t->copies[at];
        uint32_t high = t->copies[at] + t->possible[at];
        if (m->count < low || m->count > high) {
            sim_fail("count: message %u of %s by node %u: %lu, but %u to %u are right (%u copies)",
                     t->message[at], sim->topic_name[t->topic], m->node, m->count, low, high,
                     t->copies[at]);
        }
    }
}

/* All that windows showed and each publisher's own order fit into one order. */
static void judge_order(struct trial *t)
{
    uint32_t last[SIM_NODES_MAX * SIM_WORKERS_MAX];
    memset(last, 0xff, sizeof last);
    for (uint32_t at = 0; at < t->count; at++) {
        uint32_t publisher = sim->message[t->message[at]].publisher;
        if (!took_place(t, at)) { continue; }
        if (last[publisher] != UINT32_MAX) { add_edge(t, last[publisher], at); }
        last[publisher] = at;
    }
    uint32_t *ready = mem_new((t->count + 1) * sizeof *ready);
    uint32_t count = 0;
    for (uint32_t at = 0; at < t->count; at++) {
        if (t->incoming[at] == 0) { ready[count++] = at; }
    }
    for (uint32_t i = 0; i < count; i++) {
        for (const struct edge *edge = t->out[ready[i]]; edge != NULL; edge = edge->next) {
            if (--t->incoming[edge->to] == 0) { ready[count++] = edge->to; }
        }
    }
    for (uint32_t at = 0; count < t->count && at < t->count; at++) {
        const struct sim_message *m = &sim->message[t->message[at]];
        if (t->incoming[at] == 0) { continue; }
        sim_say("order: message %u of %s by node %u, %lu to %lu, outcome %d", t->message[at],
                sim->topic_name[t->topic], m->node, m->start, m->end, m->outcome);
        sim_fail("order: %s has no one order; message %u is one of those in the circle",
                 sim->topic_name[t->topic], t->message[at]);
    }
    mem_free(ready);
}

static void trial_fini(struct trial *t)
{
    for (uint32_t at = 0; at < t->count; at++) {
        while (t->out[at] != NULL) {
            struct edge *edge = t->out[at];
            t->out[at] = edge->next;
            mem_free(edge);
        }
    }
    mem_free(t->message);
    mem_free(t->place);
    mem_free(t->copies);
    mem_free(t->possible);
    mem_free(t->survived);
    mem_free(t->incoming);
    mem_free(t->out);
}

static void judge_channel(uint32_t topic)
{
    size_t room = sim->message_count + 1;
    struct trial t = {.topic = topic,
                      .message = mem_new0(room * sizeof *t.message),
                      .place = mem_new0(room * sizeof *t.place),
                      .copies = mem_new0(room * sizeof *t.copies),
                      .possible = mem_new0(room * sizeof *t.possible),
                      .survived = mem_new0(room * sizeof *t.survived),
                      .incoming = mem_new0(room * sizeof *t.incoming),
                      .out = mem_new0(room * sizeof *t.out)};
    for (uint32_t number = 0; number < sim->message_count; number++) {
        if (sim->message[number].topic != topic) { continue; }
        t.place[number] = t.count;
        t.message[t.count++] = number;
    }
    each_window(&t, visit_received);
    each_window(&t, visit_missing);
    judge_counts(&t);
    judge_order(&t);
    trial_fini(&t);
}

/* Moves alone close nobody, and refuse nothing. */
static void judge_calm(void)
{
    const struct sim_stats *s = &sim->stats;
    if (s->closed > 0 || s->refused > 0 || s->in_doubt > 0) {
        sim_fail("planned: %lu closed, %lu publishes refused, %lu in doubt", s->closed, s->refused,
                 s->in_doubt);
    }
}

void sim_judge(void)
{
    if (!sim->is_rough) { judge_calm(); }
    for (uint32_t number = 0; number < sim->message_count; number++) {
        if (sim->message[number].outcome == OUTCOME_NONE) {
            sim_fail("message %u was never answered", number);
        }
    }
    for (uint32_t topic = 0; topic < 2 * SIM_CHANNELS; topic++) {
        judge_channel(topic);
    }
}
