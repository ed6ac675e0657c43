/* data_group: XGROUP, and groups as the other commands find them. */
#include "data/data_group.h"

#include "data/data_args.h"

enum group_find group_find(struct data_call *call, struct slice key, struct slice name,
                           struct data_group *out)
{
    *out = (struct data_group){.name = name};
    if (!key_open(call, key, STORE_STREAM, &out->key)) { return GROUP_WRONG_TYPE; }
    if (!out->key.is_there) { return GROUP_ABSENT; }
    bool is_there = store_group_find(call->txn, &out->key.object, name, &out->group);
    return is_there ? GROUP_FOUND : GROUP_ABSENT;
}

void group_save(struct data_group *group, const char *event)
{
    store_group_save(group->key.call->txn, &group->key.object, group->name, &group->group);
    if (event != NULL) {
        key_save(&group->key, event, EVENT_STREAM);
    } else {
        store_key_save(group->key.call->txn, &group->key.ref, &group->key.object);
    }
}

struct store_consumer group_consumer(struct data_group *group, struct slice name, bool *is_new)
{
    struct store_txn *txn = group->key.call->txn;
    struct store_consumer consumer;
    bool is_there = store_consumer_find(txn, &group->key.object, &group->group, name, &consumer);
    if (!is_there) {
        store_consumer_create(txn, &group->key.object, &group->group, name, &consumer);
    }
    consumer.seen_ms = store_txn_now_ms(txn);
    if (is_new != NULL) {
        *is_new = !is_there;
    } else if (!is_there) {
        key_changed(group->key.call, group->key.ref.name, "xgroup-createconsumer", EVENT_STREAM);
    }
    return consumer;
}

bool stream_has_holes(const struct store_object *stream, struct store_id start, struct store_id end)
{
    struct store_id deleted = stream->stream.max_deleted;
    if (stream->count == 0 || (deleted.ms == 0 && deleted.seq == 0)) { return false; }
    return store_id_compare(start, deleted) <= 0 && store_id_compare(deleted, end) <= 0;
}

uint64_t stream_distance(const struct store_object *stream, struct store_id id)
{
    uint64_t added = stream->stream.added;
    if (added == 0) { return 0; }
    int to_last = store_id_compare(id, stream->stream.last);
    if (stream->count == 0 && to_last <= 0) { return added; }
    if (to_last == 0) { return added; }
    if (to_last > 0) { return STORE_READ_UNKNOWN; }
    int to_first = store_id_compare(id, stream->stream.first);
    struct store_id deleted = stream->stream.max_deleted;
    bool is_whole = (deleted.ms == 0 && deleted.seq == 0) ||
                    store_id_compare(deleted, stream->stream.first) < 0;
    if (is_whole && to_first < 0) { return added - stream->count; }
    if (is_whole && to_first == 0) { return added - stream->count + 1; }
    return STORE_READ_UNKNOWN;
}

/* ---- XGROUP ---- */

static void no_key(struct data_call *call)
{
    reply_error(call->reply,
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may "
                "want to use the MKSTREAM option to create an empty stream automatically.");
}

static void no_group(struct data_call *call)
{
    reply_errorf(call->reply, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                 SLICE_ARG(call->argv[3]), SLICE_ARG(call->argv[2]));
}

/* "$" or an id, and ENTRIESREAD. */
struct position {
    bool is_end;
    struct store_id id;
    int64_t read; /* -1: not told */
    bool makes_stream;
};

