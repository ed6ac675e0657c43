/* ask_members: ACL LOG's questions to all members that are up (cluster_ask_log), and the answers to others'.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_ASK_MEMBERS_H
#define FANFARE_CLUSTER_ASK_MEMBERS_H

#include "cluster/wire.h"

struct accepted_peer;

void ask_members_on_query(struct accepted_peer *accepted, const struct wire_query *ask);

#endif
