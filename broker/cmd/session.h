/* session: one client: its connection, its subscriptions, and what the protocol remembers about it.
 * Owns: the conn and subscriber that it embeds, and `extra`. Thread: its worker, for every call; no
 * locks.
 * Small on purpose: a broker holds very many idle subscribers. What few clients need hangs off
 * `extra`, and its service is found by the conn's ops (service_of). */
#ifndef FANFARE_CMD_SESSION_H
#define FANFARE_CMD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "cmd/answers.h"
#include "cmd/waiting.h"
#include "net/conn.h"
#include "pubsub/fanout.h"

struct call;
struct gather;
struct multi;
struct resp_parser;
struct service;

enum session_flag {
    SESSION_AUTHENTICATED = 1 << 0,
    SESSION_UNIX = 1 << 1,
    SESSION_PUBLISHED = 1 << 2, /* publishes may be in flight: settle before anything else */
    SESSION_WAITS = 1 << 3,     /* a command has not answered yet (gather, waiting) */
    SESSION_PARKED = 1 << 4,    /* CLIENT PAUSE holds its next command */
    SESSION_HELD = 1 << 5,      /* not read until another worker has caught up */
    SESSION_WATCHED = 1 << 6,   /* in the service's backlog */
    SESSION_REPLY_OFF = 1 << 7,
    SESSION_REPLY_SKIP = 1 << 8,     /* the next command is not answered */
    SESSION_REPLY_SKIPPING = 1 << 9, /* the present one is not */
    SESSION_MULTI = 1 << 10,
    SESSION_EXECUTING = 1 << 11, /* EXEC is at work: replies go to the transaction's buffer */
    SESSION_NO_EVICT = 1 << 12,
    SESSION_NO_TOUCH = 1 << 13,
    SESSION_LEAVING = 1 << 14, /* close once the present command has answered */
    SESSION_READONLY = 1 << 15,
    SESSION_UNSETTLED = 1 << 16,  /* not read until its publishes have been answered */
    SESSION_SUBSCRIBED = 1 << 17, /* counted as a client with subscriptions */
    SESSION_HOLDING = 1 << 18,    /* deliveries are kept until the command has been confirmed */
    SESSION_DUE = 1 << 19,        /* in the service's list of those that go on */
    SESSION_GATHERED = 1 << 20,   /* it is gone, and is counted out by its gather */

    SESSION_BARRED = SESSION_WAITS | SESSION_PARKED | SESSION_HELD | SESSION_UNSETTLED,
};

/* What not every client needs. */
struct session_extra {
    struct resp_parser *parser; /* its own, while a request is unfinished */
    struct multi *multi;
    struct gather *gather; /* what it waits for */
    struct waiting waiting;
    struct answers answers;
    struct buf held; /* deliveries, while SESSION_HOLDING */
    char *name;      /* CLIENT SETNAME */
    char *lib_name;  /* CLIENT SETINFO */
    char *lib_version;
    uint32_t watch_count; /* keys that WATCH named */
};

struct session {
    struct conn conn;
    struct subscriber subscriber;
    struct session_extra *extra; /* NULL while it has nothing to remember */
    struct list link;            /* in the service's list */
    uint64_t id;
    uint32_t created_s; /* both on the monotonic clock */
    uint32_t active_s;
    uint32_t flags;         /* enum session_flag, or-ed */
    uint32_t request_bytes; /* length of the request at work; 0: none is */
    uint16_t command;       /* enum command_id of the last one; COMMAND_COUNT: none yet */
    uint8_t database;
};

/* Takes: fd, a connected socket that may be served. Gives it a session of `service`. */
void session_open(struct service *service, int fd);

/* Its extra, made when first needed. */
struct session_extra *session_extra(struct session *session);

/* Order the publishes in flight, so that their answers are written: before anything else of this
 * session happens. False: some are decided later. */
MUST_USE bool session_settle(struct session *session);

/* Read no more of it until all its publishes have been answered. */
void session_await_answers(struct session *session);

/* The command has no answer yet: no further command runs until session_answer. */
void session_wait(struct session *session);

/* `reply` holds the whole answer of the command (or, of EXEC, the next part): hand it to the
 * connection, or drop it if the client has asked for silence. Empties reply. `pushes`: the command
 * has CMD_PUSHES. The session is settled. */
void session_answer(struct session *session, struct buf *reply, bool pushes);

/* Keep what is delivered from now on for behind the answer that is being made; and hand it on. */
void session_hold(struct session *session);
void session_release(struct session *session);
/* Of what is held, forget the messages of a subscription that was under way and is refused; it began when so
 * many bytes were held. Time: what has been held since is looked through. */
void session_forget_held(struct session *session, size_t held_before, enum topic_kind kind,
                         struct slice name);

/* Its subscriptions may have changed: keep the number of clients that have any. */
void session_count_subscriptions(struct session *session);

/* The waiting command has answered: go on with what has been received meanwhile. */
void session_resume(struct session *session);

/* One reason not to read it is gone: read it if there is no other. */
static inline void session_read_on(struct session *session)
{
    if (!(session->flags & SESSION_BARRED)) { conn_resume(&session->conn); }
}

/* Bytes that wait for the client to read. */
static inline size_t session_backlog_bytes(const struct session *session)
{
    return conn_backlog_bytes(&session->conn) +
           (UNLIKELY(session->flags & SESSION_HOLDING) ? session->extra->held.len : 0);
}

/* Close when the command at hand has answered and everything queued has left. */
void session_leave(struct session *session);

/* Go back to the state of a fresh connection, but for the authentication's default (RESET). */
void session_reset(struct session *session);

/* The seams of conn and fanout (see answers.h and cmd_subscribe.h, too). */
size_t session_on_data(struct conn *conn, struct slice input);
void session_on_close(struct conn *conn);
void session_deliver(struct subscriber *subscriber, struct batch *batch);
void session_dropped(struct subscriber *subscriber);

/* Does the client have subscriptions and RESP2, so that it may run few commands only? */
static inline bool session_in_subscribe_mode(const struct session *session)
{
    return session->subscriber.resp_version == 2 && subscriber_total(&session->subscriber) > 0;
}

/* The name given with CLIENT SETNAME, or "". */
static inline const char *session_name(const struct session *session)
{
    return session->extra != NULL && session->extra->name != NULL ? session->extra->name : "";
}

/* "ip:port", "[ip6]:port", "path:0" of the peer, or of our end. The text is in `out`, room for
 * SESSION_ADDRESS_BYTES. */
enum { SESSION_ADDRESS_BYTES = 128 };
struct slice session_address(const struct session *session, char *out);
struct slice session_local_address(const struct session *session, char *out);

#endif
