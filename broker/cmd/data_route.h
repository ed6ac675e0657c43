/* data_route: which partition a data command is for. A database is whole, and in one partition, unless the option
 * sharded-databases names it: then its keys are spread by slot, and a command has those of one slot.
 * Thread: any. */
#ifndef FANFARE_CMD_DATA_ROUTE_H
#define FANFARE_CMD_DATA_ROUTE_H

#include "base/buf.h"
#include "cmd/broker.h"
#include "cmd/command.h"

enum { DATABASES = 16 };

struct data_place {
    uint32_t partition;
    uint32_t slot; /* in a whole database: SLOT_COUNT */
};

enum data_route {
    DATA_ONE,     /* *place */
    DATA_ALL,     /* it concerns every partition */
    DATA_REFUSED, /* *why, an error reply's text, says why */
};

/* Where a call of a command with CMD_DATA goes, of a client with that database. Arguments that make no sense go somewhere, to
 * be refused by the handler. */
enum data_route data_route(const struct broker *broker, const struct command *command,
                           const struct slice *argv, uint32_t argc, uint16_t database,
                           struct data_place *place, struct buf *why);

/* The place of one key. */
struct data_place data_place_of(const struct broker *broker, uint16_t database, struct slice key);
/* The partition that has the keys of a slot. */
uint32_t data_slot_partition(const struct broker *broker, uint16_t database, uint32_t slot);

static inline bool data_is_sharded(const struct broker *broker, uint16_t database)
{
    return (broker->sharded_databases >> database & 1) != 0;
}

/* A database by its number in an argument. False: it is none. */
bool data_arg_database(struct slice text, uint16_t *database);

#endif
