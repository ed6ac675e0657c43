/* cmd_pubsub: publish, and what is known about who has subscribed. */
#include "base/glob.h"
#include "base/mem.h"
#include "cluster/cluster.h"
#include "cmd/caller.h"

/* ---- PUBLISH, SPUBLISH ---- */

/* The answer comes with the fan-out's commit (session_published). Inside EXEC there is one also for a client that wants
 * none, because the answers there are counted. */
static void publish(struct call *call, enum topic_kind kind)
{
    struct session *session = call->caller->session;
    if (UNLIKELY(call->argv[1].len + call->argv[2].len > CLUSTER_MESSAGE_BYTES_MAX) &&
        call->caller->broker->cluster != NULL) {
        reply_error(call->reply, "ERR a message in a cluster is at most 512 MB long");
        return;
    }
    bool is_silent = session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIPPING) &&
                     !(session->flags & SESSION_EXECUTING);
    session->flags |= SESSION_PUBLISHED | SESSION_LOADS;
    struct fanout *fanout = call->caller->service->fanout;
    if (is_silent) {
        fanout_publish_silent(fanout, kind, call->argv[1], call->argv[2], session);
    } else {
        fanout_publish(fanout, kind, call->argv[1], call->argv[2], session);
    }
}

void cmd_publish(struct call *call)
{
    publish(call, TOPIC_CHANNEL);
}

void cmd_spublish(struct call *call)
{
    publish(call, TOPIC_SHARD);
}

/* ---- PUBSUB, alone ---- */

/* Names that match, encoded while the directory is locked, counted for the head that goes before
 * them. */
struct listing {
    struct glob pattern; /* data NULL: all */
    struct buf names;
    size_t count;
};

static void list_name(void *arg, struct slice name)
{
    struct listing *listing = arg;
    if (listing->pattern.pattern.data != NULL && !glob_matches(&listing->pattern, name)) { return; }
    struct reply reply = {.out = &listing->names, .version = 2};
    reply_bulk(&reply, name);
    listing->count++;
}

static void list_own_names(struct call *call, enum topic_kind kind)
{
    struct listing listing = {0};
    if (call->argc == 3) { glob_init(&listing.pattern, call->argv[2]); }
    directory_each(call->caller->broker->directory, kind, list_name, &listing);
    glob_fini(&listing.pattern);
    reply_array(call->reply, listing.count);
    buf_append(call->reply->out, buf_slice(&listing.names));
    buf_fini(&listing.names);
}

static void count_own_subscribers(struct call *call, enum topic_kind kind)
{
    reply_array(call->reply, 2 * ((size_t)call->argc - 2));
    for (uint32_t i = 2; i < call->argc; i++) {
        reply_bulk(call->reply, call->argv[i]);
        reply_int(call->reply, (int64_t)directory_subscribers(call->caller->broker->directory, kind,
                                                              call->argv[i]));
    }
}

/* ---- PUBSUB, in a cluster: the owners know ---- */

struct inquiry {
    struct cluster_ask asked;
    struct session *session; /* NULL: it has gone away */
    bool is_answered;
    struct buf text; /* the bytes of what is asked for */
    struct slice *name;
    uint64_t *count;
};

static void inquiry_free(struct inquiry *inquiry)
{
    buf_fini(&inquiry->asked.names);
    buf_fini(&inquiry->text);
    mem_free(inquiry->name);
    mem_free(inquiry->count);
    mem_free(inquiry);
}

static void on_answered(struct cluster_ask *asked)
{
    struct inquiry *inquiry = CONTAINER_OF(asked, struct inquiry, asked);
    inquiry->is_answered = true;
    if (inquiry->session != NULL) {
        wait_over(inquiry->session);
    } else {
        inquiry_free(inquiry);
    }
}

/* Until the answer comes it belongs to the cluster; then it goes. */
static void forget_session(void *arg)
{
    struct inquiry *inquiry = arg;
    if (inquiry->is_answered) {
        inquiry_free(inquiry);
    } else {
        inquiry->session = NULL;
    }
}

static void write_names(struct call *call, struct inquiry *inquiry)
{
    const struct cluster_ask *asked = &inquiry->asked;
    const char *at = asked->names.data;
    reply_array(call->reply, asked->names_found);
    for (uint64_t i = 0; i < asked->names_found; i++) {
        uint32_t len;
        memcpy(&len, at, sizeof len);
        reply_bulk(call->reply, slice_of(at + sizeof len, len));
        at += sizeof len + len;
    }
}

