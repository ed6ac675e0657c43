/* session: one client, and what the clients of a worker share: the structs on which the files of this
 * folder work. A session reads requests, hands them to the pipeline through session_ops, keeps the order
 * of their answers, and is read no further while there is a reason (enum session_bar). It knows no command.
 * Thread: its worker, for every call; no locks.
 * A session is small on purpose: a broker holds very many idle subscribers. What few clients need hangs off
 * `extra`, and what a worker's sessions share is found by the conn's ops (sessions_of).
 *
 * The words of this module, each with one meaning:
 *   request      what a client sends as one: a command's name and arguments
 *   bar          the one reason for which a session is not read; its input goes on when that ends
 *   wait         a command that has no answer yet, whatever it is for
 *   ticket       publishes, or a data command, that are answered later; it outlives its session
 *   settled      the publishes before it are ordered, so that the next command may run
 *   backlog      what was written to a client and is not read by it
 *   to lag       to have so much of it that limits are looked at
 *   watched      a key that WATCH has named
 *   congestion   others have more to deliver than they keep up with
 *   to postpone  to keep a client's deliveries until its command has been confirmed
 *   to leave     to begin nothing more, and close when all is answered
 */
#ifndef FANFARE_SESSION_SESSION_H
#define FANFARE_SESSION_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/slice.h"
#include "config/config.h"
#include "net/conn.h"
#include "pubsub/fanout.h"
#include "resp/resp_parse.h"

struct acl;
struct acl_user;
struct acl_users;
struct call;
struct cluster;
struct commands;
struct session;
struct sessions;
struct ticket;
struct transaction;

enum session_flag {
    SESSION_AUTHENTICATED = 1 << 0,
    SESSION_UNIX = 1 << 1,
    SESSION_PUBLISHED = 1 << 2, /* publishes may be in flight: settle before anything else */
    SESSION_LOADS = 1 << 3,     /* it has published since it was asked whether others keep up */
    SESSION_LAGS = 1 << 4,      /* in the list of those with a backlog */
    SESSION_REPLY_OFF = 1 << 5,
    SESSION_REPLY_SKIP = 1 << 6,     /* the next command is not answered */
    SESSION_REPLY_SKIPPING = 1 << 7, /* the present one is not */
    SESSION_MULTI = 1 << 8,
    SESSION_EXECUTING = 1 << 9, /* EXEC is at work: replies go to the transaction's buffer */
    SESSION_NO_EVICT = 1 << 10,
    SESSION_NO_TOUCH = 1 << 11,
    SESSION_LEAVING = 1 << 12, /* nothing more is begun; closed when all is answered */
    SESSION_READONLY = 1 << 13,
    SESSION_SUBSCRIBED = 1 << 14, /* counted as a client with subscriptions */
    SESSION_POSTPONES = 1 << 15,  /* deliveries are kept until the command has been confirmed */
    SESSION_ASKED =
        1 << 16, /* a partition has data commands of it in flight: as for SESSION_PUBLISHED */
    SESSION_NAMED = 1 << 17,   /* its user is another than `default`: extra->user */
    SESSION_MONITOR = 1 << 18, /* it is shown the commands of others (monitors.h) */
    SESSION_GREETED = 1 << 19, /* encrypted, and its certificate has been looked at */
};

/* Why it is not read, and no further command of it runs. One reason at a time: whatever else would be
 * one is looked at again when this one ends. */
enum session_bar {
    BAR_NONE,
    BAR_COMMAND,    /* its command has no answer yet (wait.h) */
    BAR_ANSWERS,    /* what it has in flight must be answered first (answers.h) */
    BAR_CONGESTION, /* it publishes more than others keep up with (congestion.h) */
    BAR_PAUSE,      /* CLIENT PAUSE holds its next command */
    BARS
};

/* Why a command that blocks is to wait no more. */
enum wait_end {
    WAIT_TIMED_OUT, /* as if its time were up */
    WAIT_UNBLOCKED, /* CLIENT UNBLOCK ... ERROR */
    WAIT_REVIEWED,  /* only if its user may not run it any more */
};

/* What a command waits for that has no answer yet. */
struct wait_ops {
    /* Takes: question. It is there: write the answer; call->argc is 0. NULL: there is nothing to write. */
    void (*finish)(void *question, struct call *call);
    /* Takes: question. The session is going away, and nobody asks any more. NULL: nothing to do. */
    void (*forget)(void *question);
    /* It may take for ever: end it soon, by wait_over. NULL: it is one that ends by itself; the others are those that
     * block, and whose clients may leave meanwhile. */
    void (*interrupt)(void *question, enum wait_end why);
};

struct wait {
    struct list link; /* among those barred for the same reason, or those that go on */
    const struct wait_ops *ops;
    void *question;
    uint16_t command; /* the pipeline's number of it */
};

/* Publishes whose fate is decided later, or commands that a partition answers later; never both. So many of them, or so much
 * input read meanwhile, are too many. */
enum { ANSWERS_MAX = 16384, ANSWERS_INPUT_BYTES_MAX = 1 << 20 };

struct answers {
    struct ticket *first; /* the oldest one; if there is one, it is not settled */
    struct ticket *last;
    size_t input_bytes; /* read since there was none */
    uint32_t count;     /* of publishes or commands */
    uint32_t partition; /* while SESSION_ASKED: which one has them */
    bool has_read;      /* one of them may see what is written behind it: no write is to follow */
};

