/* plan: the arithmetic of who receives what. */
#include "plan.h"

struct holding plan_subscriber(const struct opts *opts, uint32_t index)
{
    uint32_t channels = opts->channel_count;
    uint32_t subscribers = opts->subscriber_count;
    uint32_t groups = plan_groups(opts);
    if (opts->layout == LAYOUT_ALL) {
        enum sub_kind kind = opts->shard_count == 0 ? SUB_CHANNEL : SUB_SHARD;
        return (struct holding){kind, index % groups, .step = groups, .count = plan_share(opts)};
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

/* Where in its round a publisher begins. */
static uint32_t start_of(const struct opts *opts, uint32_t publisher)
{
    return (uint32_t)((uint64_t)publisher * plan_share(opts) / opts->publisher_count);
}

uint32_t plan_channel(const struct opts *opts, uint32_t publisher, uint64_t nth)
{
    uint32_t groups = plan_groups(opts);
    uint32_t position = (uint32_t)((start_of(opts, publisher) + nth) % plan_share(opts));
    return position * groups + publisher % groups;
}

uint64_t plan_sent_to(const struct opts *opts, uint32_t publisher, uint32_t channel, uint64_t sent)
{
    uint32_t groups = plan_groups(opts);
    uint32_t share = plan_share(opts);
    uint32_t position = (channel / groups + share - start_of(opts, publisher)) % share;
    if (channel % groups != publisher % groups) { return 0; }
    return sent > position ? (sent - position + share - 1) / share : 0;
}

/* Of subscribers 0..count-1, how many have the channel. */
static uint32_t holders_among(const struct opts *opts, uint32_t channel, uint32_t count)
{
    uint32_t groups = plan_groups(opts);
    if (opts->layout == LAYOUT_ALL) { return (count + groups - 1 - channel % groups) / groups; }
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
