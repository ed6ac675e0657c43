/* data_script_call: what a script calls: data commands, by their handlers, in the script's transaction; and the few others
 * that have an answer on which all replicas agree. */
#include "data/data_args.h"
#include "data/data_rights.h"
#include "data/data_script_int.h"

/* ---- where ---- */

static bool is_sharded(const struct script_caller *caller, uint16_t db)
{
    return db < 64 && (caller->call->scripting->sharded_databases >> db & 1) != 0;
}

/* The place of the script itself. */
static bool find_own(struct script_caller *caller, struct buf *why)
{
    const struct data_scripting *scripting = caller->call->scripting;
    const struct data_call *call = caller->call;
    caller->has_place =
        caller->has_place ||
        scripting->find(scripting->find_arg, call->db, call->argv, call->argc, &caller->place, why);
    return caller->has_place;
}

/* Of a command in a database that is spread, or of one that names another database. */
static bool is_here(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                    struct buf *why)
{
    const struct data_scripting *scripting = caller->call->scripting;
    struct data_script_place place;
    if (!find_own(caller, why) ||
        !scripting->find(scripting->find_arg, caller->db, argv, argc, &place, why)) {
        return false;
    }
    if (place.is_any) { return true; }
    if (place.partition != caller->place.partition) {
        buf_append(why, SLICE("ERR Script attempted to access a non local key in a cluster node"));
        return false;
    }
    if (!caller->may_cross_slots && is_sharded(caller, caller->db) &&
        place.slot != caller->place.slot) {
        buf_append(why, SLICE("ERR Script attempted to access keys that do not hash to the same "
                              "slot"));
        return false;
    }
    return true;
}

/* Might it concern more than this partition's part of the database? */
static bool may_be_elsewhere(const struct script_caller *caller, struct slice name)
{
    if (caller->call->scripting->find == NULL) { return false; }
    if (UNLIKELY(is_sharded(caller, caller->db))) { return true; }
    switch (name.len) {
    case 4:
        return slice_equal_nocase(name, SLICE("move")) || slice_equal_nocase(name, SLICE("copy"));
    case 6: return slice_equal_nocase(name, SLICE("swapdb"));
    case 8: return slice_equal_nocase(name, SLICE("flushall"));
    default: return false;
    }
}

/* ---- data ---- */

static bool blocks(const struct data_command *command, uint32_t argc, const struct slice *argv)
{
    if (command->handler != data_xread && command->handler != data_xreadgroup) { return false; }
    for (uint32_t i = 1; i < argc && !slice_equal_nocase(argv[i], SLICE("streams")); i++) {
        if (slice_equal_nocase(argv[i], SLICE("block"))) { return true; }
    }
    return false;
}

static const char not_allowed[] = "ERR This Redis command is not allowed from script";
static const char wrong_arity[] = "ERR Wrong number of args calling Redis command from script";

/* Why it is not executed, whoever asks; NULL: it is. */
static const char *refusal(const struct data_command *command, uint32_t argc)
{
    bool fits =
        command->arity >= 0 ? argc == (uint32_t)command->arity : argc >= (uint32_t)-command->arity;
    if (!fits) { return wrong_arity; }
    return data_runs_scripts(command) ? not_allowed : NULL;
}

/* May the script's user do it? The reply says so if not. */
static bool is_allowed(const struct script_caller *caller, uint32_t argc, const struct slice *argv,
                       struct reply *reply)
{
    if (LIKELY(caller->rights == NULL)) { return true; }
    struct buf why = {0};
    bool is_good =
        data_rights_allow(caller->call->scripting->rights, caller->rights, argc, argv, &why);
    if (!is_good) { reply_error_slice(reply, buf_slice(&why)); }
    buf_fini(&why);
    return is_good;
}

/* Of a container's subcommand the handler says what is wrong with it as clients are told. */
static void retell(struct reply *reply, size_t begin)
{
    struct slice error = slice_of(reply->out->data + begin, reply->out->len - begin);
    const char *text = NULL;
    if (slice_starts_with(error, SLICE("-ERR unknown subcommand '"))) {
        text = "ERR Unknown Redis command called from script";
    } else if (slice_starts_with(error, SLICE("-ERR wrong number of arguments for '")) &&
               memchr(error.data, '|', error.len) != NULL) {
        text = wrong_arity;
    }
    if (text == NULL) { return; }
    reply->out->len = begin;
    reply_error(reply, text);
}

