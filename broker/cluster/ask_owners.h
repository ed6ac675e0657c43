/* ask_owners: PUBSUB's questions to all owners (cluster_ask_owners), and the answers to others'.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_ASK_OWNERS_H
#define FANFARE_CLUSTER_ASK_OWNERS_H

#include "base/check.h"
#include "cluster/wire.h"

struct accepted_peer;
struct cluster_worker;
struct dialled_peer;

bool ask_owners_on_query(struct accepted_peer *accepted, const struct wire_query *ask);
void ask_owners_on_answer(struct dialled_peer *dialled, const struct wire_query_answer *answer);
void ask_owners_on_down(struct cluster_worker *cw);
void ask_owners_tick(struct cluster_worker *cw);
void ask_owners_turn(struct cluster_worker *cw);
void ask_owners_stop(struct cluster_worker *cw);

#endif
