/* import_target: the connection to the fanfare that is imported into: commands on their way, and from where to go on when it is
 * lost.
 * Owns: the connection and what is in flight. Thread: main; calls wait, and let the importer's other work run meanwhile.
 * Bound: TARGET_COMMANDS_MAX and TARGET_BYTES_MAX in flight. */
#ifndef FANFARE_IMPORT_IMPORT_TARGET_H
#define FANFARE_IMPORT_IMPORT_TARGET_H

#include "import/import_options.h"
#include "import/import_wire.h"

enum {
    TARGET_COMMANDS_MAX = 4096,
    TARGET_BYTES_MAX = 8 << 20,
    TARGET_SILENCE_S = 30, /* with something in flight: then it is lost */
    TARGET_RETRY_S = 120,  /* so long it may be lost */
};

/* What a command belongs to: where to begin again if its answer never comes. */
struct import_mark {
    uint64_t at;
    uint64_t number; /* keys before it */
    uint32_t db;
};

extern const struct import_mark import_mark_none;

/* What else is to be done while the target is waited for. */
struct import_idle {
    int fd; /* -1: none; readable: run is called at once, else every 100 ms */
    bool (*run)(void *arg, bool is_readable); /* false: end */
    void *arg;
};

enum target_state {
    TARGET_GOOD,
    TARGET_LOST,    /* begin again at lost_at; import_mark_none: nothing was in flight */
    TARGET_REFUSED, /* it answered an error: `why`, at `refused_at` */
    TARGET_ENDED,   /* idle said so */
};

struct import_target {
    struct import_server server;
    const struct import_idle *idle;
    int fd; /* -1: none */
    enum target_state state;
    struct buf out;
    size_t out_at;
    struct buf in;
    struct buf sent; /* struct target_sent: what is in flight, the oldest first, from sent_at on */
    size_t sent_at;
    uint64_t bytes_in_flight;
    uint64_t heard_ns;
    int64_t db;             /* that the connection is in; -1: not known */
    uint64_t answers_short; /* elements missing in arrays of which a number was expected */
    struct import_mark lost_at;
    struct import_mark refused_at;
    struct buf why;
};

void target_init(struct import_target *target, const struct import_server *server,
                 const struct import_idle *idle);
void target_fini(struct import_target *target);

/* Connect, and log in, again and again for TARGET_RETRY_S. False: `why`. */
MUST_USE bool target_connect(struct import_target *target);

#define TARGET_MAY_REFUSE UINT32_MAX

/* Send a command; its answer is checked when it comes. `expected`: elements that the answer should have (0: any;
 * TARGET_MAY_REFUSE: it may also be an error that stays one). Waits while
 * too much is in flight. Anything but TARGET_GOOD stays until target_connect. */
enum target_state target_send(struct import_target *target, const struct import_command *command,
                              struct import_mark mark, uint32_t expected);
/* Have it in this database. */
enum target_state target_select(struct import_target *target, uint32_t db, struct import_mark mark);
/* Wait until all is answered. */
enum target_state target_drain(struct import_target *target);

/* Send commands, of which nothing is in flight, and wait for so many replies: they are appended to `replies` whatever they are. */
enum target_state target_ask(struct import_target *target, struct slice commands, uint32_t count,
                             struct buf *replies);

/* How many keys it has, in all databases. Nothing is in flight. False: `why`. */
MUST_USE bool target_keys(struct import_target *target, uint64_t *keys);
/* May it be written to, with so many? False: that program says why not. */
MUST_USE bool target_is_free(const char *program, uint64_t keys, bool replaces);

#endif
