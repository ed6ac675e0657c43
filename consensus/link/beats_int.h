/* beats_int: the reading half of beats.c, for message.c. */
#ifndef FANFARE_CONSENSUS_BEATS_INT_H
#define FANFARE_CONSENSUS_BEATS_INT_H

#include "consensus/link/message.h"
#include "proto/raft.pb-c.h"

/* Hand over each of them as the message that it stands for. False: malformed. */
MUST_USE bool beats_decode(const Fanfare__Raft__Beats *wire, const struct message_handler *handler,
                           void *arg);

#endif
