/* membership_resolve: the join list: host names, each of which may stand for several nodes, and for
 * others tomorrow. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_RESOLVE_H
#define FANFARE_CONSENSUS_MEMBERSHIP_RESOLVE_H

#include <uv.h>

#include "base/slice.h"
#include "consensus/map/pmap.h"

struct resolve;

/* Takes a copy of the list. */
MUST_USE struct resolve *
resolve_new(uv_loop_t *loop, const struct pmap_address *list, uint32_t count,
            void (*send)(void *arg, const char *host, uint16_t port, struct slice note), void *arg);
/* Send to every address that the names had when they were last resolved, which is done again now and
 * then; nothing is sent to a name that was never resolved. */
void resolve_send(struct resolve *resolve, struct slice note);
/* Different addresses that it sends to. */
uint32_t resolve_count(const struct resolve *resolve);
/* Ask for nothing any more; the loop ends once the answers under way are there. */
void host_lookup_cancel(struct resolve *resolve);
void resolve_free(struct resolve *resolve); /* after the loop has ended; NULL is allowed */

#endif
