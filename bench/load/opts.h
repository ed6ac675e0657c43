/* opts: what one run of the load generator does, as read from its command line.
 * Always: after opts_parse the values are in range and fit together. */
#ifndef LOAD_OPTS_H
#define LOAD_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names.h"

enum proto { PROTO_RESP2, PROTO_RESP3, PROTO_NATS };

/* Who subscribes to what: every subscriber to all channels, or the channels dealt out in turn. */
enum layout { LAYOUT_ALL, LAYOUT_SPREAD };

#define LIST_MAX 16U

/* Numbers of one option, divided by commas. */
struct list {
    uint32_t count;
    uint32_t number[LIST_MAX];
};

struct opts {
    uint32_t proto;  /* enum proto */
    uint32_t layout; /* enum layout */
    const char *host;
    uint32_t port;
    struct list publish_ports;   /* the publishers take them in turn; empty: port */
    struct list subscribe_ports; /* the subscribers likewise */
    struct list pids;            /* of the server's processes; empty: report nothing of its own */
    uint32_t publisher_count;
    uint32_t subscriber_count;
    uint32_t slow_count;  /* of the subscribers: the last ones, which never read */
    uint32_t judge_count; /* of the subscribers: the first ones, judged; the rest only counted */
    uint32_t channel_count;
    uint32_t
        shard_count; /* 0: plain. Else sharded, and connection i stays with channels i modulo it */
    const char *names_path; /* a file that says what each channel is called; empty: by its number */
    const struct names *names;
    uint32_t payload_bytes;
    uint32_t batch_count;  /* PUBLISHes a publisher sends before it waits for all their replies */
    uint32_t window_count; /* publishes whose deliveries may be under way; 0: chosen */
    uint32_t rate_per_s;   /* publishes per second, all publishers together; 0: closed loop */
    uint32_t match_count;  /* pattern subscriptions that match every channel */
    uint32_t miss_count;   /* pattern subscriptions that match none */
    uint32_t pattern_conn_max; /* connections that share the patterns, for each of the two kinds */
    uint32_t pause_ms;         /* between the last subscription and the first publish */
    uint32_t warmup_ms;
    uint32_t measure_ms;
    uint32_t message_max; /* publish this many and stop; 0: stop by the clock */
    uint32_t settle_ms;   /* idle: how long to wait for the server's memory to stand still */
    uint32_t idle;        /* 1: subscribe, publish nothing, measure memory per connection */
    uint32_t loose;       /* 1: a publish may count some receivers only, and orders may differ */
    uint32_t handshakes;  /* 1: connect and leave, again and again; each counts as a publish */
    uint32_t tls;         /* 1: every connection is encrypted */
    uint32_t json;        /* 1: one JSON object per run in place of the line for people */
    uint32_t self_test;   /* 1: feed planted faults to the checks, no server needed */
    const char *label;
};

/* Fill `opts` from the command line. Prints the help and exits 0 on --help; names a wrong option, its
 * value and the allowed range and exits with EXIT_BAD_OPTION. Borrows: argv, for the whole run. */
void opts_parse(struct opts *opts, int argc, char **argv);

/* The values of an empty command line, for the self-test. */
void opts_default(struct opts *opts);

/* The word of the command line for a protocol. */
const char *opts_proto_name(enum proto proto);

#endif
