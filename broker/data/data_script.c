/* data_script: EVAL and its kin, and the scripts that are kept. */
#include "data/data_script.h"

#include "data/data_args.h"
#include "data/data_rights.h"
#include "data/data_script_int.h"
#include "store/store_script.h"

static const char no_script[] = "NOSCRIPT No matching script. Please use EVAL.";

struct eval {
    struct data_call *call;
    bool is_sha; /* word 1 is the text's sha, else the text */
    bool is_ro;
    unsigned char sha[SHA1_BYTES];
    const void *rights; /* NULL: all */
    uint32_t key_count;
    uint64_t seed;
};

bool data_runs_scripts(const struct data_command *command)
{
    data_handler *handler = command->handler;
    return handler == data_eval || handler == data_evalsha || handler == data_eval_ro ||
           handler == data_evalsha_ro || handler == data_script || handler == data_script_as;
}

bool data_is_script(struct slice name)
{
    char first = name.len > 0 ? (char)(name.data[0] | 0x20) : '\0';
    if (first != 'e' && first != 's') { return false; }
    const struct data_command *command = data_command_find(name);
    return command != NULL && data_runs_scripts(command);
}

/* ---- a run ---- */

/* The script, compiled. NULL: there is none, and the reply says why, if *end is SCRIPT_DONE. */
static struct script *open_script(const struct eval *eval, struct script_state *state,
                                  enum script_end *end)
{
    struct data_call *call = eval->call;
    struct store_script kept;
    *end = SCRIPT_DONE;
    if (eval->is_sha && !store_script_find(call->txn, eval->sha, &kept)) {
        reply_error(call->reply, no_script);
        return NULL;
    }
    struct script *script = script_find(state, eval->sha);
    if (LIKELY(script != NULL)) { return script; }
    if (!eval->is_sha) { return script_compile(state, eval->sha, call->argv[1], call->reply, end); }
    struct buf text = {0};
    store_script_read(call->txn, eval->sha, &kept, &text);
    script = script_compile(state, eval->sha, buf_slice(&text), call->reply, end);
    buf_fini(&text);
    return script;
}

static bool is_allowed(const struct eval *eval, uint32_t flags)
{
    struct data_call *call = eval->call;
    if (flags & SCRIPT_COMPAT) { return true; }
    if (flags & SCRIPT_NO_CLUSTER && call->is_sharded) {
        reply_error(call->reply, "ERR Can not run script on cluster, 'no-cluster' flag is set.");
        return false;
    }
    if (eval->is_ro && !(flags & SCRIPT_NO_WRITES)) {
        reply_error(call->reply,
                    "ERR Can not execute a script with write flag using *_ro command.");
        return false;
    }
    return true;
}

static enum script_end run_script(const struct eval *eval, struct script_state *state,
                                  const struct script *script, struct script_caller *caller)
{
    struct data_call *call = eval->call;
    const struct slice *words = call->argv + 3;
    const struct script_run run = {
        .ops = &script_caller_ops,
        .arg = caller,
        .keys = words,
        .key_count = eval->key_count,
        .args = words + eval->key_count,
        .arg_count = call->argc - 3 - eval->key_count,
        .now_ms = store_txn_now_ms(call->txn),
        .seed = eval->seed,
        .instructions_max = call->scripting->instructions_max,
        .may_log = call->scripting->may_log,
    };
    return script_run(state, script, &run, call->reply);
}

/* From now on EVALSHA finds it. There is always room: the oldest goes. */
static void keep_called(const struct eval *eval)
{
    CHECK(store_script_keep(eval->call->txn, eval->sha, eval->call->argv[1], false));
}

/* In a state of its own, or in one that is kept. *is_undone: if it is to be run again, nothing has to be undone before. */
static enum script_end run_once(const struct eval *eval, bool is_alone, bool *is_undone)
{
    struct data_call *call = eval->call;
    struct scripts *scripts = call->scripting->scripts;
    enum script_end end;
    call->scripting->publishes.len = 0;
    struct script_state *state = scripts_enter(scripts, is_alone);
    struct script *script = open_script(eval, state, &end);
    uint32_t flags = script != NULL ? script_flags(script) : 0;
    struct script_caller caller = {
        .call = call,
        .db = call->db,
        .rights = eval->rights,
        .is_read_only = eval->is_ro || (!(flags & SCRIPT_COMPAT) && flags & SCRIPT_NO_WRITES),
        .may_cross_slots = flags & (SCRIPT_COMPAT | SCRIPT_CROSS_SLOT),
    };
    if (script != NULL && is_allowed(eval, flags)) {
        if (!eval->is_sha) { keep_called(eval); }
        end = run_script(eval, state, script, &caller);
    }
    scripts_leave(scripts, state);
    *is_undone = !caller.has_written;
    return end;
}

