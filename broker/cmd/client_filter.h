/* client_filter: which clients a CLIENT KILL or CLIENT LIST means. A plain value, read by every
 * worker in turn.
 * Owns: the list of ids and the copies of the texts. */
#ifndef FANFARE_CMD_CLIENT_FILTER_H
#define FANFARE_CMD_CLIENT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cmd/client_line.h"

struct call;
struct session;

struct client_filter {
    uint64_t *id;      /* any of these */
    uint32_t id_count; /* 0: any id */
    bool has_type;
    enum client_type type;
    struct buf address; /* empty: any */
    struct buf local_address;
    struct buf user;    /* empty: any */
    uint64_t age_s_min; /* 0: any */
    uint64_t caller_id;
    bool skips_caller;
};

/* Read argv[2..] of CLIENT KILL in its new form. False: answered with an error. */
bool client_filter_parse_kill(struct call *call, struct client_filter *filter);

/* Read argv[2..] of CLIENT LIST. False: answered with an error. */
bool client_filter_parse_list(struct call *call, struct client_filter *filter);

/* Thread: the session's worker. */
bool client_filter_fits(const struct client_filter *filter, const struct session *session);

void client_filter_fini(struct client_filter *filter);

#endif
