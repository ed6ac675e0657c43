/* gate: who asks several things at once has them executed in their order, although some of them are refused.
 * Once a number of a lane is refused, or left in doubt, every higher one of that lane is refused, too, until that one (or a
 * lower one) comes again, or the asker says that it will not (acked_low). Also across changes of leadership; reads have
 * numbers for this. Parked calls have no order and no gate.
 * Owns: a few bytes for each lane of which something is refused; a newer life of a worker takes the place of the older one.
 * Thread: the partition's store thread. */
#ifndef FANFARE_PARTITION_GATE_H
#define FANFARE_PARTITION_GATE_H

#include "base/map.h"
#include "partition/partition_types.h"

struct gates {
    struct map lanes; /* that are held up, by node and worker */
};

void gates_fini(struct gates *gates);

/* Is it behind one that was refused since it came? */
MUST_USE bool gates_hold(const struct gates *gates, const struct partition_request *request);

/* Has the request to be refused? With the same answer as the one before it: ERR_SLOW. */
MUST_USE bool gates_refuse(struct gates *gates, const struct partition_request *request);
/* It is answered with `err`. */
void gates_answer(struct gates *gates, const struct partition_request *request, enum err err);

#endif
