/* guests: commands of other nodes' clients, asked here because this node leads their partition. They are given on in the order
 * in which they come; their origins keep them apart from this node's own.
 * Owns: a copy of what was asked, until it is answered. Thread: the connection's worker.
 * Bound: COMMANDS_IN_FLIGHT_MAX per partition and connection, which who asks keeps; parked ones, its clients. And in bytes of
 * answers that its connection does not take: above PARTITION_OWED_BYTES_MAX no more is executed, and who asks asks again. */
#ifndef FANFARE_CLUSTER_GUESTS_H
#define FANFARE_CLUSTER_GUESTS_H

#include "cluster/wire.h"

struct accepted_peer;

/* False: it makes no sense. */
MUST_USE bool guests_on_command(struct accepted_peer *accepted, const struct wire_command *command);
MUST_USE bool guests_on_unpark(struct accepted_peer *accepted, const struct wire_unpark *unpark);
/* The connection is gone: what was asked on it is not answered to anybody, and parks no longer. */
void guests_on_closed(struct accepted_peer *accepted);
/* About every 100 ms: its connection may have taken something. */
void guests_tick(struct accepted_peer *accepted);

#endif
