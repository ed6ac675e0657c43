/* commands: errands to the partitions of this node and, in a cluster, over this worker's connections to others'. */
#include "cluster/commands.h"

#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/dialled.h"
#include "cluster/errands.h"

struct commands {
    struct commands_opts opts;
    struct cluster_worker *cw; /* NULL: this node is alone */
    struct errands errands;
    bool has_pushed; /* to store threads, which are to be woken */
};

/* Words weigh more than they take in a frame; checks, and what is confirmed, take less than the rest. */
_Static_assert((size_t)COMMANDS_REQUEST_BYTES_MAX + (512 << 10) <= (size_t)WIRE_FRAME_BYTES_MAX &&
                   (int)COMMANDS_REQUEST_WORDS_MAX <= (int)WIRE_WORDS_MAX &&
                   (int)COMMANDS_REQUEST_CHECKS_MAX <= (int)WIRE_ITEMS_MAX,
               "what may be asked fits a frame");

static struct partitions *partitions_of(const struct commands *commands)
{
    const struct cluster_worker *cw = commands->cw;
    return cw == NULL ? commands->opts.partitions : cluster_partitions(cw->cluster);
}

/* ---- here ---- */

static uint64_t incarnation_of(void *arg)
{
    const struct commands *commands = arg;
    const struct cluster_worker *cw = commands->cw;
    if (cw == NULL) { return commands->opts.incarnation; }
    return node_is_up(cw->map, cw->self) ? cw->map->node[cw->self].incarnation : 0;
}

static void ask_here(void *arg, struct partition_request *request)
{
    struct commands *commands = arg;
    partition_push(partitions_of(commands), request);
    commands->has_pushed = true;
}

void commands_push(struct commands *commands, struct partition_request *request)
{
    ask_here(commands, request);
}

static void unpark_here(void *arg, const struct partition_request *request)
{
    partition_unpark(partitions_of(arg), request->partition, &request->origin);
}

/* ---- there ---- */

static struct errand_leader find(void *arg, uint32_t partition)
{
    const struct commands *commands = arg;
    const struct cluster_worker *cw = commands->cw;
    const struct partitions *partitions = partitions_of(commands);
    uint64_t own_term = partitions != NULL ? partition_leads(partitions, partition) : 0;
    struct leader leader = {0};
    if (cw != NULL) { leader = leaders_get(&cw->cluster->leaders, partition); }
    if (own_term > 0 && own_term >= leader.term) {
        return (struct errand_leader){.where = ERRAND_HERE, .term = own_term};
    }
    if (leader.term == 0 || !dialled_can_ask(cw->dialled[leader.node])) {
        return (struct errand_leader){.where = ERRAND_NOWHERE};
    }
    return (struct errand_leader){.where = ERRAND_THERE, .node = leader.node, .term = leader.term};
}

static void ask_there(void *arg, const struct errand *errand)
{
    const struct commands *commands = arg;
    const struct partition_request *request = &errand->request;
    const struct wire_frame frame = {
        .type = WIRE_COMMAND,
        .command = {.id = errand->id,
                    .partition = request->partition,
                    .term = request->term,
                    .ask = request->ask,
                    .seq = request->origin.seq,
                    .acked_low = request->origin.acked_low,
                    .acked = request->acked,
                    .acked_count = request->acked_count,
                    .ticket = request->ticket,
                    .wait_key = request->wait_key,
                    .wait_key_count = request->wait_key_count,
                    .is_lent = request->is_lent,
                    .resp_version = request->resp_version,
                    .check = request->check,
                    .check_count = request->check_count,
                    .call = request->call,
                    .call_count = request->call_count},
    };
    dialled_send_large(commands->cw->dialled[errand->at.node], &frame);
}

static void unpark_there(void *arg, const struct errand *errand)
{
    const struct commands *commands = arg;
    struct dialled_peer *dialled = commands->cw->dialled[errand->at.node];
    const struct wire_frame frame = {
        .type = WIRE_UNPARK,
        .unpark = {.partition = errand->request.partition, .seq = errand->request.origin.seq},
    };
    if (dialled_can_ask(dialled)) { dialled_send(dialled, dialled->request, &frame); }
}

static void on_refused(void *arg, uint32_t partition, const struct errand_leader *at)
{
    const struct commands *commands = arg;
    leaders_doubt(&commands->cw->cluster->leaders, partition,
                  (struct leader){.node = at->node, .term = at->term});
}

