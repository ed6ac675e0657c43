/* link_int: the link's state as its files share it.
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_LINK_INT_H
#define FANFARE_CONSENSUS_LINK_INT_H

#include "base/buf.h"
#include "base/list.h"
#include "consensus/link/link.h"

enum { LINK_HEADER_BYTES = 4, LINK_READ_BYTES = 256 << 10 };

struct link {
    struct link_opts opts;
    uv_tcp_t listener;
    uv_timer_t timer;
    uv_timer_t hello_timer; /* runs while somebody has not said who it is */
    struct list peers;      /* link_peers.c's, and the next */
    size_t peer_count;
    struct list incoming;  /* link_incoming.c's, and the next two */
    size_t incoming_count; /* those that are being closed not counted */
    size_t stranger_count;
    size_t handle_count; /* that libuv has not closed, and requests that it has not answered */
    bool is_closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
    uint64_t dropped_count;
    uint64_t refused_told_ms;
    struct buf wire; /* scratch: sealed bytes, read and to be opened, or to be written */
    struct buf sealed;
    uv_timer_t shake_timer;     /* runs while handshakes wait for their turn */
    uint64_t shake_turn;        /* the one whose time is counted, */
    uint64_t shaken_ns;         /* and what strangers' handshakes have taken of it */
    uv_timer_t renew_timer;     /* runs where certificates are shown */
    uint64_t renew_number;      /* the set of files by which connections are renewed, */
    uint32_t renew_turns;       /* and for how long */
    uint64_t gauge_connections; /* what this link has put into the gauges so far */
    uint64_t gauge_queued_bytes;
};

uint64_t link_now_ms(const struct link *link);
/* May the log be told once more what it was told at *told_ms (0: never)? */
bool link_may_tell(const struct link *link, uint64_t *told_ms);
/* A handle of the link was closed: free it if it was the last. */
void link_maybe_free(struct link *link);
/* Bytes came from that node. */
void link_heard(struct link *link, const char *name);

/* Outgoing connections: ping, give up those that are silent; close all; free what is known of the peers. */
void link_watch_outgoing(struct link *link);
void link_close_outgoing(struct link *link);
void link_free_outgoing(struct link *link);

/* Dial some of those anew that were made by other files than hold now. */
void link_on_renew_timer(uv_timer_t *timer);

/* The listener's callback. */
void link_on_connection(uv_stream_t *listener, int status);
/* Close the incoming connections that are silent; that are late to say who they are; all. */
void link_watch_incoming(struct link *link);
void link_on_hello_timer(uv_timer_t *timer);
void link_close_incoming(struct link *link);
/* Go on with the handshakes that wait. */
void link_on_shake_timer(uv_timer_t *timer);

#endif
