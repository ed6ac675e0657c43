/* names: which number each channel is called by. Without a file, its own; with one, the number on its
 * line, so that whoever places channels on nodes can choose them.
 * Frozen once read. Thread: any. */
#ifndef LOAD_NAMES_H
#define LOAD_NAMES_H

#include <stddef.h>
#include <stdint.h>

#define NAMES_UNKNOWN UINT32_MAX
#define NAMES_COUNT 1000000U /* of the numbers that a name can hold */

struct names {
    uint32_t *number;  /* by channel */
    uint32_t *channel; /* by number; NAMES_UNKNOWN: nobody is called so */
};

/* Read one number per line for `channel_count` channels. Gives: the caller never frees it, it lasts as
 * long as the run. Errors: an unreadable file, a missing, repeated or too large number is fatal. */
const struct names *names_read(const char *path, uint32_t channel_count);

/* Both accept NULL: every channel by its own number. */
static inline uint32_t names_number(const struct names *names, uint32_t channel)
{
    return names == NULL ? channel : names->number[channel];
}

static inline uint32_t names_channel(const struct names *names, uint32_t number)
{
    if (names == NULL) { return number; }
    return number < NAMES_COUNT ? names->channel[number] : NAMES_UNKNOWN;
}

#endif
