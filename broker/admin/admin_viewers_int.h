/* admin_viewers_int: the open HTTP connections, bounded in number and in patience.
 * evhttp owns them and tells nobody when it closes one; so each one's bufferevent is held by a
 * reference here until evhttp has let go of it, which it does by taking its callbacks off.
 * Thread: admin.
 * Always: the list is ordered by since_ns; count is its length and at most count_max. */
#ifndef FANFARE_ADMIN_ADMIN_VIEWERS_INT_H
#define FANFARE_ADMIN_ADMIN_VIEWERS_INT_H

#include <stdint.h>

#include "base/list.h"

struct bufferevent;

struct viewers {
    struct list list; /* the one that has waited longest first */
    uint32_t count;
    uint32_t count_max;
    uint64_t patience_ns;
    uint64_t shed_count; /* those that were closed for being slow or one too many */
};

void viewers_init(struct viewers *viewers, uint32_t count_max, uint64_t patience_ns);

/* Takes: `bev`, for a connection that was just accepted; evhttp takes it. If there are count_max
 * already, the one that has gone without a finished request for longest is closed. */
void viewers_add(struct viewers *viewers, struct bufferevent *bev);

/* A request of this connection is answered, all bytes handed to the kernel. */
void viewers_answered(struct viewers *viewers, struct bufferevent *bev);

/* Close those who went without a finished request for too long, forget those who left. */
void viewers_tick(struct viewers *viewers);

/* After evhttp is freed. */
void viewers_fini(struct viewers *viewers);

#endif
