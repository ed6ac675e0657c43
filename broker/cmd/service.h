/* service: one worker's share of the house, wired: its sessions, its half of the fan-out, its slow log; the
 * arrival of clients and the end of each turn.
 * Thread: service_begin, service_end, service_new, service_start, service_stop, service_free: main.
 * Everything else: its worker, unless stated. */
#ifndef FANFARE_CMD_SERVICE_H
#define FANFARE_CMD_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "cmd/broker.h"
#include "cmd/latency.h"
#include "cmd/permission.h"
#include "cmd/slowlog.h"
#include "net/worker.h"
#include "pubsub/fanout.h"
#include "session/session.h"

/* Who is told when what it has answered, at the end of a turn, has been written to its socket. */
struct handed_over {
    struct list link;
    void (*run)(struct handed_over *handed_over);
};

struct service {
    struct broker *broker;
    struct worker *worker;
    struct fanout *fanout;
    struct sessions sessions; /* every one of this worker */
    struct slowlog slowlog;
    struct latency latency;
    struct permission_memos memos;
    uint64_t run_began_ns; /* the present run of one quick command of one session; 0: none */
    uint32_t run_command;  /* enum command_id of that run */
    uint32_t run_count;
    uint64_t last_ticket;    /* of a command that waits for a key */
    struct list handed_over; /* struct handed_over */
    bool is_confirming;      /* some of them: a debt */
    bool is_leaving;         /* draining: no new client */
    bool is_draining;        /* sessions are to be closed at the end of this turn */
    struct worker_timer pause_timer;
    struct task drain_task;
    struct task abort_task;
    atomic_size_t monitor_bytes; /* of lines on their way to its monitors */
    atomic_bool monitor_is_over; /* there were too many: its monitors are to be closed */
    atomic_bool drain_asked;
    atomic_bool abort_asked;
    atomic_uint session_count; /* accepted for it and not yet gone; any thread */
    atomic_uint debt_count;    /* commands of clients that have gone (below); any thread */
};

/* The service that sessions belong to. */
static inline struct service *service_with(struct sessions *sessions)
{
    return CONTAINER_OF(sessions, struct service, sessions);
}

static inline struct service *service_of(const struct session *session)
{
    return service_with(sessions_of(session));
}

/* Once before any service_new: the command index, the labels of the metrics. service_end: after all
 * service_free. */
void service_begin(struct broker *broker);
void service_end(struct broker *broker);

/* Make service `index` and its worker, and enter both in broker->service[index] and
 * broker->worker[index]. */
void service_new(struct broker *broker, uint32_t index);

/* When all exist: run its thread. */
void service_start(struct service *service);

/* Refuse new clients from now on, and close each one as soon as what is queued for it has left. Any
 * thread; idempotent. */
void service_drain(struct service *service);

/* Close all clients now; no answers. Any thread; idempotent. */
void service_abort(struct service *service);

/* Clients connected now; 0 after a drain or an abort means that it is done. Any thread. */
uint32_t service_client_count(const struct service *service);

/* Commands of clients that have gone which may have taken something that is to be put back: a drain waits for them. Any
 * thread. */
uint32_t service_debt_count(const struct service *service);
/* One more; one less. The worker. */
void service_debt_came(struct service *service);
void service_debt_left(struct service *service);

/* One more thing counts as a client until it is gone: a session, or what one has left on its way between
 * workers. Any thread; the worker. */
void service_client_came(struct service *service);
void service_client_left(struct service *service);

/* End its thread; its clients are gone. For all services, before the first service_free. */
void service_stop(struct service *service);

/* Free it and its worker. */
void service_free(struct service *service);

/* listener_opts.on_accept; `broker` is the struct broker. Takes: fd, for the worker with the fewest
 * clients; or closes it, saying why, if there are too many or if protected mode forbids it. The other one is for encrypted
 * connections, which are closed without a word. Thread: any worker. */
void service_on_accept(void *broker, int fd);
void service_on_accept_tls(void *broker, int fd);

/* Does everybody who comes in count as `default` without a password? Any thread. */
bool service_is_open_to_all(const struct broker *broker);

/* CLIENT UNPAUSE, or the pause is over: the paused sessions of this worker go on; those still held pause
 * again. */
void service_unpause(struct service *service);

/* See to it that paused sessions go on when the pause ends. */
void service_await_pause_end(struct service *service);

#endif