/* A key that WATCH named, and how it was then. */
struct watched {
    uint64_t version; /* 0: it was not there */
    uint16_t database;
    struct slice key; /* owned */
};

/* What not every client needs. */
struct session_extra {
    struct session *session;    /* whose it is */
    struct resp_parser *parser; /* its own, while a request is unfinished */
    struct transaction *transaction;
    struct wait wait;
    struct answers answers;
    struct buf postponed;     /* deliveries, while SESSION_POSTPONES */
    struct list backlog_link; /* while SESSION_LAGS */
    struct list monitor_link; /* while SESSION_MONITOR */
    uint64_t over_soft_since_ns;
    struct acl_user *user; /* a reference, while SESSION_NAMED */
    char *name;            /* CLIENT SETNAME */
    char *lib_name;        /* CLIENT SETINFO */
    char *lib_version;
    struct watched *watched;
    uint32_t watch_count;
    uint32_t watch_cap;
};

enum { SESSION_NO_COMMAND = UINT16_MAX };

struct session {
    struct conn conn;
    struct subscriber subscriber;
    struct session_extra *extra; /* NULL while it has nothing to remember */
    struct list link;            /* in sessions->all */
    struct list stranger_link;   /* in sessions->strangers, while it has to log in */
    uint64_t id;
    uint32_t stranger_since_s;
    uint32_t created_s; /* these on the monotonic clock */
    uint32_t active_s;
    uint32_t flags;         /* enum session_flag, or-ed */
    uint32_t request_bytes; /* length of the request at work; 0: none is */
    uint16_t command;       /* the pipeline's number of the last one, or SESSION_NO_COMMAND */
    uint8_t database;
    uint8_t bar; /* enum session_bar */
};

/* Seam: the pipeline (cmd/pipeline.c), and a test's. */
struct session_ops {
    /* The first bytes of an encrypted client are there, and it may have shown a certificate. NULL: nothing is made of that. */
    void (*greet)(struct session *session);
    /* Run one request, or answer why not. Borrows argv. False: not now; it is presented again. */
    bool (*request)(struct session *session, const struct slice *argv, uint32_t argc);
    /* The input at hand has no more requests. */
    void (*input_done)(struct sessions *sessions);
    /* What the session's command waited for is there. Takes: wait->question. */
    void (*go_on)(struct session *session, const struct wait *wait);
    /* A session is no more. */
    void (*left)(struct sessions *sessions);
};

/* Copies of options that every request looks at, as of config_version. */
struct session_limits {
    uint64_t config_version;
    struct resp_limits resp;
    uint64_t query_bytes_max;
    struct config_output_limit output[CONFIG_CLIENT_CLASSES];
    uint64_t lag_bytes; /* the backlog from which a session lags */
};

/* What the sessions of one worker share. */
struct sessions {
    const struct session_ops *ops;
    struct conn_ops conn_ops; /* of its sessions, which find it by them */
    struct worker *worker;
    struct fanout *fanout;
    const struct config *config;
    struct cluster *const *cluster; /* *cluster is NULL: this node is alone */
    struct commands *commands;      /* NULL: this node takes no data commands */
    atomic_uint_fast64_t *next_id;
    uint32_t worker_count;
    struct resp_parser *parser; /* shared by all sessions without an unfinished request */
    struct buf reply;           /* the answer of the command at hand; empty between commands */
    struct list all;
    struct list barred[BARS]; /* by reason */
    struct list over;         /* of BAR_COMMAND: they go on at the end of the turn */
    struct list lagging;      /* with a backlog */
    struct list strangers;    /* who have to log in; the one that came first in front */
    struct list monitors;     /* SESSION_MONITOR */
    atomic_uint monitor_count;
    atomic_uint_fast64_t *monitor_total; /* of all workers */
    struct session_limits limits;
    struct acl *acl;
    struct acl_users *users; /* a reference to those of acl_version */
    uint64_t acl_version;
    bool needs_login;     /* `default` is off, or has a password */
    bool default_is_free; /* and may do everything once it is in */
    uint32_t now_s;       /* monotonic, as of this turn */
};

static inline struct sessions *sessions_of(const struct session *session)
{
    return CONTAINER_OF((uintptr_t)session->conn.ops, struct sessions, conn_ops);
}

/* Its extra, made when first needed. */
static inline struct session_extra *session_extra(struct session *session)
{
    if (session->extra == NULL) {
        session->extra = mem_new0(sizeof *session->extra);
        session->extra->session = session;
    }
    return session->extra;
}

/* Has the session something in flight that is not answered yet, and not only uncommitted publishes? */
static inline bool answers_are_outstanding(const struct session *session)
{
    return session->extra != NULL && session->extra->answers.first != NULL;
}

static inline bool answers_are_too_many(const struct session *session)
{
    if (LIKELY(!answers_are_outstanding(session))) { return false; }
    const struct answers *answers = &session->extra->answers;
    return answers->count > ANSWERS_MAX || answers->input_bytes > ANSWERS_INPUT_BYTES_MAX;
}

/* Does it wait in a command that blocks? */
static inline bool session_is_blocked(const struct session *session)
{
    return session->bar == BAR_COMMAND && session->extra->wait.ops->interrupt != NULL;
}

/* Bytes that wait for the client to read. */
static inline size_t session_backlog_bytes(const struct session *session)
{
    return conn_backlog_bytes(&session->conn) +
           (UNLIKELY(session->flags & SESSION_POSTPONES) ? session->extra->postponed.len : 0);
}

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

#endif
