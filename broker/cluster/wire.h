/* wire: frames of the peer link (proto/peer.proto) to structs and back; size limits.
 * Decoding copies nothing but what protobuf-c needs, and never a Publish's or Deliver's data: into an arena,
 * emptied by each call. Thread: any; a decoder is one thread's. */
#ifndef FANFARE_CLUSTER_WIRE_H
#define FANFARE_CLUSTER_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"
#include "partition/partition.h"
#include "pubsub/directory.h"

enum {
    WIRE_VERSION = 1,
    WIRE_FEATURES = 0,
    WIRE_HEAD_BYTES = 4,
    /* What follows the length: a message of proto-max-bulk-len, and its head. The sender splits a run that
     * would be longer, and refuses a message that is. */
    WIRE_FRAME_BYTES_MAX = (512 << 20) + (1 << 20),
    WIRE_RUN_BYTES_MAX = WIRE_FRAME_BYTES_MAX - 256, /* of `data` */
    /* Entries and tail together, or names, or counts, of one frame: the sender sends several. */
    WIRE_ITEMS_MAX = 32768,
    WIRE_WORDS_MAX = 4 << 20, /* of all calls of one frame */
};

enum wire_type {
    WIRE_HELLO,
    WIRE_PING,
    WIRE_PUBLISH,
    WIRE_INTEREST,
    WIRE_SYNC,
    WIRE_QUERY,
    WIRE_PUBLISHED,
    WIRE_QUERY_ANSWER,
    WIRE_DELIVER,
    WIRE_INTEREST_ACK,
    WIRE_END,
    WIRE_READY,
    WIRE_ASK_END,
    WIRE_COMMAND,
    WIRE_EXECUTED,
    WIRE_UNPARK,
    WIRE_LEADS,
    WIRE_ASK_LEADS,
};

enum wire_status { WIRE_DONE, WIRE_NOT_OWNER, WIRE_INDOUBT };
enum wire_query_what {
    WIRE_QUERY_NAMES = 1,
    WIRE_QUERY_COUNTS = 2,
    WIRE_QUERY_REFUSALS = 3,
    WIRE_QUERY_FORGET_REFUSALS = 4,
};

struct wire_hello {
    uint32_t version;
    uint32_t features;
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t incarnation;
    uint64_t to_node_id;
    bool is_lane;
    uint32_t worker;
    uint32_t worker_count;
};

/* Publish and Deliver. `data`: a subscriber's RESP2 frames of one channel. */
struct wire_run {
    uint64_t id; /* Publish */
    uint32_t partition;
    uint64_t epoch;
    uint64_t seq; /* Deliver, and the next two */
    uint64_t stable;
    bool is_recovered;
    enum topic_kind kind; /* never TOPIC_PATTERN */
    uint32_t count;
    struct slice data;
    size_t
        prefix_bytes; /* of each frame in data, as msg_check tells it; set by wire_decode, else unused */
};

struct wire_published {
    uint64_t id;
    enum wire_status status;
    uint64_t receivers;
};

struct wire_interest {
    uint64_t id;
    uint32_t partition;
    uint64_t epoch;
    enum topic_kind kind;
    struct slice name;
    int32_t change;
    uint64_t snapshot;
};

struct wire_interest_ack {
    uint64_t id;
    uint32_t partition;
    uint64_t epoch;
    enum topic_kind kind;
    const uint64_t *seq; /* as peer.proto says */
    size_t seq_count;
};

struct wire_sync_entry {
    enum topic_kind kind;
    struct slice name;
    uint32_t count;
};

struct wire_sync {
    uint32_t partition;
    uint64_t epoch;
    bool is_patterns;
    bool is_first;
    bool is_last;
    uint64_t seq;
    uint64_t tail_from;
    const struct wire_sync_entry *entry;
    size_t entry_count;
    const struct wire_run *tail;
    size_t tail_count;
    uint64_t snapshot;
    bool is_fence;
};

struct wire_ask_end {
    uint32_t partition;
    uint64_t epoch;
};

struct wire_end {
    uint32_t partition;
    uint64_t epoch;
    uint64_t seq;
};

struct wire_ready {
    uint32_t partition;
    uint64_t epoch;
    bool is_missed;
    uint64_t seq;
    uint64_t snapshot;
    bool is_fence;
};

