/* resp_feed: runs a parser over a stream that arrives in pieces, and writes down what it says. Each
 * piece arrives in a new block of exactly the bytes not yet consumed, and the block before it is
 * freed, so that AddressSanitizer sees a parser that reads too far or keeps an address. */
#ifndef FANFARE_TESTS_LIB_RESP_FEED_H
#define FANFARE_TESTS_LIB_RESP_FEED_H

#include "base/buf.h"
#include "base/mem.h"
#include "resp/resp_parse.h"

struct resp_feed {
    struct resp_parser *parser;
    const struct resp_limits *limits;
    struct buf story; /* one line for each request, the error, or the bytes left over */
    char *held;       /* received and not consumed */
    size_t held_bytes;
    size_t expected_max; /* the most that was expected of the request that is unfinished */
    bool has_failed;
};

/* One request: "<argc>" and for each argument " <length>:<bytes>". */
static inline void resp_story_request(struct buf *story, const struct slice *argv, uint32_t argc)
{
    buf_append_uint(story, argc);
    for (uint32_t i = 0; i < argc; i++) {
        buf_append_str(story, " ");
        buf_append_uint(story, argv[i].len);
        buf_append_str(story, ":");
        buf_append(story, argv[i]);
    }
    buf_append_str(story, "\n");
}

static inline void resp_story_end(struct buf *story, size_t left_bytes)
{
    buf_append_str(story, "left ");
    buf_append_uint(story, left_bytes);
    buf_append_str(story, "\n");
}

static inline void resp_feed_init(struct resp_feed *feed, const struct resp_limits *limits)
{
    *feed = (struct resp_feed){.parser = resp_parser_new(), .limits = limits};
}

static inline void resp_feed_fini(struct resp_feed *feed)
{
    resp_parser_free(feed->parser);
    buf_fini(&feed->story);
    mem_free(feed->held);
}

/* Consume one request from `input`. False if it takes more bytes, or no more are wanted. */
static inline bool resp_feed_one(struct resp_feed *feed, struct slice input, size_t *used)
{
    switch (resp_parse(feed->parser, input, feed->limits)) {
    case RESP_REQUEST:
        *used = resp_bytes(feed->parser);
        CHECK(*used > 0 && *used <= input.len);
        CHECK(*used >= feed->expected_max);
        feed->expected_max = 0;
        resp_story_request(&feed->story, resp_argv(feed->parser), resp_argc(feed->parser));
        return true;
    case RESP_ERROR:
        buf_append_str(&feed->story, resp_error_text(feed->parser));
        buf_append_str(&feed->story, "\n");
        feed->has_failed = true;
        return false;
    case RESP_INCOMPLETE:
        CHECK(resp_bytes_expected(feed->parser) > input.len);
        CHECK(resp_bytes_expected(feed->parser) >= feed->expected_max);
        feed->expected_max = input.len > 0 ? resp_bytes_expected(feed->parser) : 0;
        return false;
    }
    UNREACHABLE();
}

static inline void resp_feed_piece(struct resp_feed *feed, struct slice piece)
{
    if (feed->has_failed) { return; }
    size_t bytes = feed->held_bytes + piece.len;
    char *block = mem_new(bytes > 0 ? bytes : 1);
    if (feed->held_bytes > 0) { memcpy(block, feed->held, feed->held_bytes); }
    if (piece.len > 0) { memcpy(block + feed->held_bytes, piece.data, piece.len); }
    mem_free(feed->held);
    size_t at = 0;
    size_t used = 0;
    while (resp_feed_one(feed, slice_of(block + at, bytes - at), &used)) {
        at += used;
    }
    feed->held = mem_copy(block + at, bytes - at);
    feed->held_bytes = bytes - at;
    mem_free(block);
}

/* The stream is over: what is left over belongs to the story. */
static inline struct slice resp_feed_end(struct resp_feed *feed)
{
    if (!feed->has_failed) { resp_story_end(&feed->story, feed->held_bytes); }
    return buf_slice(&feed->story);
}

#endif