static bool position_options(struct data_call *call, bool is_create, struct position *position)
{
    *position = (struct position){.read = -1};
    for (uint32_t i = 5; i < call->argc; i++) {
        if (is_create && arg_is(call, i, "MKSTREAM")) {
            position->makes_stream = true;
        } else if (arg_is_with_value(call, i, "ENTRIESREAD")) {
            if (!arg_int(call, ++i, &position->read)) { return false; }
            if (position->read < 0 && position->read != -1) {
                reply_error(call->reply, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            reply_errorf(call->reply,
                         "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
                         "XGROUP HELP.",
                         SLICE_ARG(call->argv[1]));
            return false;
        }
    }
    return true;
}

static bool position_id(struct data_call *call, struct position *position)
{
    position->is_end = slice_equal(call->argv[4], SLICE("$"));
    return position->is_end || arg_id(call, 4, 0, &position->id);
}

static void position_apply(const struct position *position, const struct store_object *stream,
                           struct store_group *group)
{
    group->last = position->is_end ? stream->stream.last : position->id;
    group->read = position->read < 0 ? STORE_READ_UNKNOWN : (uint64_t)position->read;
}

static void xgroup_create(struct data_call *call, struct data_key *key, struct position *position)
{
    struct store_group group;
    if (!position_id(call, position)) { return; }
    struct store_object *stream = key_make(key, STORE_STREAM);
    if (store_group_find(call->txn, stream, call->argv[3], &group)) {
        reply_error(call->reply, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    group = (struct store_group){0};
    position_apply(position, stream, &group);
    store_group_create(call->txn, stream, call->argv[3], &group);
    key_save(key, "xgroup-create", EVENT_STREAM);
    reply_ok(call->reply);
}

static void xgroup_setid(struct data_call *call, struct data_group *group,
                         struct position *position)
{
    if (!position_id(call, position)) { return; }
    position_apply(position, &group->key.object, &group->group);
    group_save(group, "xgroup-setid");
    reply_ok(call->reply);
}

static void xgroup_destroy(struct data_call *call, struct data_group *group)
{
    store_group_remove(call->txn, &group->key.object, group->name, &group->group);
    key_save(&group->key, "xgroup-destroy", EVENT_STREAM);
    reply_int(call->reply, 1);
}

static void xgroup_createconsumer(struct data_call *call, struct data_group *group)
{
    bool is_new;
    struct store_consumer consumer = group_consumer(group, call->argv[4], &is_new);
    if (is_new) {
        store_consumer_save(call->txn, &group->key.object, &group->group, call->argv[4], &consumer);
        group_save(group, "xgroup-createconsumer");
    }
    reply_int(call->reply, is_new);
}

static void xgroup_delconsumer(struct data_call *call, struct data_group *group)
{
    struct store_consumer consumer;
    uint64_t pending = 0;
    if (store_consumer_find(call->txn, &group->key.object, &group->group, call->argv[4],
                            &consumer)) {
        pending = store_consumer_remove(call->txn, &group->key.object, &group->group, call->argv[4],
                                        &consumer);
        group_save(group, "xgroup-delconsumer");
    }
    reply_int(call->reply, (int64_t)pending);
}

enum xgroup_verb {
    XGROUP_CREATE,
    XGROUP_SETID,
    XGROUP_DESTROY,
    XGROUP_CREATECONSUMER,
    XGROUP_DELCONSUMER,
    XGROUP_HELP,
};

static const struct subcommand xgroup_verbs[] = {
    {"create", 5, 8},         {"setid", 5, 7},       {"destroy", 4, 4},
    {"createconsumer", 5, 5}, {"delconsumer", 5, 5}, {"help", 2, 2},
};

static const char *const xgroup_help[] = {
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [MKSTREAM] [ENTRIESREAD entries_read]",
    "    Make a consumer group.",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Make a consumer of a group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove a consumer and what is pending for it.",
    "DESTROY <key> <groupname>",
    "    Remove a group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set which entry the group was given last.",
    "HELP",
    "    Print this help."};

static void xgroup_run(struct data_call *call, enum xgroup_verb verb, struct data_group *group,
                       struct position *position)
{
    switch (verb) {
    case XGROUP_SETID: xgroup_setid(call, group, position); return;
    case XGROUP_DESTROY: xgroup_destroy(call, group); return;
    case XGROUP_CREATECONSUMER: xgroup_createconsumer(call, group); return;
    case XGROUP_DELCONSUMER: xgroup_delconsumer(call, group); return;
    case XGROUP_CREATE:
    case XGROUP_HELP: return;
    }
}

void data_xgroup(struct data_call *call)
{
    int verb = subcommand_find(call, "xgroup", xgroup_verbs, COUNT_OF(xgroup_verbs));
    struct position position = {.read = -1};
    struct data_group group;
    if (verb < 0) { return; }
    if (verb == XGROUP_HELP) {
        reply_array(call->reply, COUNT_OF(xgroup_help));
        for (size_t i = 0; i < COUNT_OF(xgroup_help); i++) {
            reply_status(call->reply, xgroup_help[i]);
        }
        return;
    }
    bool has_position = verb == XGROUP_CREATE || verb == XGROUP_SETID;
    if (has_position && !position_options(call, verb == XGROUP_CREATE, &position)) { return; }
    enum group_find found = group_find(call, call->argv[2], call->argv[3], &group);
    if (found == GROUP_WRONG_TYPE) { return; }
    if (!group.key.is_there && !position.makes_stream) {
        no_key(call);
    } else if (verb == XGROUP_CREATE) {
        xgroup_create(call, &group.key, &position);
    } else if (found == GROUP_ABSENT && verb == XGROUP_DESTROY) {
        reply_int(call->reply, 0);
    } else if (found == GROUP_ABSENT) {
        no_group(call);
    } else {
        xgroup_run(call, (enum xgroup_verb)verb, &group, &position);
    }
}
