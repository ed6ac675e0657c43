/* recover: what `fanfare recover --force-new-cluster DIR` does. */
#ifndef FANFARE_CONSENSUS_RECOVER_H
#define FANFARE_CONSENSUS_RECOVER_H

#include <stdio.h>

/* Tell the node whose data directory `dir` is to go on alone at its next start, as a new cluster with
 * a new id that keeps the members, the partitions and all that is in its log. Says on `out` what that
 * means. The caller holds the directory's lock and has found its log whole. Returns the exit code: 0,
 * or 1 if nothing was changed: the node is no member of a cluster. Thread: any; blocks. */
int recover_force(const char *dir, FILE *out);

#endif
