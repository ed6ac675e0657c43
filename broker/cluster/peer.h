/* peer: the connections of the peer link: dialled ones (peer_out) and accepted ones (peer_in). Knows frames,
 * hellos, silence and which frames a kind of connection may carry; not what they mean.
 * Thread: each belongs to one worker, and a hub holds all of one worker's; every call is that worker's but
 * where stated; no locks. Callbacks come from the loop, never from inside a call of this header. */
#ifndef FANFARE_CLUSTER_PEER_H
#define FANFARE_CLUSTER_PEER_H

#include "base/block.h"
#include "cluster/wire.h"
#include "net/resolve.h"
#include "net/worker.h"

enum {
    PEER_PING_MS = 100, /* a link with nothing else to say says so, every second one of these */
    PEER_HELLO_MS_MAX = 2000, /* an accepted connection says who it is, or is closed */
    PEER_HELLO_BYTES_MAX = 1024,
    PEER_STRANGERS_MAX = 256,   /* accepted and without a hello yet; then the oldest one goes */
    PEER_COPY_BYTES_MAX = 1024, /* a body up to this is copied, a larger one referenced */
    PEER_BACKOFF_MS_MIN = 10,
    PEER_BACKOFF_MS_MAX = 1000,
    PEER_HOST_BYTES = 256,
};

/* ---- all of one worker ---- */

struct peer_hub;
struct peer_in;
struct trust;

struct peer_in_ops {
    /* The first frame; its version is ours. Returns the caller's object for this connection, or NULL to refuse
     * (*why, static, is logged). */
    void *(*on_hello)(void *arg, struct peer_in *in, const struct wire_hello *hello,
                      const char **why);
    /* Every further frame but pings, of those that this kind of connection may carry. False: garbage, close. */
    bool (*on_frame)(void *object, const struct wire_frame *frame);
    /* Gone. is_clean: the stream ended by FIN at a frame's boundary, after everything in it was given to
     * on_frame. Not called for a refused one. */
    void (*on_closed)(void *object, bool is_clean);
    /* After the frames of one read have been given, also if the last of them was garbage: to do what they have
     * gathered. May be NULL. */
    void (*on_batch_end)(void *object);
};

struct peer_hub_opts {
    struct worker *worker;
    struct resolver *resolver;
    const struct peer_in_ops *in_ops;
    void *arg; /* on_hello's */
    /* A connection that brings nothing for so long, or a lane that takes nothing, is dead; time in which this worker's
     * own loop did not turn counts for next to nothing. */
    uint32_t silence_ms_max;
    uint32_t dial_ms_max; /* to connect */
    struct trust *
        trust; /* NULL: nobody has to prove anything; else both ends do so before the hello, as it says */
};

/* Thread: of new and free, any, while the worker does not run. */
MUST_USE struct peer_hub *peer_hub_new(const struct peer_hub_opts *opts);
/* No connection is left. NULL is allowed. */
void peer_hub_free(struct peer_hub *hub);

/* Close every accepted connection, as peer_in_close does. */
void peer_hub_close_accepted(struct peer_hub *hub, bool is_abrupt);

/* Connections that still exist, also dialled ones that are free but not yet done. */
uint32_t peer_hub_count(const struct peer_hub *hub);

/* ---- dialled ---- */

struct peer_out;

struct peer_out_opts {
    struct peer_hub *hub;
    struct wire_hello hello; /* sent first on every connection */
    /* A name or an address in digits, shorter than PEER_HOST_BYTES, copied; looked up before each
     * connect, on another thread. */
    const char *host;
    uint16_t port;
    const char *
        node_name; /* who is to answer there, as far as certificates are shown; shorter than PEER_HOST_BYTES, copied */
    /* Connected, and the hello is queued: what is sent from now on goes out behind it. */
    void (*on_up)(void *arg);
    /* The connection is gone, or has never come up (only the first of several failed dials in a row is told);
     * it will be dialled again, with back-off (10 ms to 1 s, with jitter). Whatever was queued and not taken
     * by the socket is dropped; `unsent_from`: the offset (see peer_out_sent) from which bytes were. */
    void (*on_down)(void *arg, uint64_t unsent_from);
    /* A frame has come back (REQUEST only; on a LANE it is a protocol error). False: garbage, close. */
    bool (*on_frame)(void *arg, const struct wire_frame *frame);
    void *arg;
};

/* Gives: one that dials at once. */
MUST_USE struct peer_out *peer_out_new(const struct peer_out_opts *opts);
/* Close: with `is_abrupt` by RST, else by FIN after what is queued has left (by RST if the socket takes
 * nothing for silence_ms_max). No callback afterwards. Also from a callback. */
void peer_out_free(struct peer_out *out, bool is_abrupt);

/* From on_up to on_down. */
bool peer_out_is_up(const struct peer_out *out);

/* Queue bytes of one whole frame: `head`, then `body` (may be NULL). Written at peer_out_flush, at the latest
 * by the end of the turn. Only while up. What is queued is the caller's to bound. */
void peer_out_send(struct peer_out *out, struct slice head, const struct span *body);
void peer_out_flush(struct peer_out *out);

/* Offsets in the stream of all bytes ever queued on this peer_out, across connections, hellos and pings
 * included: so many were queued, so many of them taken by a socket or dropped at a loss of the connection. */
uint64_t peer_out_queued(const struct peer_out *out);
uint64_t peer_out_sent(const struct peer_out *out);

/* ---- accepted ---- */

/* Takes: fd, a connected non-blocking TCP socket. Silence longer than silence_ms_max, a hello that does not come
 * in time, another version, garbage: closed (not clean), logged. */
void peer_in_open(struct peer_hub *hub, int fd);

void peer_in_send(struct peer_in *in, struct slice frame); /* queue an answer (REQUEST) */
void peer_in_send_span(struct peer_in *in,
                       const struct span *frame); /* the same, takes a reference */

/* What is queued and not taken by the socket. */
size_t peer_in_backlog(const struct peer_in *in);

/* Is it that node, as far as certificates are shown? Logged if it is not. */
bool peer_in_is_of(struct peer_in *in, const char *node_name);

/* Stop and go on reading: backpressure. Silence is not counted meanwhile, and nor is the connection's end seen.
 * On a LANE for less than silence_ms_max. */
void peer_in_pause(struct peer_in *in);
void peer_in_resume(struct peer_in *in);

/* By RST, or after what is queued has left (as peer_out_free). on_closed follows, not clean. */
void peer_in_close(struct peer_in *in, bool is_abrupt);

#endif
