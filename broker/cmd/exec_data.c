/* exec_data: find the one partition, ask it, take the replies apart. */
#include "cmd/exec_data.h"

#include "acl/acl_user.h"
#include "base/mem.h"
#include "cmd/data_route.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"
#include "cmd/script_rights.h"
#include "data/data_script.h"
#include "session/transaction.h"

/* What EXEC asks. */
struct plan {
    struct partition_call *call;
    uint32_t call_count;
    struct partition_check *check; /* the keys behind them, in one block */
    uint32_t check_count;
    struct data_place place;
    bool has_place;
    bool flushes_all;     /* FLUSHALL is in it: the other partitions follow */
    bool reads;           /* nothing is written */
    struct buf rights;    /* of the session's user, if there are scripts and these are not all */
    struct slice *script; /* words of scripts, with the rights before each of them */
    size_t script_words;
    struct session *session;
    struct transaction *orphan; /* of a session that has gone */
};

static void plan_free(struct plan *plan)
{
    mem_free(plan->call);
    mem_free(plan->check);
    mem_free(plan->script);
    buf_fini(&plan->rights);
    transaction_free(plan->orphan);
    mem_free(plan);
}

/* ---- one partition ---- */

static bool plan_place(struct plan *plan, const struct data_place *place, struct buf *why)
{
    if (!plan->has_place) {
        plan->place = *place;
        plan->has_place = true;
    }
    if (plan->place.partition == place->partition && plan->place.slot == place->slot) {
        return true;
    }
    buf_append(
        why, SLICE("CROSSSLOT Keys in a transaction must be in one partition: of one database, and "
                   "where that is in sharded-databases, with a common {tag}"));
    return false;
}

/* Room for the words of scripts, if their user may not do everything. */
static void plan_scripts(struct plan *plan, const struct transaction *transaction)
{
    size_t words = 0;
    const struct acl_user *user = NULL;
    for (uint32_t i = 0; i < transaction->count; i++) {
        const struct queued *queued = transaction->queue[i];
        const struct acl_user *its =
            script_rights_user(plan->session, &command_table[queued->command]);
        if (LIKELY(its == NULL)) { continue; }
        user = its;
        words += queued->argc + DATA_SCRIPT_AS_WORDS;
    }
    if (user == NULL) { return; }
    plan->script = mem_new(words * sizeof *plan->script);
    acl_user_print_rights(user, &plan->rights);
}

/* A script goes with the rights of its user. */
static void plan_rights(struct plan *plan, struct partition_call *call,
                        const struct command *command)
{
    if (script_rights_user(plan->session, command) == NULL) { return; }
    struct slice *words = plan->script + plan->script_words;
    script_rights_add(words, buf_slice(&plan->rights), call->argv, call->argc);
    call->argv = words;
    call->argc += DATA_SCRIPT_AS_WORDS;
    plan->script_words += call->argc;
}

static bool plan_call(struct plan *plan, const struct broker *broker, const struct queued *queued,
                      uint16_t database, struct buf *why)
{
    const struct command *command = &command_table[queued->command];
    struct data_place place;
    enum data_route route =
        data_route(broker, command, queued->argv, queued->argc, database, &place, why);
    bool is_flushall = queued->command == COMMAND_flushall;
    if (route == DATA_ALL && !is_flushall) {
        buf_appendf(why, "ERR %s%s concerns every partition, and a transaction only one",
                    command->full_name,
                    command->flags & CMD_LOGGED ? "" : " of a database in sharded-databases");
    }
    if (route == DATA_REFUSED || (route == DATA_ALL && !is_flushall)) { return false; }
    plan->flushes_all = plan->flushes_all || is_flushall;
    plan->reads = plan->reads && !command_is_logged(command);
    plan->call[plan->call_count] = (struct partition_call){database, queued->argc, queued->argv};
    if (UNLIKELY(plan->script != NULL)) {
        plan_rights(plan, &plan->call[plan->call_count], command);
    }
    plan->call_count++;
    return is_flushall || plan_place(plan, &place, why);
}

/* The data commands of the queue; SELECT among them counts for those behind it. */
static bool plan_calls(struct plan *plan, const struct call *call, struct buf *why)
{
    const struct transaction *transaction = transaction_of(call->caller->session);
    uint16_t database = call->caller->session->database;
    plan->reads = true;
    plan_scripts(plan, transaction);
    plan->call = mem_new((transaction->count + 1) * sizeof *plan->call);
    for (uint32_t i = 0; i < transaction->count; i++) {
        const struct queued *queued = transaction->queue[i];
        if (queued->refusal.len > 0) { continue; }
        if (queued->command == COMMAND_select) {
            (void)data_arg_database(queued->argv[1], &database);
        }
        if (!(command_table[queued->command].flags & CMD_DATA)) { continue; }
        if (!plan_call(plan, call->caller->broker, queued, database, why)) { return false; }
    }
    return true;
}

static bool plan_checks(struct plan *plan, const struct call *call, struct buf *why)
{
    const struct session_extra *extra = call->caller->session->extra;
    size_t bytes = extra->watch_count * sizeof *plan->check + 1;
    for (uint32_t i = 0; i < extra->watch_count; i++) {
        bytes += extra->watched[i].key.len;
    }
    plan->check = mem_new(bytes);
    char *at = (char *)&plan->check[extra->watch_count];
    for (uint32_t i = 0; i < extra->watch_count; i++) {
        const struct watched *watched = &extra->watched[i];
        struct data_place place =
            data_place_of(call->caller->broker, watched->database, watched->key);
        if (!plan_place(plan, &place, why)) { return false; }
        memcpy(at, watched->key.data, watched->key.len);
        plan->check[plan->check_count++] = (struct partition_check){
            watched->database, slice_of(at, watched->key.len), watched->version};
        at += watched->key.len;
    }
    return true;
}

