/* due: the groups by when they want a tick. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_DUE_H
#define FANFARE_CONSENSUS_DUE_H

#include <stdint.h>

struct group;
struct groups;

void due_add(struct groups *all, struct group *g);
void due_remove(struct groups *all, struct group *g);
/* It may want one earlier than it is filed, as after any step: before the turn ends. */
void due_note(struct groups *all, struct group *g);
uint64_t due_next_ms(const struct groups *all); /* UINT64_MAX: never */
void due_tick(struct groups *all, uint64_t now_ms);
void due_fini(struct groups *all);

#endif
