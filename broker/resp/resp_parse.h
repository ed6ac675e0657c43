/* resp_parse: incremental parser of client requests: RESP arrays of bulk strings, and inline
 * commands. What is accepted and what an error says is what Redis 7.0 does, byte for byte.
 * Owns: the argument array, and inline arguments that were quoted. Not: the input bytes; they stay
 * with the caller, who presents the same request again from its first byte, at any address, with
 * more bytes behind it. What has been scanned is not scanned again: a call costs what the bytes
 * since the last one cost, however long the request is.
 * Between requests it holds nothing: one parser may serve many connections in turn, and only a
 * connection whose request is unfinished needs the parser to itself until that request is whole.
 * Allocates nothing per argument, and nothing on a client's mere announcement.
 * Thread: whoever owns the struct. */
#ifndef FANFARE_RESP_RESP_PARSE_H
#define FANFARE_RESP_RESP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct resp_limits {
    size_t inline_bytes_max; /* an inline request, or a length line: Redis has 64 KiB */
    size_t bulk_bytes_max;   /* one argument: proto-max-bulk-len */
    uint32_t args_count_max; /* of a RESP request: Redis 7.0 has INT32_MAX, 6.2 had 1024 * 1024 */
    bool is_unauthenticated; /* RESP_UNAUTHENTICATED_* hold besides, with errors of their own */
};

/* Until a client has authenticated (CVE-2021-32675). They hold for RESP only, as in Redis. */
enum { RESP_UNAUTHENTICATED_ARGS_MAX = 10, RESP_UNAUTHENTICATED_BULK_BYTES_MAX = 16 * 1024 };

/* Redis's limits for a client that has not authenticated. */
extern const struct resp_limits resp_limits_unauthenticated;

enum resp_status {
    RESP_INCOMPLETE, /* more bytes are needed */
    RESP_REQUEST,    /* argc, argv, bytes describe it; argc may be 0 (empty line, "*0") */
    RESP_ERROR,      /* error_text says why; the connection cannot go on */
};

struct resp_parser; /* opaque: one is about 100 bytes plus its argument array */

/* Gives: a parser; free with resp_parser_free (which accepts NULL). */
MUST_USE struct resp_parser *resp_parser_new(void);
void resp_parser_free(struct resp_parser *parser);

/* Parse one request from the start of `input`.
 * After RESP_INCOMPLETE the next call goes on with the same request: input.data[0] is its first
 * byte again, and nothing is missing that was there before. After anything else, and after
 * RESP_INCOMPLETE for an empty input, the next call begins a new request; beginning one, for which
 * an empty input is enough, also gives back the memory that a giant request has left behind.
 * Borrows: input and limits for the call; slices in argv point into input or into the parser. */
MUST_USE enum resp_status resp_parse(struct resp_parser *parser, struct slice input,
                                     const struct resp_limits *limits);

/* Valid after RESP_REQUEST, until the next resp_parse. */
uint32_t resp_argc(const struct resp_parser *parser);
const struct slice *resp_argv(const struct resp_parser *parser); /* may be NULL if argc is 0 */
size_t resp_bytes(const struct resp_parser *parser); /* length of the request in the input */

/* Valid after RESP_ERROR, until the next resp_parse: "Protocol error: ...", without a code before
 * it. It may quote one byte of the client's, also CR or LF, of which reply_error makes spaces. */
const char *resp_error_text(const struct resp_parser *parser);

/* After RESP_INCOMPLETE: a lower bound of the whole request's length, and more than there is now,
 * so that the caller can size its buffer once for a large argument. It believes the announced
 * length of the argument that is arriving, which the limits allow, but not the announced number of
 * arguments. */
size_t resp_bytes_expected(const struct resp_parser *parser);

#endif
