/* bell: another thread ends a libuv loop's poll. uv_async_t does the same, but its loop spins while a sender is between its
 * two steps, which is long where a processor is short and the sender had to give it up.
 * Thread: the loop's, but bell_ring. */
#ifndef FANFARE_CONSENSUS_DISK_BELL_H
#define FANFARE_CONSENSUS_DISK_BELL_H

#include <uv.h>

struct bell {
    uv_poll_t poll;
    int fd;
    void (*on_ring)(void *arg);
    void *arg;
};

/* on_ring is called once for all rings since the last call. It keeps the loop alive, but while it is unref'ed. */
void bell_init(struct bell *bell, uv_loop_t *loop, void (*on_ring)(void *arg), void *arg);
void bell_ref(struct bell *bell);
void bell_unref(struct bell *bell);
/* What was written before is seen by on_ring. Thread: any. */
void bell_ring(struct bell *bell);
/* The loop has to run once more. */
void bell_close(struct bell *bell);
/* After that, and when nobody rings any more. */
void bell_fini(struct bell *bell);

#endif
