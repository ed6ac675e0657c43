/* run: one measurement from the first connection to the last check. */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "report.h"

/* Publish and deliver as `opts` say, checking everything; fills `report` and `tally`. */
void run_load(const struct opts *opts, struct tally *tally, struct report *report);

/* Subscribe, publish nothing, wait until the server's memory stands still; fills `report`. */
void run_idle(const struct opts *opts, struct tally *tally, struct report *report);

/* Connect, ask once and leave, again and again for measure_ms; fills `report`. */
void run_handshakes(const struct opts *opts, struct report *report);

#endif
