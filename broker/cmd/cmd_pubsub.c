/* cmd_pubsub: publish, subscribe, and what is known about both. */
#include "base/glob.h"
#include "base/metrics.h"
#include "cmd/call.h"

/* ---- PUBLISH, SPUBLISH ---- */

/* The answer comes with the fan-out's commit (session_published). A client that wants none is not
 * entered as publisher; inside EXEC it is, because the answers there are counted. */
static void publish(struct call *call, enum topic_kind kind)
{
    struct session *session = call->session;
    bool is_silent = session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIPPING) &&
                     !(session->flags & SESSION_EXECUTING);
    session->flags |= SESSION_PUBLISHED;
    fanout_publish(call->service->fanout, kind, call->argv[1], call->argv[2],
                   is_silent ? NULL : session);
}

void cmd_publish(struct call *call)
{
    publish(call, TOPIC_CHANNEL);
}

void cmd_spublish(struct call *call)
{
    publish(call, TOPIC_SHARD);
}

/* ---- SUBSCRIBE and its kin ---- */

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

/* Keep the number of clients with subscriptions; `before` is what this one had. */
static void count_client(const struct call *call, uint32_t before)
{
    uint32_t now = subscriber_total(&call->session->subscriber);
    if (before == 0 && now > 0) { metric_add(METRIC_redis_pubsub_clients, 1); }
    if (before > 0 && now == 0) { metric_sub(METRIC_redis_pubsub_clients, 1); }
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
    if (!(call->session->flags & SESSION_EXECUTING)) {
        session_answer(call->session, call->reply->out, true);
    }
}

static void subscribe(struct call *call, enum topic_kind kind)
{
    struct subscriber *subscriber = &call->session->subscriber;
    uint32_t before = subscriber_total(subscriber);
    for (uint32_t i = 1; i < call->argc; i++) {
        (void)fanout_subscribe(call->service->fanout, subscriber, kind, call->argv[i], NULL);
        confirm(call, kind_word[kind].subscribed, &call->argv[i],
                confirmed_count(subscriber, kind));
    }
    count_client(call, before);
}

struct unsubscribing {
    struct call *call;
    enum topic_kind kind;
};

static void unsubscribe_one(void *arg, struct slice name)
{
    const struct unsubscribing *all = arg;
    struct session *session = all->call->session;
    (void)fanout_unsubscribe(all->call->service->fanout, &session->subscriber, all->kind, name,
                             NULL);
    confirm(all->call, kind_word[all->kind].unsubscribed, &name,
            confirmed_count(&session->subscriber, all->kind));
}

static void unsubscribe(struct call *call, enum topic_kind kind)
{
    struct subscriber *subscriber = &call->session->subscriber;
    uint32_t before = subscriber_total(subscriber);
    struct unsubscribing all = {call, kind};
    if (call->argc == 1 && subscriber->count[kind] == 0) {
        confirm(call, kind_word[kind].unsubscribed, NULL, confirmed_count(subscriber, kind));
    } else if (call->argc == 1) {
        fanout_each_subscription(subscriber, kind, unsubscribe_one, &all);
    }
    for (uint32_t i = 1; i < call->argc; i++) {
        unsubscribe_one(&all, call->argv[i]);
    }
    count_client(call, before);
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

/* ---- PUBSUB ---- */

/* Names that match, encoded while the directory is locked, counted for the head that goes before
 * them. */
struct listing {
    struct slice pattern; /* data NULL: all */
    struct buf names;
    size_t count;
};

static void list_name(void *arg, struct slice name)
{
    struct listing *listing = arg;
    if (listing->pattern.data != NULL && !glob_match(listing->pattern, name)) { return; }
    struct reply reply = {.out = &listing->names, .version = 2};
    reply_bulk(&reply, name);
    listing->count++;
}

static void list_names(struct call *call, enum topic_kind kind)
{
    if (call->argc > 3) {
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command",
                     call->command->full_name);
        return;
    }
    struct listing listing = {0};
    if (call->argc == 3) { listing.pattern = call->argv[2]; }
    directory_each(call->broker->directory, kind, list_name, &listing);
    reply_array(call->reply, listing.count);
    buf_append(call->reply->out, buf_slice(&listing.names));
    buf_fini(&listing.names);
}

static void count_subscribers(struct call *call, enum topic_kind kind)
{
    reply_array(call->reply, 2 * ((size_t)call->argc - 2));
    for (uint32_t i = 2; i < call->argc; i++) {
        reply_bulk(call->reply, call->argv[i]);
        reply_int(call->reply,
                  (int64_t)directory_subscribers(call->broker->directory, kind, call->argv[i]));
    }
}

void cmd_pubsub_channels(struct call *call)
{
    list_names(call, TOPIC_CHANNEL);
}

void cmd_pubsub_shardchannels(struct call *call)
{
    list_names(call, TOPIC_SHARD);
}

void cmd_pubsub_numsub(struct call *call)
{
    count_subscribers(call, TOPIC_CHANNEL);
}

void cmd_pubsub_shardnumsub(struct call *call)
{
    count_subscribers(call, TOPIC_SHARD);
}

void cmd_pubsub_numpat(struct call *call)
{
    reply_int(call->reply, (int64_t)directory_count(call->broker->directory, TOPIC_PATTERN));
}