static void run_data(struct script_caller *caller, const struct data_command *command,
                     uint32_t argc, const struct slice *argv, struct reply *reply)
{
    struct data_call *outer = caller->call;
    const char *why = refusal(command, argc);
    if (UNLIKELY(why != NULL)) {
        reply_error(reply, why);
        return;
    }
    if (!is_allowed(caller, argc, argv, reply)) { return; }
    if (UNLIKELY(caller->is_read_only && command->access == DATA_WRITE)) {
        reply_error(reply, "ERR Write commands are not allowed from read-only scripts.");
        return;
    }
    if (UNLIKELY(blocks(command, argc, argv))) {
        reply_errorf(reply, "ERR %s command is not allowed with BLOCK option from scripts",
                     command->name);
        return;
    }
    if (UNLIKELY(may_be_elsewhere(caller, argv[0]))) {
        struct buf text = {0};
        bool is_good = is_here(caller, argc, argv, &text);
        if (!is_good) { reply_error_slice(reply, buf_slice(&text)); }
        buf_fini(&text);
        if (!is_good) { return; }
    }
    caller->has_written = caller->has_written || command->access == DATA_WRITE;
    struct data_call inner = {
        .argc = argc,
        .argv = argv,
        .db = caller->db,
        .is_sharded = is_sharded(caller, caller->db),
        .is_scripted = true,
        .txn = outer->txn,
        .reply = reply,
        .listener = outer->listener,
    };
    size_t begin = reply->out->len;
    command->handler(&inner);
    if (UNLIKELY(reply->out->data[begin] == '-')) { retell(reply, begin); }
    outer->hits += inner.hits;
    outer->misses += inner.misses;
}

/* ---- the others ---- */

typedef void other_handler(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                           struct reply *reply);

static void run_ping(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                     struct reply *reply)
{
    (void)caller;
    if (argc == 1) {
        reply_status(reply, "PONG");
    } else if (argc == 2) {
        reply_bulk(reply, argv[1]);
    } else {
        reply_error(reply, "ERR wrong number of arguments for 'ping' command");
    }
}

static void run_echo(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                     struct reply *reply)
{
    (void)caller;
    (void)argc;
    reply_bulk(reply, argv[1]);
}

/* The entry's time: it does not pass in a script. */
static void run_time(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                     struct reply *reply)
{
    (void)argc;
    (void)argv;
    uint64_t now_ms = store_txn_now_ms(caller->call->txn);
    char text[20];
    reply_array(reply, 2);
    reply_bulk(reply, slice_of(text, uint64_to_text(now_ms / 1000, text)));
    reply_bulk(reply, slice_of(text, uint64_to_text(now_ms % 1000 * 1000, text)));
}

/* It is known what other nodes hold: nothing yet. */
static void run_wait(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                     struct reply *reply)
{
    (void)caller;
    (void)argc;
    (void)argv;
    reply_int(reply, 0);
}

/* Only to what is in the same partition. */
static void run_select(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                       struct reply *reply)
{
    static const struct slice probe[] = {{"EXISTS", 6}, {"", 0}};
    const struct data_scripting *scripting = caller->call->scripting;
    int64_t db;
    (void)argc;
    if (!slice_to_int64(argv[1], &db)) {
        reply_error(reply, data_not_an_integer);
        return;
    }
    if (db < 0 || db >= 16) {
        reply_error(reply, "ERR DB index is out of range");
        return;
    }
    struct buf why = {0};
    struct data_script_place place;
    bool is_same = (uint16_t)db == caller->call->db || scripting->find == NULL;
    if (!is_same && !is_sharded(caller, (uint16_t)db) && !is_sharded(caller, caller->call->db)) {
        is_same = find_own(caller, &why) &&
                  scripting->find(scripting->find_arg, (uint16_t)db, probe, COUNT_OF(probe), &place,
                                  &why) &&
                  place.partition == caller->place.partition;
    }
    buf_fini(&why);
    if (is_same) {
        caller->db = (uint16_t)db;
        reply_ok(reply);
    } else {
        reply_errorf(reply,
                     "ERR SELECT %u in a script is not possible: it is not in the partition of "
                     "database %u",
                     (unsigned)db, caller->call->db);
    }
}

/* Nobody knows the receivers yet: 0, on all replicas. */
static void publish(struct script_caller *caller, const struct slice *argv, bool is_shard,
                    struct reply *reply)
{
    const struct data_publish what = {is_shard, argv[1], argv[2]};
    if (caller->is_read_only) {
        reply_error(reply, "ERR Write commands are not allowed from read-only scripts.");
    } else if (!data_publishes_add(caller->call->scripting, &what)) {
        reply_errorf(reply, "ERR a script publishes at most %d bytes", DATA_PUBLISHES_BYTES_MAX);
    } else {
        reply_int(reply, 0);
    }
}

static void run_publish(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                        struct reply *reply)
{
    (void)argc;
    publish(caller, argv, false, reply);
}

static void run_spublish(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                         struct reply *reply)
{
    (void)argc;
    publish(caller, argv, true, reply);
}

#define ROW(word, arity, run)               \
    {                                       \
        {word, sizeof word - 1}, arity, run \
    }
