/* service: what one worker serves: its sessions, its half of the fan-out, its parser, its slow log;
 * and the end of each turn.
 * Thread: service_begin, service_end, service_new, service_start, service_stop, service_free: main.
 * Everything else: its worker, unless stated. */
#ifndef FANFARE_CMD_SERVICE_H
#define FANFARE_CMD_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "cmd/backlog.h"
#include "cmd/broker.h"
#include "cmd/held.h"
#include "cmd/session.h"
#include "cmd/slowlog.h"
#include "config/config.h"
#include "net/worker.h"
#include "pubsub/fanout.h"
#include "resp/resp_parse.h"

/* Copies of options that every request looks at, as of config_version. */
struct service_options {
    uint64_t config_version;
    struct resp_limits limits;
    uint64_t query_bytes_max;
    struct config_output_limit output_limit[CONFIG_CLIENT_CLASSES];
    uint64_t watch_bytes; /* the backlog from which a session is watched */
    int64_t slow_us;      /* slowlog-log-slower-than */
    bool needs_password;
};

struct service {
    struct broker *broker;
    struct conn_ops conn_ops; /* of its sessions, which find their service by it */
    struct worker *worker;
    struct fanout *fanout;
    struct resp_parser *parser; /* shared by all sessions without an unfinished request */
    struct buf reply;           /* the answer of the command at hand; empty between commands */
    struct list sessions;       /* every one of this worker */
    struct backlog backlog;
    struct held held;
    struct due due;
    struct slowlog slowlog;
    struct service_options options;
    uint64_t publishes_began_ns; /* the present run of publishes of one session; 0: none */
    uint32_t publishes_command;  /* enum command_id of that run */
    uint32_t parked_count;       /* sessions that CLIENT PAUSE holds */
    uint32_t now_s;              /* monotonic, as of this turn */
    bool is_leaving;             /* draining: no new client */
    bool is_draining;            /* sessions are to be closed at the end of this turn */
    struct worker_timer pause_timer;
    struct task drain_task;
    struct task abort_task;
    atomic_bool drain_asked;
    atomic_bool abort_asked;
    atomic_uint session_count; /* accepted for it and not yet gone; any thread */
};

/* The service that a session belongs to. */
static inline struct service *service_of(const struct session *session)
{
    return CONTAINER_OF((uintptr_t)session->conn.ops, struct service, conn_ops);
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

/* One is gone: its session is closed and nothing of it is on its way between workers any more. */
void service_client_left(struct service *service);

/* End its thread; its clients are gone. For all services, before the first service_free. */
void service_stop(struct service *service);

/* Free it and its worker. */
void service_free(struct service *service);

/* listener_opts.on_accept; `broker` is the struct broker. Takes: fd, for the worker with the fewest
 * clients; or closes it, saying why, if there are too many or if protected mode forbids it. Thread:
 * any worker. */
void service_on_accept(void *broker, int fd);

/* The parked sessions of this worker go on (CLIENT UNPAUSE, or the pause is over); those still held
 * park again. */
void service_unpark(struct service *service);

/* See to it that parked sessions go on when the pause ends. */
void service_await_pause_end(struct service *service);

/* Close every client that has subscribed to something that `concerns` says: it may have missed a
 * message. Thread: the worker, not from inside a call into the fan-out. */
void service_close_subscribers(struct service *service,
                               bool (*concerns)(void *concern, enum topic_kind kind,
                                                struct slice name),
                               void *concern);

/* Read the options again if they have changed. */
void service_refresh_options(struct service *service);

#endif