struct wire_query {
    uint64_t id;
    enum wire_query_what what;
    enum topic_kind kind;
    bool has_pattern;
    struct slice pattern;
    const struct slice *name;
    size_t name_count;
    uint32_t limit;
};

struct wire_query_answer {
    uint64_t id;
    bool is_last;
    enum wire_status status;
    const struct slice *name;
    size_t name_count;
    const uint64_t *count;
    size_t count_count;
};

struct wire_command {
    uint64_t id;
    uint32_t partition;
    uint64_t term;
    enum partition_ask ask;
    uint64_t seq;
    uint64_t acked_low;
    const uint64_t *acked;
    uint32_t acked_count;
    uint64_t ticket;
    const uint32_t *wait_key; /* each below the first call's argc */
    uint32_t wait_key_count;
    bool is_lent;
    uint8_t resp_version;
    const struct partition_check *check;
    uint32_t check_count;
    const struct partition_call *call;
    uint32_t call_count;
};

enum wire_outcome {
    WIRE_EXECUTED_OK,
    WIRE_ABORTED,
    WIRE_UNPARKED,
    WIRE_NOT_LEADER,
    WIRE_SLOW,
    WIRE_UNKNOWN,
    WIRE_FULL,
    WIRE_ANSWER_LOST,
    WIRE_REFUSED,
};

struct wire_executed {
    uint64_t id;
    enum wire_outcome outcome;
    const uint32_t
        *reply_end; /* ascending; the last one is the whole reply's length; with its last piece */
    uint32_t reply_end_count;
    const uint64_t *version;
    uint32_t version_count;
    struct slice reply;
    uint64_t reply_before; /* bytes that came before this piece, */
    uint64_t
        reply_left; /* and those that follow in frames of their own; with none in front, at most
                              WIRE_RUN_BYTES_MAX together */
};

struct wire_unpark {
    uint32_t partition;
    uint64_t seq;
};

struct wire_leads {
    uint32_t partition;
    uint64_t term; /* not of WIRE_ASK_LEADS */
};

struct wire_frame {
    enum wire_type type;
    union {
        struct wire_hello hello;
        struct wire_run publish;
        struct wire_interest interest;
        struct wire_sync sync;
        struct wire_query query;
        struct wire_published published;
        struct wire_query_answer answer;
        struct wire_run deliver;
        struct wire_interest_ack interest_ack;
        struct wire_end end;
        struct wire_ready ready;
        struct wire_ask_end ask_end;
        struct wire_command command;
        struct wire_executed executed;
        struct wire_unpark unpark;
        struct wire_leads leads; /* and of WIRE_ASK_LEADS */
    };
};

/* Append a whole frame, length first. Its length and its items are within the limits above. */
void wire_encode(struct buf *out, const struct wire_frame *frame);

/* The same for WIRE_PUBLISH and WIRE_DELIVER, but for the bytes of `data` (at least one), which the caller
 * sends right behind: the frame's length counts them. Of `data` only the length is read. */
void wire_encode_head(struct buf *out, const struct wire_frame *frame);

/* Of WIRE_COMMAND and the types behind it: how long the frame is, its length included; more than WIRE_HEAD_BYTES +
 * WIRE_FRAME_BYTES_MAX: it must not be sent. And writing it; returns its end. */
size_t wire_frame_bytes(const struct wire_frame *frame);
char *wire_put(char *at, const struct wire_frame *frame);
/* Gives: the frame in a block of its own. */
MUST_USE struct span wire_span(const struct wire_frame *frame);

/* A decoder with its arena; one per worker. */
struct wire_decoder;
MUST_USE struct wire_decoder *wire_decoder_new(void);
void wire_decoder_free(struct wire_decoder *decoder); /* NULL is allowed */

enum wire_result { WIRE_OK, WIRE_INCOMPLETE, WIRE_GARBAGE };

/* Decode the frame at the start of `input`; *bytes: its whole length (set also for WIRE_INCOMPLETE once the
 * length is known: a hint for the reader; else 0). Everything in *out points into input or the arena, until
 * the next call. Checked: lengths, kinds, states, and that a run's data is exactly `count` well-formed frames
 * of one channel (msg_check). Not: whether a partition or node of that number exists. A frame that says
 * nothing this version knows is a WIRE_PING: whoever sent it can do without an effect. */
enum wire_result wire_decode(struct wire_decoder *decoder, struct slice input,
                             struct wire_frame *out, size_t *bytes);

#endif