#define NOT_ALLOWED(word) ROW(word, -1, NULL)
static const struct {
    struct slice name;
    int16_t arity;
    other_handler
        *run; /* NULL: a client's command, or one that answers differently from node to node */
} others[] = {
    ROW("publish", 3, run_publish),
    ROW("time", 1, run_time),
    ROW("select", 2, run_select),
    ROW("ping", -1, run_ping),
    ROW("echo", 2, run_echo),
    ROW("spublish", 3, run_spublish),
    ROW("wait", 3, run_wait),
    NOT_ALLOWED("acl"),
    NOT_ALLOWED("asking"),
    NOT_ALLOWED("auth"),
    NOT_ALLOWED("bgrewriteaof"),
    NOT_ALLOWED("bgsave"),
    NOT_ALLOWED("client"),
    NOT_ALLOWED("cluster"),
    NOT_ALLOWED("command"),
    NOT_ALLOWED("config"),
    NOT_ALLOWED("debug"),
    NOT_ALLOWED("discard"),
    NOT_ALLOWED("exec"),
    NOT_ALLOWED("fcall"),
    NOT_ALLOWED("fcall_ro"),
    NOT_ALLOWED("function"),
    NOT_ALLOWED("hello"),
    NOT_ALLOWED("info"),
    NOT_ALLOWED("lastsave"),
    NOT_ALLOWED("latency"),
    NOT_ALLOWED("lolwut"),
    NOT_ALLOWED("monitor"),
    NOT_ALLOWED("multi"),
    NOT_ALLOWED("psubscribe"),
    NOT_ALLOWED("pubsub"),
    NOT_ALLOWED("punsubscribe"),
    NOT_ALLOWED("quit"),
    NOT_ALLOWED("readonly"),
    NOT_ALLOWED("readwrite"),
    NOT_ALLOWED("replicaof"),
    NOT_ALLOWED("reset"),
    NOT_ALLOWED("role"),
    NOT_ALLOWED("save"),
    NOT_ALLOWED("shutdown"),
    NOT_ALLOWED("slaveof"),
    NOT_ALLOWED("slowlog"),
    NOT_ALLOWED("ssubscribe"),
    NOT_ALLOWED("subscribe"),
    NOT_ALLOWED("sunsubscribe"),
    NOT_ALLOWED("unsubscribe"),
    NOT_ALLOWED("unwatch"),
    NOT_ALLOWED("waitaof"),
    NOT_ALLOWED("watch"),
};

/* Its row; COUNT_OF(others): there is none. */
static size_t other_find(struct slice name)
{
    size_t i = 0;
    while (i < COUNT_OF(others) && !slice_equal_nocase(others[i].name, name)) {
        i++;
    }
    return i;
}

static void run_other(struct script_caller *caller, uint32_t argc, const struct slice *argv,
                      struct reply *reply)
{
    size_t i = other_find(argv[0]);
    if (i == COUNT_OF(others)) {
        reply_error(reply, "ERR Unknown Redis command called from script");
    } else if (others[i].run == NULL) {
        reply_error(reply, not_allowed);
    } else if (others[i].arity >= 0 ? argc != (uint32_t)others[i].arity
                                    : argc < (uint32_t)-others[i].arity) {
        reply_error(reply, wrong_arity);
    } else if (is_allowed(caller, argc, argv, reply)) {
        others[i].run(caller, argc, argv, reply);
    }
}

/* ---- the seam ---- */

/* NULL: it is none of data, or none that has a name for clients. */
static const struct data_command *command_of(struct slice name)
{
    const struct data_command *command = data_command_find(name);
    return command != NULL && command->handler != data_script_as ? command : NULL;
}

/* Scripts call the same one in a loop. */
static const struct data_command *command_again(struct script_caller *caller, struct slice name)
{
    if (name.len == caller->last_len && name.len > 0 &&
        memcmp(name.data, caller->last_name, name.len) == 0) {
        return caller->last;
    }
    const struct data_command *command = command_of(name);
    if (command == NULL || name.len > DATA_NAME_BYTES_MAX) { return command; }
    memcpy(caller->last_name, name.data, name.len);
    caller->last_len = name.len;
    caller->last = command;
    return command;
}

static void on_call(void *arg, uint32_t argc, const struct slice *argv, struct reply *reply)
{
    struct script_caller *caller = arg;
    const struct data_command *command = command_again(caller, argv[0]);
    if (LIKELY(command != NULL)) {
        run_data(caller, command, argc, argv, reply);
    } else {
        run_other(caller, argc, argv, reply);
    }
}

static bool on_knows(void *arg, uint32_t argc, const struct slice *argv)
{
    (void)arg;
    (void)argc;
    return command_of(argv[0]) != NULL || other_find(argv[0]) < COUNT_OF(others);
}

static bool on_may(void *arg, uint32_t argc, const struct slice *argv)
{
    const struct script_caller *caller = arg;
    return caller->rights == NULL ||
           data_rights_allow(caller->call->scripting->rights, caller->rights, argc, argv, NULL);
}

static void on_work(void *arg)
{
    const struct script_caller *caller = arg;
    for (unsigned i = 0; i < 8; i++) { /* some 10 us are so many reads */
        store_txn_work(caller->call->txn);
    }
}

const struct script_ops script_caller_ops = {on_call, on_knows, on_may, on_work};
