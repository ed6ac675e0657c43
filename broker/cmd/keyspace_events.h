/* keyspace_events: changes of keys as messages (the option notify-keyspace-events): __keyspace@<db>__:<key> with the event,
 * __keyevent@<db>__:<event> with the key. They go out from worker 0, in the order in which the partition says them.
 * Thread: as stated. */
#ifndef FANFARE_CMD_KEYSPACE_EVENTS_H
#define FANFARE_CMD_KEYSPACE_EVENTS_H

#include <stdint.h>

#include "base/slice.h"

struct broker;

/* partitions_ops.changed; `broker` is the struct broker. Thread: a store thread. */
void keyspace_events_changed(void *broker, uint16_t db, struct slice key, const char *event,
                             uint32_t class);

/* The option may have changed. Thread: any. */
void keyspace_events_set(struct broker *broker);

#endif
