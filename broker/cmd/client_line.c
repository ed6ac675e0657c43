/* client_line: field by field, in Redis's order. */
#include "cmd/client_line.h"

#include "cmd/command.h"
#include "session/address.h"
#include "session/transaction.h"
#include "session/users.h"

bool client_type_parse(struct slice word, enum client_type *out)
{
    static const struct {
        struct slice word;
        enum client_type type;
    } types[] = {
        {{"normal", 6}, CLIENT_TYPE_NORMAL},   {{"master", 6}, CLIENT_TYPE_MASTER},
        {{"replica", 7}, CLIENT_TYPE_REPLICA}, {{"slave", 5}, CLIENT_TYPE_REPLICA},
        {{"pubsub", 6}, CLIENT_TYPE_PUBSUB},
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (slice_equal_nocase(word, types[i].word)) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

enum client_type client_type_of(const struct session *session)
{
    return subscriber_total(&session->subscriber) > 0 ? CLIENT_TYPE_PUBSUB : CLIENT_TYPE_NORMAL;
}

static void append_flags(struct buf *out, const struct session *session)
{
    const struct {
        char letter;
        bool applies;
    } flags[] = {
        {'P', subscriber_total(&session->subscriber) > 0},
        {'x', session->flags & (SESSION_MULTI | SESSION_EXECUTING)},
        {'b', session->bar == BAR_PAUSE || session_is_blocked(session)},
        {'c', session->flags & SESSION_LEAVING},
        {'r', session->flags & SESSION_READONLY},
        {'U', session->flags & SESSION_UNIX},
        {'e', session->flags & SESSION_NO_EVICT},
        {'T', session->flags & SESSION_NO_TOUCH},
    };
    size_t before = out->len;
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (flags[i].applies) { buf_append(out, slice_of(&flags[i].letter, 1)); }
    }
    if (out->len == before) { buf_append(out, SLICE("N")); }
}

static void append_who(struct buf *out, const struct session *session)
{
    char address[SESSION_ADDRESS_BYTES];
    uint32_t now_s = sessions_of(session)->now_s;
    buf_appendf(out, "id=%llu addr=", (unsigned long long)session->id);
    buf_append(out, session_address(session, address));
    buf_append(out, SLICE(" laddr="));
    buf_append(out, session_local_address(session, address));
    buf_appendf(out, " fd=%d name=%s age=%u idle=%u flags=", session->conn.fd,
                session_name(session), now_s - session->created_s, now_s - session->active_s);
    append_flags(out, session);
}

static void append_state(struct buf *out, const struct session *session)
{
    const struct subscriber *subscriber = &session->subscriber;
    const struct transaction *transaction = transaction_of(session);
    buf_appendf(out, " db=%u sub=%u psub=%u ssub=%u multi=%d", session->database,
                subscriber->count[TOPIC_CHANNEL], subscriber->count[TOPIC_PATTERN],
                subscriber->count[TOPIC_SHARD], transaction != NULL ? (int)transaction->count : -1);
}

/* The request at hand counts as unread input: it has not been answered. */
static void append_buffers(struct buf *out, const struct session *session)
{
    static const struct outbuf nothing;
    const struct conn *conn = &session->conn;
    const struct outbuf *queue = conn->out != NULL ? conn->out : &nothing;
    size_t own_bytes = queue->own.len - queue->own_sent;
    size_t shared_bytes = queue->bytes > own_bytes ? queue->bytes - own_bytes : 0;
    size_t input_bytes =
        conn->in.len > session->request_bytes ? conn->in.len : session->request_bytes;
    size_t total = sizeof *session + (session->extra != NULL ? sizeof *session->extra : 0) +
                   conn->in.cap + queue->own.cap + shared_bytes + transaction_bytes(session) +
                   subscriber_bytes(&session->subscriber);
    buf_appendf(out,
                " qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=%zu rbs=%zu rbp=0 obl=%zu oll=%u "
                "omem=%zu tot-mem=%zu",
                input_bytes, conn->in.cap - conn->in.len, transaction_bytes(session),
                queue->own.cap, own_bytes, queue->seg_end - queue->seg_first, shared_bytes, total);
}

void client_line_append(struct buf *out, const struct session *session)
{
    const struct session_extra *extra = session->extra;
    const char *lib_name = extra != NULL && extra->lib_name != NULL ? extra->lib_name : "";
    const char *lib_version = extra != NULL && extra->lib_version != NULL ? extra->lib_version : "";
    struct slice user = acl_user_name(session_user(session));
    append_who(out, session);
    append_state(out, session);
    append_buffers(out, session);
    buf_appendf(
        out, " events=%s%s cmd=%s user=%.*s redir=-1 resp=%u lib-name=%s lib-ver=%s watch=%u\n",
        session->conn.is_paused ? "" : "r", session->conn.write_event != NULL ? "w" : "",
        session->command == SESSION_NO_COMMAND ? "NULL" : command_full_names[session->command],
        SLICE_ARG(user), session->subscriber.resp_version, lib_name, lib_version,
        extra != NULL ? extra->watch_count : 0);
}
