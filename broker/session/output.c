/* output: answers and deliveries to the connection, and what is postponed between them. */
#include "session/output.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "pubsub/msg.h"
#include "session/backlog.h"
#include "session/bar.h"

enum {
    SWAP_BYTES = 16 << 10, /* an answer of this size changes buffers rather than being copied */
    REPLY_KEEP_BYTES = 64 << 10,
};

static bool is_over_watch(const struct session *session)
{
    return UNLIKELY(session_backlog_bytes(session) > sessions_of(session)->limits.lag_bytes);
}

/* By exchange of buffers if it is long. */
void session_send(struct session *session, struct buf *reply)
{
    if (!conn_is_open(&session->conn)) {
        reply->len = 0;
        return;
    }
    struct buf *own = conn_reply_begin(&session->conn);
    if (reply->len >= SWAP_BYTES && own->len == 0) {
        struct buf empty = *own;
        *own = *reply;
        *reply = empty;
    } else {
        buf_append(own, buf_slice(reply));
    }
    conn_reply_end(&session->conn);
    reply->len = 0;
    if (is_over_watch(session)) { backlog_grew(session); }
}

void session_answer(struct session *session, struct buf *reply, bool pushes)
{
    bool is_silent = session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIPPING) && !pushes;
    if (is_silent) {
        reply->len = 0;
    } else if (reply->len > 0) {
        session_send(session, reply);
    }
    if (reply->cap > REPLY_KEEP_BYTES) { buf_fini(reply); }
    session_try_to_leave(session);
}

void session_postpone(struct session *session)
{
    session_extra(session);
    session->flags |= SESSION_POSTPONES;
}

void session_deliver_postponed(struct session *session)
{
    if (LIKELY(!(session->flags & SESSION_POSTPONES))) { return; }
    struct buf postponed = session->extra->postponed;
    session->extra->postponed = (struct buf){0};
    session->flags &= ~(uint32_t)SESSION_POSTPONES;
    metric_sub(METRIC_backlog_bytes, postponed.len);
    session_answer(session, &postponed, true);
    buf_fini(&postponed);
}

/* The number in a line such as "$12\r\n"; *at is moved behind it. */
static size_t take_number(const char **at)
{
    size_t number = 0;
    for ((*at)++; **at != '\r'; (*at)++) {
        number = number * 10 + (size_t)(**at - '0');
    }
    *at += 2;
    return number;
}

/* The length of a message as the fan-out writes it: an array of strings. */
static size_t frame_bytes(const char *frame)
{
    const char *at = frame;
    for (size_t left = take_number(&at); left > 0; left--) {
        size_t len = take_number(&at);
        at += len + 2;
    }
    return (size_t)(at - frame);
}

void session_forget_postponed(struct session *session, size_t postponed_before,
                              enum topic_kind kind, struct slice name)
{
    struct buf *postponed = &session->extra->postponed;
    if (postponed->len == postponed_before) { return; }
    size_t prefix_bytes = msg_prefix_bytes(kind, name);
    char *prefix = mem_new(prefix_bytes);
    CHECK(msg_write_prefix(prefix, kind, name) == prefix + prefix_bytes);
    size_t kept = postponed_before;
    for (size_t at = postponed_before; at < postponed->len;) {
        size_t len = frame_bytes(postponed->data + at);
        bool is_of_it = len > prefix_bytes &&
                        memcmp(postponed->data + at + 1, prefix + 1, prefix_bytes - 1) == 0;
        if (!is_of_it) {
            memmove(postponed->data + kept, postponed->data + at, len);
            kept += len;
        }
        at += len;
    }
    metric_sub(METRIC_backlog_bytes, postponed->len - kept);
    postponed->len = kept;
    mem_free(prefix);
}

/* Keep the batch for behind the answer, which holds the confirmation. */
static void postpone(struct session *session, const struct batch *batch)
{
    for (unsigned i = 0; i < batch->iov_count; i++) {
        buf_append(&session->extra->postponed,
                   slice_of(batch->iov[i].iov_base, batch->iov[i].iov_len));
    }
    metric_add(METRIC_backlog_bytes, batch->bytes);
    if (is_over_watch(session)) { backlog_grew(session); }
}

void session_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct session *session = CONTAINER_OF(subscriber, struct session, subscriber);
    struct conn *conn = &session->conn;
    if (!conn_is_open(conn)) { return; }
    session->active_s = sessions_of(session)->now_s;
    metric_add(METRIC_deliveries_total, batch->messages);
    metric_add(METRIC_delivery_bytes_total, batch->bytes);
    if (UNLIKELY(session->flags & SESSION_POSTPONES)) {
        postpone(session, batch);
        return;
    }
    size_t sent = conn_send_now(conn, batch->iov, batch->iov_count, batch->bytes);
    if (LIKELY(sent == batch->bytes)) { return; }
    unsigned count;
    const struct span *span = batch_keep(batch, &count);
    conn_queue(conn, span, count, sent);
    if (is_over_watch(session)) { backlog_grew(session); }
}
