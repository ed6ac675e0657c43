/* ask_owners: PUBSUB's questions to all owners (cluster_ask_owners), and the answers to others'.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_ASK_OWNERS_H
#define FANFARE_CLUSTER_ASK_OWNERS_H

#include "base/check.h"
#include "cluster/wire.h"

struct accepted_peer;

/* False: it is none. */
MUST_USE bool ask_owners_on_query(struct accepted_peer *accepted, const struct wire_query *ask);

#endif