static void write_counts(struct call *call, struct inquiry *inquiry)
{
    const struct cluster_ask *asked = &inquiry->asked;
    reply_array(call->reply, 2 * (size_t)asked->name_count);
    for (uint32_t i = 0; i < asked->name_count; i++) {
        reply_bulk(call->reply, asked->name[i]);
        reply_int(call->reply, (int64_t)asked->count[i]);
    }
}

static void write_pattern_count(struct call *call)
{
    uint64_t count = directory_count(call->caller->broker->directory, TOPIC_PATTERN);
    reply_int(call->reply, (int64_t)count);
}

static void finish(void *arg, struct call *call)
{
    struct inquiry *inquiry = arg;
    if (inquiry->asked.err != ERR_OK) {
        reply_error(call->reply, err_wire(inquiry->asked.err));
    } else if (inquiry->asked.kind == TOPIC_PATTERN) {
        write_pattern_count(call);
    } else if (inquiry->asked.wants_names) {
        write_names(call, inquiry);
    } else {
        write_counts(call, inquiry);
    }
    inquiry_free(inquiry);
}

/* The arguments from the third on, kept: they outlive the call. */
static void keep_arguments(struct inquiry *inquiry, const struct call *call)
{
    uint32_t count = call->argc - 2;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += call->argv[i + 2].len;
    }
    buf_reserve(&inquiry->text, bytes + 1);
    inquiry->name = mem_new0((count + 1) * sizeof *inquiry->name);
    inquiry->count = mem_new0((count + 1) * sizeof *inquiry->count);
    for (uint32_t i = 0; i < count; i++) {
        inquiry->name[i] = slice_of(inquiry->text.data + inquiry->text.len, call->argv[i + 2].len);
        buf_append(&inquiry->text, call->argv[i + 2]);
    }
}

static void ask(struct call *call, enum topic_kind kind, bool wants_names)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget_session};
    struct inquiry *inquiry = mem_new0(sizeof *inquiry);
    inquiry->session = call->caller->session;
    keep_arguments(inquiry, call);
    struct cluster_ask *asked = &inquiry->asked;
    asked->kind = kind;
    asked->wants_names = wants_names;
    asked->on_done = on_answered;
    if (wants_names) {
        asked->has_pattern = call->argc == 3;
        asked->pattern = inquiry->name[0];
    } else {
        asked->name = inquiry->name;
        asked->name_count = call->argc - 2;
        asked->count = inquiry->count;
    }
    call_wait(call, &ops, inquiry);
    cluster_ask_owners(call->caller->broker->cluster, worker_index(call->caller->service->worker),
                       asked);
}

/* ---- PUBSUB ---- */

static void list_names(struct call *call, enum topic_kind kind)
{
    if (call->argc > 3) {
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command",
                     call->command->full_name);
    } else if (call->caller->broker->cluster != NULL) {
        ask(call, kind, true);
    } else {
        list_own_names(call, kind);
    }
}

/* One frame takes the question to each owner. */
static bool is_too_much_to_ask(const struct call *call)
{
    size_t bytes = 0;
    for (uint32_t i = 2; i < call->argc; i++) {
        bytes += call->argv[i].len;
    }
    return call->argc - 2 > CLUSTER_ASK_NAMES_MAX || bytes > CLUSTER_MESSAGE_BYTES_MAX;
}

static void count_subscribers(struct call *call, enum topic_kind kind)
{
    if (call->caller->broker->cluster != NULL && is_too_much_to_ask(call)) {
        reply_error(call->reply, "ERR too many names for one question to a cluster");
    } else if (call->caller->broker->cluster != NULL && call->argc > 2) {
        ask(call, kind, false);
    } else {
        count_own_subscribers(call, kind);
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

/* Every node knows every pattern; but only one that the owners answer knows that nothing has passed it by: it
 * asks them for the subscribers of no channel. */
void cmd_pubsub_numpat(struct call *call)
{
    if (call->caller->broker->cluster != NULL) {
        ask(call, TOPIC_PATTERN, false);
    } else {
        write_pattern_count(call);
    }
}
