/* order_int: the sequence point: runs are counted and posted under their channel's stripe. */
#ifndef FANFARE_PUBSUB_ORDER_INT_H
#define FANFARE_PUBSUB_ORDER_INT_H

#include "pubsub/run_int.h"

/* More bytes than this in a worker's inbox and publishers elsewhere have to wait. */
enum { DIRECTORY_INBOX_BYTES = 8 << 20 };

/* Has a worker other than `worker` more than that? If so, it will call for the others when it has
 * caught up (directory_taken). */
bool directory_is_congested(struct directory *directory, uint32_t worker);

/* `worker` has delivered `bytes` of what was posted to it. True: others wait for that and are to be
 * woken. */
MUST_USE bool directory_taken(struct directory *directory, uint32_t worker, size_t bytes);

/* A hint: these runs are about to be posted. In a large directory what each needs is fetched while the others
 * wait for theirs; one after the other, every step of every run would wait for memory. */
enum { DIRECTORY_PREFETCH_MAX = 16 };
void directory_prefetch(struct directory *directory, const struct run *run, uint32_t count);

/* Order a run: count its receivers, post it to each worker that has some. `woken[w]` is set for
 * those. */
void directory_post(struct directory *directory, struct run *run, bool *woken);

/* The same for a run whose answer waits until `shipment` has left on the lanes. */
void directory_post_shipment(struct directory *directory, struct run *run,
                             struct shipment *shipment, bool *woken);

/* A run of another node, which has ordered it: to this node's subscribers only. */
void directory_deliver(struct directory *directory, struct run *run, bool *woken);
void directory_deliver_exclusive(struct directory *directory, struct run *run, bool *woken);

#endif
