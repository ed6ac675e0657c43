/* loop: the libuv loop of the raft thread, and the order in which a turn does things. */
#ifndef FANFARE_CONSENSUS_LOOP_H
#define FANFARE_CONSENSUS_LOOP_H

#include <stdatomic.h>
#include <uv.h>

#include "base/mailbox.h"
#include "base/thread.h"
#include "consensus/disk/bell.h"
#include "consensus/disk/disk_uv.h"
#include "consensus/engine.h"
#include "consensus/link/link.h"

struct loop {
    uv_loop_t uv;
    struct bell wake;
    uv_timer_t timer;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    struct mailbox mailbox;
    struct thread thread;
    struct disk_uv disk;
    struct link *link;
    struct engine *engine;
    uint64_t timer_due_ms; /* while the timer is active */
    bool is_stopping;
    bool is_closed;
    uint64_t polled_ns;                   /* what the poll brought was handled then */
    uint64_t polled_ms;                   /* and that took so long */
    uint64_t sampled_ns;                  /* the thread's processor time was looked at then, */
    uint64_t sampled_cpu_ns;              /* and was so much */
    atomic_uint_fast64_t slow_turn_count; /* worked for over 5 ms */
    atomic_uint_fast64_t late_turn_count; /* ended over 5 ms after the poll */
    atomic_uint_fast64_t longest_turn_us; /* worked */
};

/* Make the loop and its disk; engine and link are the caller's to set before loop_start. On an
 * error loop_fini is due.
 * Errors: ERR_SYSTEM. */
MUST_USE enum err loop_init(struct loop *loop, const char *dir);
void loop_start(struct loop *loop);
/* End the groups, close the link, flush, free the engine, close all handles; wait for the thread.
 * */
void loop_stop(struct loop *loop);
void loop_fini(struct loop *loop); /* never started, or stopped */

#endif
