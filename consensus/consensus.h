/* consensus: the raft thread of a broker: a loop with the node's groups, their log and their link.
 * Everything about groups (engine.h) is called on the raft thread: post a task that does it. */
#ifndef FANFARE_CONSENSUS_CONSENSUS_H
#define FANFARE_CONSENSUS_CONSENSUS_H

#include "consensus/engine.h"
#include "consensus/link/link.h"

struct consensus;

struct consensus_opts {
    struct engine_opts engine;
    const char *dir;
    uint64_t cluster_id;     /* 0: none yet, see consensus_set_cluster */
    const char *listen_host; /* NULL: a node alone: its groups have one member */
    uint16_t listen_port;
    size_t peer_bytes_max;
    uint32_t silence_ms_max;
    struct trust *trust; /* as link_opts.trust */
    bool (*address_of)(void *arg, const char *node_name, char host[LINK_HOST_BYTES],
                       uint16_t *port); /* NULL: of a node alone */
    /* A note came: what is not Raft's between two nodes. From a contact, who may be of any cluster: `shown_name` as that of
     * link_opts.on_frame. May be NULL: notes are dropped. Thread: the raft thread. */
    void (*on_note)(void *arg, const char *from_name, struct slice note);
    void (*on_contact_note)(void *arg, const char *shown_name, struct slice note);
    void *arg;
};

struct consensus_opts consensus_opts_default(void);

/* Read the log and start the thread; no group is open yet. Blocks while the log is read.
 * Borrows: the strings of opts.  Errors: ERR_CORRUPT, ERR_FULL, ERR_SYSTEM (all logged, report
 * tells more). */
MUST_USE enum err consensus_start(struct consensus **out, const struct consensus_opts *opts,
                                  struct wal_report *report);
/* The same in two steps: between them the caller may use what is of the raft thread. consensus_stop
 * is due only after consensus_run, consensus_abandon if it never ran. */
MUST_USE enum err consensus_open(struct consensus **out, const struct consensus_opts *opts,
                                 struct wal_report *report);
void consensus_run(struct consensus *c);
void consensus_abandon(struct consensus *c);

/* End all groups, flush what was put, join the thread, free. No task may be posted any more. Not on
 * the raft thread. */
void consensus_stop(struct consensus *c);

/* Run `task` on the raft thread, after those posted before by the caller: it calls engine_propose,
 * engine_read and so on with consensus_engine. A proposal and a read request embed a task for the
 * way. Thread: any. */
void consensus_post(struct consensus *c, struct task *task);
/* The same for many at once: push each, then wake once. */
void consensus_push(struct consensus *c, struct task *task);
void consensus_wake(struct consensus *c);

/* Thread: the raft thread. */
struct engine *consensus_engine(struct consensus *c);
uv_loop_t *consensus_loop(struct consensus *c); /* handles on it are closed before consensus_stop */
/* Send a note to a member; or to whoever listens at an address. May be lost. */
void consensus_send_note(struct consensus *c, const char *node_name, struct slice note);
void consensus_send_contact(struct consensus *c, const char *host, uint16_t port,
                            struct slice note);
void consensus_set_cluster(struct consensus *c, uint64_t cluster_id);
void consensus_redial(struct consensus *c, const char *node_name);
/* The disk failed under something else than the log: the process stops, as over the log. */
void consensus_fail(struct consensus *c, const char *what);
/* Thread: any, after consensus_start. */
uint16_t consensus_port(const struct consensus *c);

/* Loop turns, from the end of a poll to the next. Slow: the thread worked, by its own processor
 * time, for over 5 ms: too much in one turn, our fault. Late: the clock showed over 5 ms: slow ones,
 * and those in which the thread was made to wait for a processor. Thread: any. */
struct consensus_turns {
    uint64_t slow_count;
    uint64_t late_count;
    uint64_t longest_us; /* worked in one turn */
};
struct consensus_turns consensus_turns(const struct consensus *c);

#endif
