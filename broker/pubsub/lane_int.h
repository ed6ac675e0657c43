/* lane_int: runs on their way to other nodes. Under the stripe, all of it. */
#ifndef FANFARE_PUBSUB_LANE_INT_H
#define FANFARE_PUBSUB_LANE_INT_H

#include "pubsub/lane.h"
#include "pubsub/run_int.h"

/* Gives: an item of worker `lane`, the rest zero. */
MUST_USE struct lane_item *lane_item_empty(struct directory *directory, uint32_t lane);
/* Feed a lane: takes item. */
void lane_push(struct directory *directory, struct lane_item *item, uint32_t lane);

/* Does this node order the run's partition, in the run's epoch? Under the stripe. */
MUST_USE bool lane_orders(const struct directory *d, const struct run *run);
/* May the run go on the lanes of run->nodes? Else sets run->is_held and full_node. */
MUST_USE bool lane_has_room(const struct directory *d, struct run *run);
/* Number the run and put it on the lanes of run->nodes. Under the stripe. */
void lane_push_run(struct directory *d, const struct run *run, struct shipment *shipment,
                   bool *woken);

#endif
