/* data_expiry: deadlines as arguments give them: EX, PX, EXAT, PXAT. Inside this module. */
#ifndef FANFARE_DATA_DATA_EXPIRY_H
#define FANFARE_DATA_DATA_EXPIRY_H

#include "data/data_call.h"

struct expiry_unit {
    bool is_seconds;
    bool is_at; /* a moment, not a span from now on */
};

/* EX, PX, EXAT or PXAT with a value behind it. False: argument `i` is none of them. */
bool arg_is_expiry(const struct data_call *call, uint32_t i, struct expiry_unit *unit);

/* Argument `i` as a deadline in ms. It is above 0; it may have passed. False: it is no good, and the reply says so. */
MUST_USE bool arg_expiry(const struct data_call *call, uint32_t i, struct expiry_unit unit,
                         uint64_t *at_ms);

#endif
