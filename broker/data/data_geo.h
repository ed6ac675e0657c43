/* data_geo: arguments and replies of the geo commands. Inside this module. */
#ifndef FANFARE_DATA_DATA_GEO_H
#define FANFARE_DATA_DATA_GEO_H

#include "data/data_geohash.h"
#include "data/data_key.h"

/* Each: false: the arguments are no good, and the reply says so. */

/* The longitude at argument `at` and the latitude behind it. */
MUST_USE bool arg_place(const struct data_call *call, uint32_t at, struct geo_place *place);
/* A unit's length in metres. */
MUST_USE bool arg_unit(const struct data_call *call, uint32_t at, double *metres);

/* The place of a member that is there. */
bool geo_member(const struct data_key *key, struct slice member, struct geo_place *place);

void geo_reply_distance(struct reply *reply, double v);
void geo_reply_place(struct reply *reply, struct geo_place place);

#endif
