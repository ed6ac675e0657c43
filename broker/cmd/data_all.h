/* data_all: commands that concern every partition: FLUSHALL, and those on a whole database whose keys are spread by slot.
 * Thread: the session's worker. */
#ifndef FANFARE_CMD_DATA_ALL_H
#define FANFARE_CMD_DATA_ALL_H

struct call;

/* Ask every partition; the session waits. */
void data_all(struct call *call);

#endif