/* What was said may have been lost. Who leads has a replica. */
static void on_lost(void *arg, uint32_t partition)
{
    const struct commands *commands = arg;
    const struct cluster_worker *cw = commands->cw;
    const struct wire_frame frame = {.type = WIRE_ASK_LEADS, .leads = {.partition = partition}};
    if (cw == NULL || cw->map == NULL || partition >= cw->map->partition_count) { return; }
    const struct pmap_partition *at = &cw->map->partition[partition];
    for (uint32_t i = 0; i < at->replica_count; i++) {
        struct dialled_peer *dialled = cw->dialled[at->replica[i].node];
        if (dialled_can_ask(dialled)) { dialled_send(dialled, dialled->request, &frame); }
    }
}

static enum err err_of(enum wire_outcome outcome)
{
    switch (outcome) {
    case WIRE_EXECUTED_OK:
    case WIRE_ABORTED:
    case WIRE_UNPARKED: return ERR_OK;
    case WIRE_NOT_LEADER: return ERR_NOT_LEADER;
    case WIRE_SLOW: return ERR_SLOW;
    case WIRE_UNKNOWN: return ERR_INDOUBT;
    case WIRE_FULL: return ERR_FULL;
    case WIRE_ANSWER_LOST: return ERR_LIMIT;
    case WIRE_REFUSED: return ERR_INVALID;
    }
    UNREACHABLE();
}

/* Is there an answer to all that was asked? */
static bool is_whole(const struct partition_request *request, const struct wire_executed *executed)
{
    if (executed->outcome != WIRE_EXECUTED_OK || executed->reply_left > 0) { return true; }
    if (request->ask == PARTITION_VERSIONS) {
        return executed->version_count == request->check_count;
    }
    return request->call_count == 1 || executed->reply_end_count == request->call_count;
}

/* The reply, or the next piece of it. False: it is none of what is being received. */
static bool take_reply(struct partition_request *request, const struct wire_executed *executed)
{
    struct buf *reply = &request->reply;
    if (executed->reply_before == 0) { reply->len = 0; }
    if (executed->reply_before != reply->len) { return false; }
    if (executed->reply_before == 0) {
        (void)buf_reserve(reply, executed->reply.len + executed->reply_left);
    }
    buf_append(reply, executed->reply);
    return true;
}

bool commands_on_executed(struct dialled_peer *dialled, const struct wire_executed *executed)
{
    struct commands *commands = dialled->cw->commands;
    struct errand *errand =
        commands != NULL ? errands_find(&commands->errands, executed->id) : NULL;
    if (errand == NULL || errand->at.node != dialled->node) { return true; }
    struct partition_request *request = &errand->request;
    if (!is_whole(request, executed)) { return false; }
    if (!take_reply(request, executed) || executed->reply_left > 0) { return true; }
    request->err = err_of(executed->outcome);
    request->is_aborted = executed->outcome == WIRE_ABORTED;
    request->is_unparked = executed->outcome == WIRE_UNPARKED;
    if (executed->reply_end_count > 0) {
        request->reply_end =
            mem_copy(executed->reply_end, executed->reply_end_count * sizeof *executed->reply_end);
    }
    for (uint32_t i = 0; i < executed->version_count; i++) {
        request->check[i].version = executed->version[i];
    }
    errands_answered(errand);
    return true;
}

void commands_on_down(struct cluster_worker *cw, uint32_t node)
{
    if (cw->commands != NULL) { errands_on_down(&cw->commands->errands, node); }
}

void commands_look(struct cluster_worker *cw)
{
    if (cw->commands != NULL) { errands_look(&cw->commands->errands); }
}

void commands_end(struct cluster_worker *cw)
{
    if (cw->commands != NULL) { errands_stop(&cw->commands->errands); }
}

/* ---- who leads ---- */

static void on_look(struct task *task)
{
    struct cluster_worker *cw = CONTAINER_OF(task, struct cluster_worker, commands_task);
    atomic_store(&cw->commands_task_is_posted, false);
    commands_look(cw);
}

void commands_look_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->worker_count; i++) {
        struct cluster_worker *cw = c->worker[i];
        if (cw->commands != NULL && !atomic_load(&c->is_stopping) &&
            !atomic_exchange(&cw->commands_task_is_posted, true)) {
            cw->commands_task.run = on_look;
            mailbox_post(worker_mailbox(cw->worker), &cw->commands_task);
        }
    }
}

static void tell_leads(struct dialled_peer *dialled, uint32_t partition, uint64_t term)
{
    const struct wire_frame frame = {.type = WIRE_LEADS, .leads = {partition, term}};
    dialled_send(dialled, dialled->request, &frame);
}