static bool take_key_count(struct eval *eval)
{
    struct data_call *call = eval->call;
    int64_t count;
    if (!arg_int(call, 2, &count)) { return false; }
    if (count > (int64_t)call->argc - 3) {
        reply_error(call->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (count < 0) {
        reply_error(call->reply, "ERR Number of keys can't be negative");
        return false;
    }
    eval->key_count = (uint32_t)count;
    return true;
}

static void run_eval(struct eval *eval)
{
    struct data_call *call = eval->call;
    struct data_scripting *scripting = call->scripting;
    if (scripting == NULL) {
        reply_error(call->reply, "ERR scripts are not run here");
        return;
    }
    if (eval->is_sha && !sha1_from_hex(call->argv[1], eval->sha)) {
        reply_error(call->reply, no_script);
        return;
    }
    if (!take_key_count(eval)) { return; }
    if (!eval->is_sha) { sha1(call->argv[1], eval->sha); }
    eval->seed = store_txn_random(call->txn);
    bool is_undone;
    enum script_end end = run_once(eval, scripting->is_alone, &is_undone);
    if (end == SCRIPT_AGAIN && is_undone) { end = run_once(eval, true, &is_undone); }
    scripting->again = end == SCRIPT_AGAIN;
}

void data_eval(struct data_call *call)
{
    run_eval(&(struct eval){.call = call});
}

void data_eval_ro(struct data_call *call)
{
    run_eval(&(struct eval){.call = call, .is_ro = true});
}

void data_evalsha(struct data_call *call)
{
    run_eval(&(struct eval){.call = call, .is_sha = true});
}

void data_evalsha_ro(struct data_call *call)
{
    run_eval(&(struct eval){.call = call, .is_sha = true, .is_ro = true});
}

/* ---- a script of a user who may not do everything ---- */

bool data_is_script_as(struct slice name)
{
    return slice_equal(name, SLICE(DATA_SCRIPT_AS));
}

/* Which of them it is. False: none. */
static bool take_kind(struct eval *eval, struct slice name)
{
    const struct data_command *command = data_command_find(name);
    data_handler *handler = command != NULL ? command->handler : NULL;
    eval->is_sha = handler == data_evalsha || handler == data_evalsha_ro;
    eval->is_ro = handler == data_eval_ro || handler == data_evalsha_ro;
    return eval->is_sha || eval->is_ro || handler == data_eval;
}

void data_script_as(struct data_call *call)
{
    struct data_call inner = *call;
    struct eval eval = {.call = &inner};
    const struct data_scripting *scripting = call->scripting;
    inner.argv += DATA_SCRIPT_AS_WORDS;
    inner.argc -= DATA_SCRIPT_AS_WORDS;
    if (scripting == NULL || !scripting->knows_rights || scripting->rights == NULL ||
        !take_kind(&eval, inner.argv[0])) { /* as who does not know it says it */
        reply_error(call->reply, "ERR unknown command '" DATA_SCRIPT_AS "'");
        return;
    }
    eval.rights = data_rights_find(scripting->rights, call->argv[1]);
    if (eval.rights == NULL) {
        reply_error(call->reply, "NOPERM the rights of the script's user make no sense here");
        return;
    }
    run_eval(&eval);
    call->hits += inner.hits;
    call->misses += inner.misses;
}

/* ---- SCRIPT ---- */

/* Is it one? The reply says so if not. */
static bool compiles(struct data_call *call, const unsigned char sha[SHA1_BYTES], struct slice text)
{
    struct scripts *scripts = call->scripting->scripts;
    enum script_end end = SCRIPT_DONE;
    bool is_good = false;
    for (int i = 0; i < 2 && !is_good; i++) {
        struct script_state *state = scripts_enter(scripts, i > 0);
        is_good = script_find(state, sha) != NULL ||
                  script_compile(state, sha, text, call->reply, &end) != NULL;
        scripts_leave(scripts, state);
        if (end == SCRIPT_DONE) { break; }
    }
    return is_good;
}

static void load(struct data_call *call)
{
    unsigned char sha[SHA1_BYTES];
    char hex[SHA1_HEX];
    if (call->scripting == NULL) {
        reply_error(call->reply, "ERR scripts are not run here");
        return;
    }
    sha1(call->argv[2], sha);
    if (!compiles(call, sha, call->argv[2])) { return; }
    if (!store_script_keep(call->txn, sha, call->argv[2], true)) {
        reply_errorf(call->reply,
                     "ERR there are too many scripts: at most %d of %d bytes together; SCRIPT "
                     "FLUSH removes them",
                     STORE_SCRIPTS_LOADED_MAX, STORE_SCRIPTS_BYTES_MAX);
        return;
    }
    sha1_to_hex(sha, hex);
    reply_bulk(call->reply, slice_of(hex, SHA1_HEX));
}

static void exists(struct data_call *call)
{
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        unsigned char sha[SHA1_BYTES];
        struct store_script kept;
        bool is_there =
            sha1_from_hex(call->argv[i], sha) && store_script_find(call->txn, sha, &kept);
        reply_int(call->reply, is_there);
    }
}

static void flush(struct data_call *call)
{
    bool is_good = call->argc == 2 || arg_is(call, 2, "async") || arg_is(call, 2, "sync");
    if (!is_good || call->argc > 3) {
        reply_error(call->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    store_script_flush(call->txn);
    reply_ok(call->reply);
}

void data_script(struct data_call *call)
{
    enum { LOAD, EXISTS, FLUSH };
    static const struct subcommand subcommands[] = {
        [LOAD] = {"load", 3, 3}, [EXISTS] = {"exists", 3, 0}, [FLUSH] = {"flush", 2, 0}};
    switch (subcommand_find(call, "script", subcommands, COUNT_OF(subcommands))) {
    case LOAD: load(call); break;
    case EXISTS: exists(call); break;
    case FLUSH: flush(call); break;
    default: break;
    }
}
