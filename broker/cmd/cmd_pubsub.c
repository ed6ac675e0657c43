/* cmd_pubsub: publish, and what is known about who has subscribed. */
#include "base/glob.h"
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
