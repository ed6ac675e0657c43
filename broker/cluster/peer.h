/* peer: the connections of the peer link: dialled ones (peer_out) and accepted ones (peer_in). Knows frames,
 * hellos, silence and bounds; not what the frames mean.
 * Thread: each is one worker's, for every call; no locks. */
#ifndef FANFARE_CLUSTER_PEER_H
#define FANFARE_CLUSTER_PEER_H

#include "base/block.h"
#include "cluster/wire.h"
#include "net/worker.h"

/* ---- dialled ---- */

struct peer_out;

struct peer_out_opts {
    struct worker *worker;
    struct wire_hello hello; /* sent first on every connection */
    const char *host;        /* resolved at each connect, on another thread; borrowed for the call */
    uint16_t port;
    uint32_t silence_ms_max;
    struct wire_decoder *decoder;
    /* Connected, and the hello is on its way: what is sent from now on goes out. */
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
/* Close: with `is_abrupt` by RST, else after what is queued has left, and FIN. No callback afterwards. */
void peer_out_free(struct peer_out *out, bool is_abrupt);

bool peer_out_is_up(const struct peer_out *out);

/* Queue bytes of one whole frame: `head`, then `body` (may be NULL; small ones are copied, large ones
 * referenced). Written at peer_out_flush, at the latest by the end of the turn. Only while up. */
void peer_out_send(struct peer_out *out, struct slice head, const struct span *body);
void peer_out_flush(struct peer_out *out);

/* Offsets in the stream of all bytes ever queued on this peer_out, across connections: so many were queued, so
 * many of them taken by a socket or dropped at a loss of the connection. */
uint64_t peer_out_queued(const struct peer_out *out);
uint64_t peer_out_sent(const struct peer_out *out);

/* ---- accepted ---- */

struct peer_in;

struct peer_in_ops {
    /* The first frame. Returns the caller's object for this connection, or NULL to refuse (*why is logged). */
    void *(*on_hello)(void *arg, struct peer_in *in, const struct wire_hello *hello, const char **why);
    /* Every further frame but pings. False: garbage, close. */
    bool (*on_frame)(void *object, const struct wire_frame *frame);
    /* Gone. is_clean: the stream ended by FIN at a frame's boundary, after everything in it was given to
     * on_frame. Not called for a refused one. */
    void (*on_closed)(void *object, bool is_clean);
    /* After the frames of one read have been given: to send what they have gathered. May be NULL. */
    void (*on_batch_end)(void *object);
};

/* Takes: fd, a connected non-blocking socket. Silence longer than silence_ms_max, a hello that does not come
 * in 5 s, garbage: closed (not clean), logged. */
void peer_in_open(struct worker *worker, int fd, struct wire_decoder *decoder,
                  const struct peer_in_ops *ops, void *arg, uint32_t silence_ms_max);

void peer_in_send(struct peer_in *in, struct slice frame); /* queue an answer (REQUEST) */
size_t peer_in_backlog_bytes(const struct peer_in *in);
void peer_in_pause(struct peer_in *in); /* stop reading: backpressure; pings still count as life */
void peer_in_resume(struct peer_in *in);
void peer_in_close(struct peer_in *in, bool is_abrupt); /* on_closed follows, not clean */

#endif
