/* keeping: the partitions' data on this node. */
#ifndef FANFARE_CLUSTER_KEEPING_H
#define FANFARE_CLUSTER_KEEPING_H

#include <stdbool.h>
#include <stdint.h>

struct cluster;
struct membership_opts;

/* What membership calls, where the cluster's options say that there is data. Before membership_start. */
void keeping_join(struct cluster *c, struct membership_opts *opts);
/* Nobody asks any more: what was asked ends. The consensus runs still. */
void keeping_stop(struct cluster *c);
void keeping_free(struct cluster *c); /* the consensus has stopped */
/* Does this node, which drains, lead no data that another one could lead? Any thread. */
bool keeping_is_handed_over(struct cluster *c);
/* Of how many partitions is it not known who leads their data? Any thread. */
uint32_t keeping_unled(struct cluster *c);
/* Partitions without a leader for longer than the timeout, and those that nobody has a replica of any more, are named in the
 * log. About every 100 ms; worker 0. */
void keeping_tick(struct cluster *c);

#endif
