/* worker_int: what worker.c and conn.c share. */
#ifndef FANFARE_NET_WORKER_INT_H
#define FANFARE_NET_WORKER_INT_H

#include <event2/event.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "net/conn.h"
#include "net/worker.h"

enum {
    WORKER_READ_BYTES = 65536, /* one read of one connection in a turn */
    WORKER_TICK_MS = 100,
};

/* Connections in some order; a slot whose connection left early is NULL. */
struct conn_array {
    struct conn **conn;
    uint32_t count;
    uint32_t cap;
};

struct worker {
    struct worker_opts opts;
    struct thread thread;
    struct event_base *base;
    struct mailbox mailbox;
    struct event *wake_event;
    struct event *tick_event;
    int wake_fd;
    atomic_bool is_stopping;
    atomic_uint_fast64_t heartbeat_ns;
    uint64_t now_ns; /* when the turn's work began */
    bool is_at_work;
    struct conn_array dirty; /* something queued since its last flush */
    struct conn_array resumed;
    struct conn_array closing;
    struct conn_array stalled; /* paused, with something to read; without gaps */
    uint32_t stalled_look_at;  /* the next one to look at */
    struct outbuf_pool outbufs;
    struct tls_worker *tls; /* NULL: none of its connections was ever encrypted */
    char read_buffer[WORKER_READ_BYTES];
};

/* The first event of a turn, or there is none: its work begins. Every event's callback calls it first. */
static inline void worker_begins(struct worker *worker)
{
    if (worker->is_at_work) { return; }
    worker->is_at_work = true;
    worker->now_ns = clock_mono_ns();
    atomic_store_explicit(&worker->heartbeat_ns, worker->now_ns, memory_order_relaxed);
}

uint32_t conn_array_push(struct conn_array *array, struct conn *conn);

/* conn.c: present kept input of resumed connections; end those that are closing, and those whose handshake takes
 * too long; look whether peers of stalled ones have gone. */
void conn_present_resumed(struct worker *worker);
void conn_look_at_stalled(struct worker *worker);
void conn_end_closing(struct worker *worker);
void conn_end_slow_handshakes(struct worker *worker);

#endif
