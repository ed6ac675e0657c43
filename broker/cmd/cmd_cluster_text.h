/* cmd_cluster_text: what INFO says about the cluster. */
#ifndef FANFARE_CMD_CMD_CLUSTER_TEXT_H
#define FANFARE_CMD_CMD_CLUSTER_TEXT_H

#include "base/buf.h"

struct call;

/* Append the lines of the section. Thread: the call's worker. */
void cluster_info_append(struct buf *out, const struct call *call);

#endif