/* Worker 0. It may have lost it again meanwhile. */
static void on_leads(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    for (uint32_t node = 0; cw->map != NULL && node < cw->map->node_count; node++) {
        struct dialled_peer *dialled = cw->dialled[node];
        if (dialled_can_ask(dialled)) { tell_leads(dialled, event->partition, event->a); }
    }
}

void commands_leads(void *arg, uint32_t partition, uint64_t term)
{
    struct cluster *c = arg;
    if (atomic_load(&c->is_stopping)) { return; }
    if (term > 0) {
        event_post(cluster_worker_0(c),
                   (struct event){.run = on_leads, .partition = partition, .a = term});
    }
    commands_look_all(c);
}

void commands_tell_leads(struct dialled_peer *dialled)
{
    const struct cluster *c = dialled->cw->cluster;
    const struct partitions *partitions = atomic_load(&c->partitions);
    for (uint32_t p = 0; partitions != NULL && p < c->partition_count; p++) {
        uint64_t term = partition_leads(partitions, p);
        if (term > 0) { tell_leads(dialled, p, term); }
    }
}

bool commands_on_leads(struct cluster *c, uint32_t node, const struct wire_leads *leads)
{
    if (leads->partition >= c->partition_count || leads->term == 0) { return false; }
    const struct leader leader = {.node = node, .term = leads->term};
    if (leaders_tell(&c->leaders, leads->partition, leader)) { commands_look_all(c); }
    return true;
}

bool commands_on_ask_leads(struct accepted_peer *accepted, const struct wire_leads *asked)
{
    struct cluster *c = accepted->cw->cluster;
    if (asked->partition >= c->partition_count) { return false; }
    const struct partitions *partitions = cluster_partitions(c);
    uint64_t term = partitions != NULL ? partition_leads(partitions, asked->partition) : 0;
    const struct wire_frame frame = {.type = WIRE_LEADS, .leads = {asked->partition, term}};
    if (term > 0) { accepted_answer(accepted, &frame); }
    return true;
}

/* ---- as commands.h says ---- */

struct commands *commands_new(const struct commands_opts *opts)
{
    struct commands *commands = mem_new0(sizeof *commands);
    commands->opts = *opts;
    if (opts->cluster != NULL) {
        commands->cw = opts->cluster->worker[opts->worker];
        commands->cw->commands = commands;
    }
    const struct errands_opts errands = {
        .worker = opts->worker,
        .mailbox = opts->mailbox,
        .timeout_ms = opts->timeout_ms,
        .node_id = opts->node_id,
        .incarnation = incarnation_of,
        .find = find,
        .ask_here = ask_here,
        .unpark_here = unpark_here,
        .ask_there = ask_there,
        .unpark_there = unpark_there,
        .on_refused = on_refused,
        .on_lost = on_lost,
        .arg = commands,
    };
    errands_init(&commands->errands, &errands);
    return commands;
}

void commands_free(struct commands *commands)
{
    if (commands == NULL) { return; }
    if (commands->cw != NULL) { commands->cw->commands = NULL; }
    errands_fini(&commands->errands);
    mem_free(commands);
}

void commands_ask(struct commands *commands, struct partition_request *request)
{
    errands_ask(&commands->errands, request);
}

bool commands_read(struct commands *commands, struct partition_request *request)
{
    struct partitions *partitions = partitions_of(commands);
    return partitions != NULL && partition_read(partitions, commands->opts.worker, request);
}

void commands_unpark(struct commands *commands, struct partition_request *request, bool is_asked)
{
    errands_unpark(&commands->errands, request, is_asked);
}

void commands_confirm(struct commands *commands, const struct partition_request *request)
{
    errands_confirm(&commands->errands, request->partition, &request->origin);
}

bool commands_have_confirmed(const struct commands *commands)
{
    return commands->errands.confirming_count == 0;
}

bool commands_are_congested(const struct commands *commands)
{
    const struct errands *errands = &commands->errands;
    return errands->waiting_count > COMMANDS_IN_FLIGHT_MAX || errands->bytes > COMMANDS_BYTES_MAX;
}

void commands_turn(struct commands *commands)
{
    struct partitions *partitions = partitions_of(commands);
    if (!commands->has_pushed) { return; }
    commands->has_pushed = false;
    if (partitions != NULL) { partitions_wake(partitions); }
}

bool commands_are_idle(const struct commands *commands)
{
    return !commands->has_pushed;
}

void commands_tick(struct commands *commands)
{
    errands_tick(&commands->errands);
}

void commands_stop(struct commands *commands)
{
    errands_stop(&commands->errands);
}
