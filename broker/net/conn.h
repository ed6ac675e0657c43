/* conn: one client socket: read, write, backpressure, close. Knows no protocol.
 * Owns: the descriptor, the unread input, the outbuf. Thread: its worker, for every call; no locks.
 * The struct is visible so that a session can embed it: one allocation per connection.
 * Life: conn_open -> (on_data | on_drained)* -> on_close, exactly once, from the loop and never
 * from inside another call of this header; after on_close has returned the conn is not touched
 * again. */
#ifndef FANFARE_NET_CONN_H
#define FANFARE_NET_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/slice.h"
#include "net/outbuf.h"
#include "net/tls.h"
#include "net/worker.h"

struct conn;

enum conn_state { CONN_OPEN, CONN_FLUSHING, CONN_CLOSING, CONN_STATES };

/* Seam: implemented above (session/input.c, cluster/peer.c). */
struct conn_ops {
    /* `input` is everything not yet consumed. Returns how many bytes from its start are done with;
     * the rest comes again with what arrives next, or at conn_resume. The slice is valid for the
     * call only. */
    size_t (*on_data)(struct conn *conn, struct slice input);
    /* The last reference and the descriptor are about to go; free what embeds the conn. */
    void (*on_close)(struct conn *conn);
    /* The peer sends no more, and on_data has had all of it. It may still read: close when what is
     * under way is answered. NULL: closed at once. */
    void (*on_end)(struct conn *conn);
    /* The same, seen while paused: what came before the end may be unread. Told again at each look.
     * NULL: found when it is resumed. */
    void (*on_end_ahead)(struct conn *conn);
    /* The first byte that has come on a connection which was opened without TLS, before it is read: the time to call
     * conn_start_tls. NULL: not asked. */
    void (*on_first_byte)(struct conn *conn, unsigned char first);
};

struct conn {
    struct worker *worker;
    const struct conn_ops *ops;
    struct event read_event;
    struct event *write_event; /* only while the socket does not take what is queued */
    struct buf in;             /* input kept between reads */
    struct outbuf *out;        /* NULL while nothing is queued and no reply is being written */
    struct tls *tls;           /* NULL: what goes over the wire is what it means */
    union {
        size_t in_expected; /* size `in` for this many bytes: a hint by on_data */
        size_t lost_bytes;  /* in on_close: conn_unsent_bytes */
    };
    int fd;
    uint32_t dirty_at; /* place in the worker's dirty array plus one; 0: not in it */
    uint32_t
        waiting_at; /* likewise in its array of resumed ones, whose kept input is presented again at the
                            end of this turn's events; if is_stalled in that of stalled ones */
    uint8_t state;       /* enum conn_state */
    bool is_paused : 1;  /* not read until conn_resume */
    bool is_stalled : 1; /* paused, and the socket has something to be read */
    bool has_ended : 1;  /* the peer has sent its FIN, after all of its input */
    bool is_unheard : 1; /* not a byte has come, and the first one is to be told */
    uint8_t error;       /* closed because of this errno; 0: not because of one */
};

/* Takes: fd, a connected non-blocking stream socket; tls, if it is encrypted, else NULL. Reading begins with the next loop turn. */
void conn_open(struct conn *conn, struct worker *worker, int fd, const struct conn_ops *ops,
               struct tls *tls);

/* From on_first_byte, with nothing queued yet: what comes and goes is sealed from here on. Takes: tls. */
void conn_start_tls(struct conn *conn, struct tls *tls);

/* Write replies between begin and end; they leave at conn_flush, in order with everything else
 * queued. */
struct buf *conn_reply_begin(struct conn *conn);
void conn_reply_end(struct conn *conn);

/* Offer bytes that many connections share straight to the socket, in one send of at most
 * CONN_IOV_MAX parts. Returns how many bytes it took: 0 if something is queued already or the
 * socket is full or closing. The caller queues the rest with conn_queue. */
enum { CONN_IOV_MAX = 64 };
size_t conn_send_now(struct conn *conn, const struct iovec *iov, unsigned count, size_t bytes);

/* Queue spans but for their first `skip` bytes, taking references. For what conn_send_now left. */
void conn_queue(struct conn *conn, const struct span *span, unsigned count, size_t skip);

/* Bytes queued and not taken by the socket. */
static inline size_t conn_backlog_bytes(const struct conn *conn)
{
    size_t sealed = UNLIKELY(conn->tls != NULL) ? tls_unsent_bytes(conn->tls) : 0;
    return sealed + (conn->out != NULL ? conn->out->bytes : 0);
}

/* The same, without what TLS adds: so many bytes of what was to be sent may not have left. */
static inline size_t conn_unsent_bytes(const struct conn *conn)
{
    size_t sealed = UNLIKELY(conn->tls != NULL) ? tls_unsent_plain_bytes(conn->tls) : 0;
    return sealed + (conn->out != NULL ? conn->out->bytes : 0);
}

/* Write what is queued, as far as the socket takes it. Also done for every conn with queued bytes
 * by worker_flush_replies. */
void conn_flush(struct conn *conn);
void worker_flush_replies(struct worker *worker);

/* Stop and restart presenting input. Kept input is presented again within the same turn's end. A pause
 * costs nothing until something comes to be read; then the socket is looked at every 100 ms, for its end
 * (on_end_ahead) and no more. */
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);

/* A request of this many bytes is on its way: read into a buffer of that size. */
void conn_expect(struct conn *conn, size_t bytes);

/* Close soon: no more on_data. on_close comes at the end of the turn. Idempotent. */
void conn_close(struct conn *conn);

/* The same, and what the kernel has not sent yet is dropped: the peer sees a reset, not the stream's end. */
void conn_reset(struct conn *conn);

/* Does the socket hold input, its end or an error that on_data has not seen yet? Asks the kernel. */
bool conn_has_unread(const struct conn *conn);

/* Has the peer closed, or sent its end, whatever is unread before it? Asks the kernel. */
bool conn_peer_has_left(const struct conn *conn);

/* Close once everything queued has left (Redis: close after reply). No more on_data. */
void conn_close_after_flush(struct conn *conn);

static inline bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN;
}

/* Open, or closing once everything queued has left. */
static inline bool conn_is_alive(const struct conn *conn)
{
    return conn->state != CONN_CLOSING;
}

#endif
