/* plan: the arithmetic of who receives what. */
#include "plan.h"

struct holding plan_subscriber(const struct opts *opts, uint32_t index)
{
    uint32_t channels = opts->channel_count;
    uint32_t subscribers = opts->subscriber_count;
    if (opts->layout == LAYOUT_ALL) {
        return (struct holding){SUB_CHANNEL, .first = 0, .step = 1, .count = channels};
    }
    if (channels < subscribers) {
        return (struct holding){SUB_CHANNEL, .first = index % channels, .step = 1, .count = 1};
    }
    uint32_t count = (channels - index + subscribers - 1) / subscribers;
    return (struct holding){SUB_CHANNEL, .first = index, .step = subscribers, .count = count};
}

static uint32_t pattern_count(const struct opts *opts, enum sub_kind kind)
{
    return kind == SUB_MATCH ? opts->match_count : opts->miss_count;
}

uint32_t plan_pattern_conns(const struct opts *opts, enum sub_kind kind)
{
    uint32_t patterns = pattern_count(opts, kind);
    return patterns < opts->pattern_conn_max ? patterns : opts->pattern_conn_max;
}

struct holding plan_patterns(const struct opts *opts, enum sub_kind kind, uint32_t index)
{
    uint32_t conns = plan_pattern_conns(opts, kind);
    uint32_t count = (pattern_count(opts, kind) - index + conns - 1) / conns;
    return (struct holding){kind, .first = index, .step = conns, .count = count};
}

/* Where a publisher begins its round. */
static uint32_t start_of(const struct opts *opts, uint32_t publisher)
{
    return (uint32_t)((uint64_t)publisher * opts->channel_count / opts->publisher_count);
}

uint32_t plan_channel(const struct opts *opts, uint32_t publisher, uint64_t nth)
{
    return (uint32_t)((start_of(opts, publisher) + nth) % opts->channel_count);
}

uint64_t plan_sent_to(const struct opts *opts, uint32_t publisher, uint32_t channel, uint64_t sent)
{
    uint32_t channels = opts->channel_count;
    uint32_t position = (channel + channels - start_of(opts, publisher)) % channels;
    return sent > position ? (sent - position + channels - 1) / channels : 0;
}

/* Of subscribers 0..count-1, how many have the channel. */
static uint32_t holders_among(const struct opts *opts, uint32_t channel, uint32_t count)
{
    if (opts->layout == LAYOUT_ALL) { return count; }
    if (opts->channel_count < opts->subscriber_count) {
        return count > channel ? (count - channel - 1) / opts->channel_count + 1 : 0;
    }
    return channel % opts->subscriber_count < count ? 1 : 0;
}

uint32_t plan_receivers(const struct opts *opts, uint32_t channel, bool with_slow)
{
    uint32_t readers = opts->subscriber_count - (with_slow ? 0 : opts->slow_count);
    if (opts->subscriber_count == 0) { return opts->match_count; }
    return holders_among(opts, channel, readers) + opts->match_count;
}