/* ---- the answer ---- */

static void skip_rest(struct transaction *transaction)
{
    transaction->next = transaction->count;
}

/* All of it was executed, or will be: the replies follow. */
static void write_head(struct call *call)
{
    reply_array(call->reply, transaction_of(call->caller->session)->count);
}

/* Nothing was executed, or nobody knows. */
static bool is_over(const struct data_wait *wait, struct call *call)
{
    const struct partition_request *request = &wait->part[0].request;
    struct transaction *transaction = transaction_of(call->caller->session);
    if (request->err != ERR_OK) {
        skip_rest(transaction);
        data_write_error(call->reply, request->err);
    } else if (request->is_aborted) {
        skip_rest(transaction);
        reply_null_array(call->reply);
    } else {
        return false;
    }
    return true;
}

static void free_plan(struct data_wait *wait)
{
    plan_free(wait->own);
}

/* The queue, whose words the partition still looks at. */
static void orphan(struct data_wait *wait)
{
    struct plan *plan = wait->own;
    plan->orphan = transaction_detach(plan->session);
}

/* FLUSHALL in its place has emptied one partition: now the others. Its answer is the transaction's. */
static void finish_others(struct data_wait *wait, struct call *call)
{
    if (data_wait_failed(wait, call->reply)) {
        skip_rest(transaction_of(call->caller->session));
    } else {
        write_head(call);
    }
}

static void free_call(struct data_wait *wait)
{
    mem_free(wait->own);
}

static void flush_others(struct call *call, uint32_t done)
{
    static const struct data_wait_ops ops = {.finish = finish_others, .free = free_call};
    static const struct slice word = {"FLUSHALL", 8};
    uint32_t count = call->caller->broker->partition_count;
    struct data_wait *wait = data_wait_new(call, &ops, count - 1);
    wait->own = data_call_copy(&word, 1, 0);
    for (uint32_t i = 0; i < count - 1; i++) {
        wait->part[i].request.ask = PARTITION_WRITE;
        wait->part[i].request.partition = i < done ? i : i + 1;
        wait->part[i].request.call = wait->own;
        wait->part[i].request.call_count = 1;
    }
    data_wait_begin(call, wait);
}

static void finish_exec(struct data_wait *wait, struct call *call)
{
    const struct plan *plan = wait->own;
    struct partition_request *request = &wait->part[0].request;
    struct transaction *transaction = transaction_of(call->caller->session);
    if (is_over(wait, call)) { return; }
    transaction->data = request->reply;
    transaction->data_end = request->reply_end;
    request->reply = (struct buf){0};
    request->reply_end = NULL;
    if (plan->flushes_all && call->caller->broker->partition_count > 1) {
        flush_others(call, plan->place.partition);
    } else {
        write_head(call);
    }
}

/* No data command, only checks. */
static void finish_checks(struct data_wait *wait, struct call *call)
{
    const struct session_extra *extra = call->caller->session->extra;
    const struct partition_request *request = &wait->part[0].request;
    if (is_over(wait, call)) { return; }
    for (uint32_t i = 0; i < request->check_count; i++) {
        if (request->check[i].version != extra->watched[i].version) {
            skip_rest(extra->transaction);
            reply_null_array(call->reply);
            return;
        }
    }
    write_head(call);
}

bool exec_data_begin(struct call *call, bool *is_refused)
{
    static const struct data_wait_ops exec_ops = {
        .finish = finish_exec, .orphan = orphan, .free = free_plan};
    static const struct data_wait_ops check_ops = {.finish = finish_checks, .free = free_plan};
    struct session *session = call->caller->session;
    bool has_data = transaction_flags(session) & CMD_DATA;
    *is_refused = false;
    if (!has_data && session->extra->watch_count == 0) { return false; }
    struct plan *plan = mem_new0(sizeof *plan);
    plan->session = session;
    struct buf why = {0};
    *is_refused = !data_is_served(call);
    if (!*is_refused && (!plan_calls(plan, call, &why) || !plan_checks(plan, call, &why))) {
        reply_error_slice(call->reply, buf_slice(&why));
        *is_refused = true;
    }
    buf_fini(&why);
    if (*is_refused) {
        plan_free(plan);
        return true;
    }
    struct data_wait *wait = data_wait_new(call, has_data ? &exec_ops : &check_ops, 1);
    wait->own = plan;
    struct partition_request *request = &wait->part[0].request;
    bool reads = plan->reads && plan->check_count == 0;
    request->ask = !has_data ? PARTITION_VERSIONS : reads ? PARTITION_READ : PARTITION_WRITE;
    request->partition = plan->place.partition;
    request->call = plan->call;
    request->call_count = plan->call_count;
    request->check = plan->check;
    request->check_count = plan->check_count;
    data_wait_begin(call, wait);
    return true;
}

struct slice exec_data_next(struct call *call)
{
    struct transaction *transaction = transaction_of(call->caller->session);
    const uint32_t *end = transaction->data_end;
    uint32_t at = transaction->data_next++;
    size_t from = at > 0 ? end[at - 1] : 0;
    size_t to = end != NULL ? end[at] : transaction->data.len;
    return slice_of(transaction->data.data + from, to - from);
}
