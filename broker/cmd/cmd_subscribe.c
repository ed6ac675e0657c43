/* cmd_subscribe: SUBSCRIBE and its kin. Alone, each change is in force at once and confirmed. In a
 * cluster many names of a command are asked for at once; from the first one that another node has to
 * confirm on, they are items of a list, and are answered when all of them have their fate. A command
 * may have any number of names: the next part is begun in a later turn, when the one before it has
 * been confirmed. */
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/caller.h"
#include "session/error_stats.h"
#include "session/life.h"
#include "session/output.h"
#include "session/sessions.h"

/* Names of a command that are changed in one turn. Patterns cost a node alone all stripes each. */
enum { NAMES_AT_ONCE = 1024, PATTERNS_AT_ONCE = 256 };

static const struct {
    const char *subscribed;
    const char *unsubscribed;
} kind_word[TOPIC_KINDS] = {
    [TOPIC_CHANNEL] = {"subscribe", "unsubscribe"},
    [TOPIC_PATTERN] = {"psubscribe", "punsubscribe"},
    [TOPIC_SHARD] = {"ssubscribe", "sunsubscribe"},
};

/* What a confirmation counts: channels and patterns together, shard channels apart. */
static uint32_t confirmed_count(const struct subscriber *subscriber, enum topic_kind kind)
{
    return kind == TOPIC_SHARD
               ? subscriber->count[TOPIC_SHARD]
               : subscriber->count[TOPIC_CHANNEL] + subscriber->count[TOPIC_PATTERN];
}

/* What the fan-out delivers goes straight to the connection: hand it each confirmation before the
 * next subscription can bring messages of this one. */
static void confirm(struct call *call, const char *word, const struct slice *name, uint32_t count)
{
    reply_push(call->reply, 3);
    reply_bulk_str(call->reply, word);
    if (name != NULL) {
        reply_bulk(call->reply, *name);
    } else {
        reply_null(call->reply);
    }
    reply_int(call->reply, count);
    if (!(call->caller->session->flags & SESSION_EXECUTING)) {
        session_answer(call->caller->session, call->reply->out, true);
    }
}

/* ---- items: what the fan-out has been asked for and not all of which is in force ---- */

enum item_state { ITEM_PENDING, ITEM_DONE, ITEM_NOTHING, ITEM_FAILED };

struct item {
    struct session_change change; /* told when a pending one is decided */
    struct map_node node;         /* by name, if the name was pending */
    struct changes *all;
    const struct item *same; /* the item of that name before it: its fate is this one's; or NULL */
    enum item_state state;
    enum err err;
    struct slice name; /* the bytes behind the struct */
};

/* Names of a command whose turn has not come: each its length and its bytes. */
struct rest {
    uint32_t count;
    size_t at;
    struct buf names;
};

/* A part of a command that waits, in the order of its arguments. */
struct changes {
    struct session *session;
    enum topic_kind kind;
    bool is_join;
    uint32_t first_count;    /* what the confirmation before these counted */
    size_t postponed_before; /* bytes postponed for the client when it began */
    uint32_t pending_count;
    uint32_t count;
    uint32_t cap;
    struct item **item;
    struct map names;
    struct rest *rest; /* what comes after it; NULL: nothing */
};

static void on_changed(struct session_change *change, enum err err)
{
    struct item *item = CONTAINER_OF(change, struct item, change);
    struct changes *all = item->all;
    CHECK(item->state == ITEM_PENDING);
    item->state = err == ERR_OK ? ITEM_DONE : ITEM_FAILED;
    item->err = err;
    all->pending_count--;
    if (all->pending_count == 0) { wait_over(all->session); }
}

static struct item *item_new(struct slice name)
{
    struct item *item = mem_new0(sizeof *item + name.len);
    char *bytes = (char *)(item + 1);
    if (name.len > 0) { memcpy(bytes, name.data, name.len); }
    item->name = slice_of(bytes, name.len);
    item->change.on_changed = on_changed;
    return item;
}

static void items_add(struct changes *all, struct item *item)
{
    if (all->count == all->cap) {
        all->cap = all->cap > 0 ? all->cap * 2 : 4;
        all->item = mem_resize(all->item, all->cap * sizeof(struct item *));
    }
    all->item[all->count++] = item;
    item->all = all;
}

static void rest_add(struct rest *rest, struct slice name)
{
    uint32_t len = (uint32_t)name.len;
    buf_append(&rest->names, slice_of((const char *)&len, sizeof len));
    buf_append(&rest->names, name);
    rest->count++;
}

static struct slice rest_take(struct rest *rest)
{
    uint32_t len;
    memcpy(&len, rest->names.data + rest->at, sizeof len);
    struct slice name = slice_of(rest->names.data + rest->at + sizeof len, len);
    rest->at += sizeof len + len;
    rest->count--;
    return name;
}

