/* membership_forget: CLUSTER FORGET: the node that is asked brings it before the leader until there
 * is an answer; the leader refuses what would hurt.
 * Thread: the raft thread. Always: each request is answered once; it is proposed by a leader with a
 * lease only, so that what nobody could do is not done when there is a majority again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/membership/membership_int.h"

enum { TIMEOUT_MS = 5000, RETRY_MS = 300 };

static const char unknown[] = "ERR Unknown node";

/* ---- the asking node ---- */

static void end_one(struct forgetting *f, const char *error)
{
    list_remove(&f->link);
    f->on_done(f->arg, error);
    mem_free(f);
}

static struct forgetting *find(struct core *core, uint64_t request)
{
    LIST_EACH (at, &core->forgettings) {
        struct forgetting *f = CONTAINER_OF(at, struct forgetting, link);
        if (f->request == request) { return f; }
    }
    return NULL;
}

void forget_on_reply(struct core *core, const struct note *note)
{
    const struct note_forget_reply *reply = &note->forget_reply;
    struct forgetting *f = find(core, reply->request);
    if (f == NULL || !reply->is_over) { return; }
    /* Not known any more: an earlier request of ours was done, its answer lost. */
    bool is_done = reply->error[0] == '\0' ||
                   (f->was_known && strncmp(reply->error, unknown, sizeof unknown - 1) == 0);
    end_one(f, is_done ? NULL : reply->error);
}

/* ---- the leader ---- */

static void answer(struct core *core, const struct asker *asker, const char *error)
{
    struct note note = core_note_new(core, NOTE_FORGET_REPLY);
    note.forget_reply.request = asker->number;
    note.forget_reply.is_over = true;
    snprintf(note.forget_reply.error, sizeof note.forget_reply.error, "%s", error);
    if (asker->node_id == 0) {
        forget_on_reply(core, &note);
    } else {
        core_send(core, asker->name, &note);
    }
}

static void on_forgotten(struct core *core, struct op *op, enum err err)
{
    const struct pmap *map = core_control_map(core);
    if (err != ERR_OK || map == NULL) { return; } /* it is asked again */
    bool is_gone = pmap_find_id(map, op->command.node_id) == PMAP_NOBODY;
    answer(core, &op->asker, is_gone ? "" : "ERR The node came up or got partitions meanwhile");
}

static uint32_t owned_count(const struct pmap *map, uint32_t index)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        count += map->partition[p].owner == index;
    }
    return count;
}

/* Why not; false: forget it. `text` has room for NOTE_TEXT_BYTES. */
static bool is_refused(const struct pmap *map, uint32_t index, char *text)
{
    const struct pmap_node *member = &map->node[index];
    uint32_t owned = owned_count(map, index);
    if (owned > 0) {
        snprintf(text, NOTE_TEXT_BYTES,
                 "ERR Node %s is up and owns %" PRIu32 " partitions: drain or stop it first",
                 member->name, owned);
        return true;
    }
    if (member->is_up && !member->is_draining) {
        snprintf(text, NOTE_TEXT_BYTES, "ERR Node %s is up: drain or stop it first", member->name);
        return true;
    }
    return false;
}

static bool breaks_quorum(struct core *core, const struct pmap *map, uint32_t index, char *text)
{
    const char *name = map->node[index].name;
    uint32_t voters_up;
    uint32_t voters;
    if (voters_can_lose(core, map, name, &voters_up, &voters)) { return false; }
    snprintf(text, NOTE_TEXT_BYTES,
             "ERR Without %s only %" PRIu32 " of %" PRIu32 " voters would be up: no quorum", name,
             voters_up, voters);
    return true;
}

/* A leader that a majority has not answered lately: what it proposes may be done long after whoever
 * asked was told that there is no answer. */
static bool is_sure(const struct core *core)
{
    return core_leads(core) && core->status.lease_until_ms > core->now_ms;
}

static void decide(struct core *core, const struct asker *asker, const char *name)
{
    const struct pmap *map = core_control_map(core);
    char text[NOTE_TEXT_BYTES];
    if (!is_sure(core) || map == NULL) { return; } /* it asks again */
    uint32_t index = pmap_find_name(map, slice_of_str(name));
    if (index == PMAP_NOBODY) {
        snprintf(text, sizeof text, "%s %s", unknown, name);
        answer(core, asker, text);
        return;
    }
    if (is_refused(map, index, text)) {
        answer(core, asker, text);
        return;
    }
    if (breaks_quorum(core, map, index, text)) {
        bool is_heard_out = core->now_ms >= core->lead.since_ms + core->opts.node_timeout_ms;
        if (is_heard_out) { answer(core, asker, text); } /* else others may yet be heard */
        return;
    }
    if (keep_is_needed(map, index, text)) {
        answer(core, asker, text);
        return;
    }
    if (map->node[index].id == core->opts.node_id) { /* another leader does it, asked again */
        (void)voters_hand_over(core);
        return;
    }
    const struct node *node = core_node_of(core, map->node[index].id, name);
    /* One that is up must know that it owns nothing, and so must those that took over from it. */
    bool is_done = !map->node[index].is_up ||
                   (node->ping.version >= map->version && !lead_is_unfinished(core, map));
    if (node->is_proposing || !is_done) { return; } /* it asks again */
    struct control_command command = {.op = CONTROL_FORGET, .node_id = map->node[index].id};
    core_propose(core, &command, asker, on_forgotten);
}

void forget_on_request(struct core *core, const struct note *note)
{
    struct asker asker = {.node_id = note->node_id, .number = note->forget.request};
    snprintf(asker.name, sizeof asker.name, "%s", note->name);
    decide(core, &asker, note->forget.name);
}

/* ---- the asking node again ---- */

static void ask(struct core *core, struct forgetting *f)
{
    f->next_ms = core->now_ms + RETRY_MS;
    const char *leader = core_leader_name(core);
    if (core->status.is_leader) {
        struct asker asker = {.number = f->request};
        decide(core, &asker, f->name);
    } else if (leader != NULL) {
        struct note note = core_note_new(core, NOTE_FORGET);
        note.forget.request = f->request;
        snprintf(note.forget.name, sizeof note.forget.name, "%s", f->name);
        core_send(core, leader, &note);
    }
}

void core_forget(struct core *core, const char *name, void (*on_done)(void *arg, const char *error),
                 void *arg)
{
    core_refresh(core);
    struct forgetting *f = mem_new0(sizeof *f);
    f->request = core->world.random(core->world.arg);
    f->until_ms = core->now_ms + TIMEOUT_MS;
    f->on_done = on_done;
    f->arg = arg;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->was_known =
        core->map != NULL && pmap_find_name(core->map, slice_of_str(name)) != PMAP_NOBODY;
    list_push_back(&core->forgettings, &f->link);
    ask(core, f);
}

void forget_tick(struct core *core)
{
    LIST_EACH (at, &core->forgettings) {
        struct forgetting *f = CONTAINER_OF(at, struct forgetting, link);
        if (core->now_ms >= f->until_ms) {
            end_one(f, "ERR No answer of the control group's leader: it may or may not be done");
        } else if (core->now_ms >= f->next_ms) {
            ask(core, f);
        }
    }
}

void forget_end(struct core *core)
{
    LIST_EACH (at, &core->forgettings) {
        end_one(CONTAINER_OF(at, struct forgetting, link), "ERR The node stops");
    }
}
