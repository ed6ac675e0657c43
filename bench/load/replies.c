/* replies: the check of every answer to a publisher. */
#include "replies.h"

#include <stdlib.h>

#include "plan.h"

void replies_init(struct replies *replies, const struct opts *opts, uint32_t publisher,
                  struct tally *tally)
{
    memset(replies, 0, sizeof *replies);
    replies->opts = opts;
    replies->publisher = publisher;
    replies->tally = tally;
}

/* A slow subscriber may have been closed, so it may or may not be counted. */
static void check_count(struct replies *re, const char *text)
{
    uint32_t channel = plan_channel(re->opts, re->publisher, re->answer_count);
    uint32_t least = re->opts->loose ? 0 : plan_receivers(re->opts, channel, false);
    uint32_t most = plan_receivers(re->opts, channel, true);
    char *end = NULL;
    unsigned long long count = strtoull(text, &end, 10);
    if (*end != '\0' || count < least || count > most) {
        tally_violation(re->tally,
                        "publisher %u, channel %u: PUBLISH answered %s, receivers are %u",
                        re->publisher, channel, text, most);
    }
    re->answer_count++;
    re->tally->answered++;
}

static void judge_line(struct replies *re)
{
    const char *text = re->line.text;
    if (re->opts->proto != PROTO_NATS && text[0] == ':') {
        check_count(re, text + 1);
        return;
    }
    if (re->opts->proto == PROTO_NATS) {
        if (strcmp(text, "PONG") == 0) {
            re->answer_count++;
            re->tally->answered += re->opts->batch_count;
            return;
        }
        if (strcmp(text, "PING") == 0) {
            re->ping_count++;
            return;
        }
        if (strncmp(text, "INFO ", 5) == 0 || strcmp(text, "+OK") == 0) { return; }
    }
    tally_violation(re->tally, "publisher %u: answered %.60s", re->publisher, text);
}

void replies_feed(struct replies *re, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t taken = line_feed(&re->line, bytes, size);
        if (re->line.is_complete) { judge_line(re); }
        bytes += taken;
        size -= taken;
    }
}