static void rest_free(struct rest *rest)
{
    if (rest == NULL) { return; }
    buf_fini(&rest->names);
    mem_free(rest);
}

static void changes_free(void *question)
{
    struct changes *all = question;
    for (uint32_t i = 0; i < all->count; i++) {
        mem_free(all->item[i]);
    }
    mem_free(all->item);
    map_fini(&all->names);
    rest_free(all->rest);
    mem_free(all);
}

static void add_pending(struct changes *all, struct item *item)
{
    items_add(all, item);
    item->state = ITEM_PENDING;
    item->node.key = item->name;
    map_insert(&all->names, &item->node, slice_hash(item->name));
    all->pending_count++;
}

static const struct item *find_pending(const struct changes *all, struct slice name)
{
    struct map_node *node = map_find(&all->names, name, slice_hash(name));
    return node != NULL ? CONTAINER_OF(node, struct item, node) : NULL;
}

/* An error in the place of a confirmation. */
static void refuse(struct call *call, enum err err)
{
    struct reply reply = {.out = call->reply->out, .version = call->reply->version};
    size_t before = reply.out->len;
    reply_error(&reply, err_wire(err));
    error_stats_add(slice_of(reply.out->data + before, reply.out->len - before), 1);
    metric_family_add(METRIC_FAMILY_redis_commands_failed_calls_total, command_id(call->command),
                      1);
    if (!(call->caller->session->flags & SESSION_EXECUTING)) {
        session_answer(call->caller->session, call->reply->out, false);
    }
}

/* A pattern shows messages of the owners that count it, until it is refused. */
static void forget_postponed(const struct changes *all, struct slice name)
{
    session_forget_postponed(all->session, all->postponed_before, all->kind, name);
}

/* Every item as if the changes had come one after the other. */
static void confirm_items(const struct changes *all, struct call *call)
{
    const char *word =
        all->is_join ? kind_word[all->kind].subscribed : kind_word[all->kind].unsubscribed;
    uint32_t count = all->first_count;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct item *item = all->item[i];
        const struct item *decided = item->same != NULL ? item->same : item;
        if (item->state == ITEM_DONE) { count += all->is_join ? 1 : UINT32_MAX; }
        if (decided->state == ITEM_FAILED) {
            if (all->is_join) { forget_postponed(all, item->name); }
            refuse(call, decided->err);
        } else {
            confirm(call, word, &item->name, count);
        }
    }
}

/* ---- commands ---- */

struct changing {
    struct call *call;
    enum topic_kind kind;
    bool is_join;
    struct changes *all; /* NULL: everything so far is in force, and confirmed */
    struct rest *rest;   /* for later; NULL: nothing */
};

static enum fanout_change apply(const struct changing *changing, struct slice name,
                                struct session_change *waiter)
{
    struct fanout *fanout = changing->call->caller->service->fanout;
    struct subscriber *subscriber = &changing->call->caller->session->subscriber;
    return changing->is_join ? fanout_subscribe(fanout, subscriber, changing->kind, name, waiter)
                             : fanout_unsubscribe(fanout, subscriber, changing->kind, name, waiter);
}

static void confirm_now(const struct changing *changing, struct slice name)
{
    const char *word = changing->is_join ? kind_word[changing->kind].subscribed
                                         : kind_word[changing->kind].unsubscribed;
    confirm(changing->call, word, &name,
            confirmed_count(&changing->call->caller->session->subscriber, changing->kind));
}

static struct changes *changes_new(struct changing *changing)
{
    struct changes *all = mem_new0(sizeof *all);
    all->session = changing->call->caller->session;
    all->kind = changing->kind;
    all->is_join = changing->is_join;
    changing->all = all;
    return all;
}

/* The first change that waits. What is delivered from now on may belong to a channel whose confirmation
 * is to come first; where names are left it may not, and messages go before the confirmation. */
static void begin_waiting(struct changing *changing, uint32_t count)
{
    struct session *session = changing->call->caller->session;
    struct changes *all = changes_new(changing);
    all->first_count = count;
    if (all->is_join) {
        session_postpone(session);
        all->postponed_before = session->extra->postponed.len;
    }
}

static void change_in_cluster(struct changing *changing, struct slice name)
{
    struct item *item = item_new(name);
    if (changing->all != NULL) { item->same = find_pending(changing->all, name); }
    if (item->same != NULL) {
        item->state = ITEM_NOTHING;
        items_add(changing->all, item);
        return;
    }
    uint32_t before = confirmed_count(&changing->call->caller->session->subscriber, changing->kind);
    enum fanout_change change = apply(changing, name, &item->change);
    if (change == FANOUT_PENDING) {
        if (changing->all == NULL) { begin_waiting(changing, before); }
        add_pending(changing->all, item);
    } else if (changing->all != NULL) {
        item->state = change == FANOUT_DONE ? ITEM_DONE : ITEM_NOTHING;
        items_add(changing->all, item);
    } else {
        confirm_now(changing, name);
        mem_free(item);
    }
}

