/* plan: who subscribes to what, what is published where, and therefore what must arrive.
 * Pure arithmetic on the options; the sender and the checks share nothing else. */
#ifndef LOAD_PLAN_H
#define LOAD_PLAN_H

#include <stdint.h>

#include "opts.h"
#include "wire.h"

/* The subscriptions of one connection: first, first + step, ... */
struct holding {
    enum sub_kind kind;
    uint32_t first;
    uint32_t step;
    uint32_t count;
};

#define PLAN_NOT_HELD UINT32_MAX

/* The channels of subscriber `index`. */
struct holding plan_subscriber(const struct opts *opts, uint32_t index);

/* The patterns of pattern connection `index` of its kind. */
struct holding plan_patterns(const struct opts *opts, enum sub_kind kind, uint32_t index);

/* How many connections share the patterns of a kind. */
uint32_t plan_pattern_conns(const struct opts *opts, enum sub_kind kind);

/* The place of subscription `number` in the holding, or PLAN_NOT_HELD. */
static inline uint32_t plan_place(const struct holding *held, uint32_t number)
{
    if (number < held->first) { return PLAN_NOT_HELD; }
    uint32_t distance = number - held->first;
    if (held->step != 1 && distance % held->step != 0) { return PLAN_NOT_HELD; }
    uint32_t place = distance / held->step;
    return place < held->count ? place : PLAN_NOT_HELD;
}

/* Into how many groups channels and connections are divided. */
static inline uint32_t plan_groups(const struct opts *opts)
{
    return opts->shard_count == 0 ? 1 : opts->shard_count;
}

/* How many channels one publisher goes round. */
static inline uint32_t plan_share(const struct opts *opts)
{
    return opts->channel_count / plan_groups(opts);
}

/* Each publisher goes round the channels of its group, each from its own starting point. */
uint32_t plan_channel(const struct opts *opts, uint32_t publisher, uint64_t nth);

/* The sequence of its nth message on the channel that plan_channel names. */
static inline uint64_t plan_seq(const struct opts *opts, uint64_t nth)
{
    return nth / plan_share(opts);
}

/* How many of a publisher's first `sent` messages went to the channel. */
uint64_t plan_sent_to(const struct opts *opts, uint32_t publisher, uint32_t channel, uint64_t sent);

/* How many subscriptions a message to the channel reaches; the slow subscribers are counted only if
 * asked for. */
uint32_t plan_receivers(const struct opts *opts, uint32_t channel, bool with_slow);

#endif
