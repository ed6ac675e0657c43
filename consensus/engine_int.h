/* engine_int: the engine, for its file and the tests. */
#ifndef FANFARE_CONSENSUS_ENGINE_INT_H
#define FANFARE_CONSENSUS_ENGINE_INT_H

#include "consensus/group/groups.h"

struct engine {
    struct groups groups;
    void (*on_note)(void *arg, const char *from_name, struct slice note); /* NULL: dropped */
    void *note_arg;
};

/* Simulator only: switch guards off, a bit per enum guard, for groups opened from now on. */
void engine_guards_off(struct engine *e, uint32_t mask);

#endif
