/* data_call: one data command wherever it runs: in a log entry's apply on every replica, in EXEC, from a script, or as a
 * read on a worker. It has arguments, a transaction with the entry's time and seed, and a place for the reply; it knows
 * no client, no clock and no option, so that every replica writes the same bytes.
 * Thread: the transaction's. */
#ifndef FANFARE_DATA_DATA_CALL_H
#define FANFARE_DATA_DATA_CALL_H

#include "base/slice.h"
#include "resp/resp_write.h"
#include "store/store_key.h"

/* Classes of keyspace events (notify-keyspace-events). */
enum data_event {
    EVENT_GENERIC = 1 << 0, /* g */
    EVENT_STRING = 1 << 1,  /* $ */
    EVENT_LIST = 1 << 2,    /* l */
    EVENT_SET = 1 << 3,     /* s */
    EVENT_HASH = 1 << 4,    /* h */
    EVENT_ZSET = 1 << 5,    /* z */
    EVENT_STREAM = 1 << 6,  /* t */
    EVENT_EXPIRED = 1 << 7, /* x */
    EVENT_NEW = 1 << 8,     /* n */
};

struct data_scripting;

struct data_change {
    uint16_t db;
    struct slice name;
    const char *event; /* "lpush" */
    enum data_event class;
};

/* Hears of each key that was written, after it was. Must not write. */
struct data_listener {
    void (*changed)(void *arg, const struct data_change *change);
    void *arg;
};

struct data_call {
    uint32_t argc;
    const struct slice *argv; /* valid for the call; never in the store's pages */
    uint16_t db;
    bool is_sharded;  /* the database's keys are spread by slot */
    bool may_park;    /* a blocking command that finds nothing may wait; else it answers null */
    bool is_scripted; /* a script calls it */
    bool is_parked;   /* it does: nothing was written, and there is no reply */
    uint32_t hits;    /* keys that it looked up and found */
    uint32_t misses;  /* and did not find */
    struct store_txn *txn;
    struct reply *reply;
    const struct data_listener *listener; /* NULL: nobody listens */
    struct data_scripting *scripting;     /* data_script.h; NULL: no scripts are run here */
};

/* A handler writes one reply, or parks. The client's mistakes are replies. */
typedef void data_handler(struct data_call *call);

/* DATA(name, arity, access): one row a command; the handler is data_<name>. */
enum data_access { DATA_READ, DATA_WRITE };
struct data_command {
    const char *name; /* lower case */
    data_handler *handler;
    int16_t arity; /* words including the name; below 0: at least that many */
    enum data_access access;
};

/* The command of this name, ASCII case ignored; NULL: there is none. */
const struct data_command *data_command_find(struct slice name);

#define DATA(name, arity, access) data_handler data_##name;
#include "data/data.def"
#undef DATA

#endif
