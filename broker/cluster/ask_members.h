/* ask_members: ACL LOG's questions to all members that are up (cluster_ask_log), and the answers to others'.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_ASK_MEMBERS_H
#define FANFARE_CLUSTER_ASK_MEMBERS_H

#include "base/check.h"
#include "cluster/wire.h"

struct accepted_peer;
struct cluster_worker;
struct dialled_peer;

void ask_members_on_query(struct accepted_peer *accepted, const struct wire_query *ask);
/* False: it answers no question of this kind, or nonsense. */
MUST_USE bool ask_members_on_answer(struct dialled_peer *dialled,
                                    const struct wire_query_answer *answer);
void ask_members_on_down(struct cluster_worker *cw);
void ask_members_tick(struct cluster_worker *cw);
void ask_members_turn(struct cluster_worker *cw);
void ask_members_stop(struct cluster_worker *cw);

#endif
