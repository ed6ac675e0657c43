/* refusals: what this node's ACL LOG holds, for the other nodes and for itself. Thread: any. */
#ifndef FANFARE_CMD_REFUSALS_H
#define FANFARE_CMD_REFUSALS_H

#include "acl/acl_log.h"
#include "cluster/cluster.h"

/* Borrows: the entry's texts. */
struct cluster_refusal refusal_of(const struct acl_log_entry *entry);

/* cluster_refusals_ops; the arg is the struct broker. */
void refusals_tell(void *broker, uint32_t limit,
                   void (*take)(void *to, const struct cluster_refusal *refusal), void *to);
void refusals_forget(void *broker);

#endif