static void change_one(void *arg, struct slice name)
{
    struct changing *changing = arg;
    if (changing->call->caller->broker->cluster != NULL) {
        change_in_cluster(changing, name);
        return;
    }
    CHECK(apply(changing, name, NULL) != FANOUT_PENDING);
    confirm_now(changing, name);
}

static void finish(void *question, struct call *call);

/* The end of a part. */
static void end_changing(struct changing *changing)
{
    static const struct wait_ops ops = {.finish = finish, .forget = changes_free};
    struct session *session = changing->call->caller->session;
    session_count_subscriptions(session);
    if (changing->rest != NULL && changing->all == NULL) { changes_new(changing); }
    if (changing->all == NULL) { return; }
    changing->all->rest = changing->rest;
    call_wait(changing->call, &ops, changing->all);
    if (changing->all->pending_count == 0) { wait_over(session); }
}

static uint32_t names_at_once(const struct changing *changing)
{
    bool is_alone = changing->call->caller->broker->cluster == NULL;
    return is_alone && changing->kind == TOPIC_PATTERN ? PATTERNS_AT_ONCE : NAMES_AT_ONCE;
}

/* The next part of what is left. */
static void change_rest(struct changing *changing)
{
    for (uint32_t i = names_at_once(changing); i > 0 && changing->rest->count > 0; i--) {
        change_one(changing, rest_take(changing->rest));
    }
    if (changing->rest->count == 0) {
        rest_free(changing->rest);
        changing->rest = NULL;
    }
    end_changing(changing);
}

/* A part has its fate: answer it, and go on. */
static void finish(void *question, struct call *call)
{
    struct changes *all = question;
    struct session *session = call->caller->session;
    confirm_items(all, call);
    session_count_subscriptions(session);
    struct changing changing = {
        .call = call, .kind = all->kind, .is_join = all->is_join, .rest = all->rest};
    all->rest = NULL;
    changes_free(all);
    if (changing.rest == NULL) { return; }
    if (!(session->flags & SESSION_EXECUTING)) { session_deliver_postponed(session); }
    change_rest(&changing);
}

/* Change the names now, or the first of them and the others in later turns. */
static void change_names(struct changing *changing, const struct slice *name, uint32_t count)
{
    uint32_t at_once = names_at_once(changing);
    if (at_once > count) { at_once = count; }
    for (uint32_t i = 0; i < at_once; i++) {
        change_one(changing, name[i]);
    }
    if (count > at_once) { changing->rest = mem_new0(sizeof *changing->rest); }
    for (uint32_t i = at_once; i < count; i++) {
        rest_add(changing->rest, name[i]);
    }
    end_changing(changing);
}

static void subscribe(struct call *call, enum topic_kind kind)
{
    struct changing changing = {.call = call, .kind = kind, .is_join = true};
    change_names(&changing, call->argv + 1, call->argc - 1);
}

static void leave_later(void *arg, struct slice name)
{
    struct changing *changing = arg;
    rest_add(changing->rest, name);
}

static void unsubscribe(struct call *call, enum topic_kind kind)
{
    struct subscriber *subscriber = &call->caller->session->subscriber;
    struct changing changing = {.call = call, .kind = kind};
    if (call->argc > 1) {
        change_names(&changing, call->argv + 1, call->argc - 1);
    } else if (subscriber->count[kind] == 0) {
        confirm(call, kind_word[kind].unsubscribed, NULL, confirmed_count(subscriber, kind));
    } else {
        changing.rest = mem_new0(sizeof *changing.rest);
        fanout_each_subscription(subscriber, kind, leave_later, &changing);
        change_rest(&changing);
    }
}

void cmd_subscribe(struct call *call)
{
    subscribe(call, TOPIC_CHANNEL);
}

void cmd_psubscribe(struct call *call)
{
    subscribe(call, TOPIC_PATTERN);
}

void cmd_ssubscribe(struct call *call)
{
    subscribe(call, TOPIC_SHARD);
}

void cmd_unsubscribe(struct call *call)
{
    unsubscribe(call, TOPIC_CHANNEL);
}

void cmd_punsubscribe(struct call *call)
{
    unsubscribe(call, TOPIC_PATTERN);
}

void cmd_sunsubscribe(struct call *call)
{
    unsubscribe(call, TOPIC_SHARD);
}
