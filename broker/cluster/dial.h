/* dial: a worker's connections to all other members, as the map has them. Thread: the worker. */
#ifndef FANFARE_CLUSTER_DIAL_H
#define FANFARE_CLUSTER_DIAL_H

#include <stdbool.h>

struct cluster_worker;

/* The map is new: dial who has come, close to who is gone or is another one. */
void dial_follow_map(struct cluster_worker *cw);
void dial_close_all(struct cluster_worker *cw, bool is_abrupt);

#endif
