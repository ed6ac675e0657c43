/* selftest: traffic written here, independently of any server, with one fault planted in it at a time.
 * Two publishers, three channels, a subscriber of all of them. A fault that the checks let through is
 * a failure, and so is clean traffic that they object to. */
#include "selftest.h"

#include "fatal.h"
#include "replies.h"
#include "stream.h"

#define PUBLISHERS 2U
#define CHANNELS 3U
#define SENT_EACH 21U
#define MESSAGES (PUBLISHERS * SENT_EACH)
#define PAYLOAD_MAX 3000U

enum fault {
    FAULT_NONE,
    FAULT_LOST,
    FAULT_LAST_LOST,
    FAULT_REPEATED,
    FAULT_REORDERED,
    FAULT_FOREIGN_CHANNEL,
    FAULT_FOREIGN_SUBSCRIPTION,
    FAULT_FOREIGN_PUBLISHER,
    FAULT_DAMAGED_HEAD,
    FAULT_DAMAGED_STAMP,
    FAULT_DAMAGED_BODY,
    FAULT_DAMAGED_TAIL,
    FAULT_BODY_OF_ANOTHER,
    FAULT_BYTE_MISSING,
    FAULT_BYTE_ADDED,
    FAULT_HALF_AT_END,
    FAULT_ERROR_LINE,
    FAULTS,
};

static const char *const fault_names[FAULTS] = {
    [FAULT_NONE] = "clean traffic",
    [FAULT_LOST] = "a lost message",
    [FAULT_LAST_LOST] = "a lost last message",
    [FAULT_REPEATED] = "a repeated message",
    [FAULT_REORDERED] = "two messages of a publisher exchanged",
    [FAULT_FOREIGN_CHANNEL] = "a channel not subscribed to",
    [FAULT_FOREIGN_SUBSCRIPTION] = "a subscription of another connection",
    [FAULT_FOREIGN_PUBLISHER] = "a publisher that does not exist",
    [FAULT_DAMAGED_HEAD] = "a damaged head",
    [FAULT_DAMAGED_STAMP] = "a damaged stamp",
    [FAULT_DAMAGED_BODY] = "a damaged body",
    [FAULT_DAMAGED_TAIL] = "a damaged end",
    [FAULT_BODY_OF_ANOTHER] = "the body of another message",
    [FAULT_BYTE_MISSING] = "a missing byte",
    [FAULT_BYTE_ADDED] = "an added byte",
    [FAULT_HALF_AT_END] = "half a message at the end",
    [FAULT_ERROR_LINE] = "an error in between",
};

struct message {
    uint32_t channel;
    uint32_t number; /* of the subscription that it is delivered for */
    uint64_t stamp;
    uint64_t body_stamp; /* whose filler it carries */
};

/* One case: what is sent, how, and the check that it is fed to. */
struct trial {
    struct opts opts;
    enum sub_kind kind;
    enum fault fault;
    size_t split_bytes; /* fed in pieces of this size */
    struct stream_spec spec;
    struct stream stream;
    struct tally *tally;
    char *filler;
    struct message messages[MESSAGES + 1];
    uint32_t message_count;
    char *bytes;
    size_t size;
};

/* What the two publishers send, one after the other. */
static void write_script(struct trial *t)
{
    t->message_count = 0;
    for (uint64_t nth = 0; nth < SENT_EACH; nth++) {
        for (uint32_t p = 0; p < PUBLISHERS; p++) {
            uint64_t stamp = stamp_make(p, plan_seq(&t->opts, nth));
            uint32_t channel = plan_channel(&t->opts, p, nth);
            uint32_t number = t->kind == SUB_MATCH ? 0 : channel;
            t->messages[t->message_count++] = (struct message){channel, number, stamp, stamp};
        }
    }
}

static void remove_message(struct trial *t, uint32_t index)
{
    t->message_count--;
    for (uint32_t i = index; i < t->message_count; i++) {
        t->messages[i] = t->messages[i + 1];
    }
}

/* The two messages lie a round of the channels apart: same publisher, same channel. */
static void exchange_messages(struct trial *t, uint32_t index, uint32_t distance)
{
    struct message first = t->messages[index];
    t->messages[index] = t->messages[index + distance];
    t->messages[index + distance] = first;
}

static void plant_in_script(struct trial *t)
{
    struct message *middle = &t->messages[MESSAGES / 2];
    switch (t->fault) {
    case FAULT_LOST: remove_message(t, MESSAGES / 2); break;
    case FAULT_LAST_LOST: remove_message(t, MESSAGES - 1); break;
    case FAULT_REPEATED:
        t->messages[t->message_count++] = *middle; /* later than the ones that follow it */
        break;
    case FAULT_REORDERED: exchange_messages(t, 4, PUBLISHERS * CHANNELS); break;
    case FAULT_FOREIGN_CHANNEL: middle->channel = CHANNELS; break;
    case FAULT_FOREIGN_SUBSCRIPTION: middle->number++; break;
    case FAULT_FOREIGN_PUBLISHER: middle->stamp = stamp_make(PUBLISHERS, 0); break;
    case FAULT_BODY_OF_ANOTHER: middle->body_stamp = t->messages[3].stamp; break;
    case FAULT_NONE:
    case FAULT_DAMAGED_HEAD:
    case FAULT_DAMAGED_STAMP:
    case FAULT_DAMAGED_BODY:
    case FAULT_DAMAGED_TAIL:
    case FAULT_BYTE_MISSING:
    case FAULT_BYTE_ADDED:
    case FAULT_HALF_AT_END:
    case FAULT_ERROR_LINE:
    case FAULTS: break;
    }
}

static void write_message(struct trial *t, const struct message *message)
{
    const struct frame *frame = &t->spec.frame;
    char *at = t->bytes + t->size;
    char *payload = at + frame->head_bytes;
    memcpy(at, frame->head, frame->head_bytes);
    wire_digits_write(at + frame->channel_at, message->channel);
    if (frame->number_at != 0) { wire_digits_write(at + frame->number_at, message->number); }
    payload_write(payload, frame->payload_bytes, t->filler, message->body_stamp, 0);
    letters_write(payload, message->stamp);
    memcpy(at + frame->total_bytes - 2, "\r\n", 2);
    t->size += frame->total_bytes;
}

static void insert_bytes(struct trial *t, size_t at, const char *bytes, size_t size)
{
    memmove(t->bytes + at + size, t->bytes + at, t->size - at);
    memcpy(t->bytes + at, bytes, size);
    t->size += size;
}

static void plant_in_bytes(struct trial *t)
{
    const struct frame *frame = &t->spec.frame;
    size_t middle = (size_t)frame->total_bytes * (MESSAGES / 2);
    char *frame_at = t->bytes + middle;
    switch (t->fault) {
    case FAULT_DAMAGED_HEAD: frame_at[2] ^= 1; break;
    case FAULT_DAMAGED_STAMP: frame_at[frame->head_bytes + 5] = 'z'; break;
    case FAULT_DAMAGED_BODY: frame_at[frame->total_bytes - 3] ^= 1; break;
    case FAULT_DAMAGED_TAIL: frame_at[frame->total_bytes - 1] = ' '; break;
    case FAULT_BYTE_MISSING:
        memmove(frame_at + 9, frame_at + 10, t->size - middle - 10);
        t->size--;
        break;
    case FAULT_BYTE_ADDED: insert_bytes(t, middle + frame->head_bytes, "a", 1); break;
    case FAULT_HALF_AT_END: t->size -= 5; break;
    case FAULT_ERROR_LINE: insert_bytes(t, middle, "-ERR 'odd'\r\n", 12); break;
    case FAULT_NONE:
    case FAULT_LOST:
    case FAULT_LAST_LOST:
    case FAULT_REPEATED:
    case FAULT_REORDERED:
    case FAULT_FOREIGN_CHANNEL:
    case FAULT_FOREIGN_SUBSCRIPTION:
    case FAULT_FOREIGN_PUBLISHER:
    case FAULT_BODY_OF_ANOTHER:
    case FAULTS: break;
    }
}

static void feed(struct trial *t)
{
    const uint64_t sent[PUBLISHERS] = {SENT_EACH, SENT_EACH};
    for (size_t at = 0; at < t->size; at += t->split_bytes) {
        size_t rest = t->size - at;
        /* A piece of its own, so that a read beyond its end is seen by the sanitizers. */
        size_t size = rest < t->split_bytes ? rest : t->split_bytes;
        char *piece = alloc_or_die(size, 1);
        memcpy(piece, t->bytes + at, size);
        stream_feed(&t->stream, piece, size);
        free(piece);
    }
    stream_finish(&t->stream, sent);
}

static void write_traffic(struct trial *t)
{
    t->size = 0;
    for (uint32_t i = 0; i < t->message_count; i++) {
        write_message(t, &t->messages[i]);
    }
    plant_in_bytes(t);
}

static void begin_trial(struct trial *t)
{
    struct holding held = {t->kind, .first = 0, .step = 1};
    held.count = t->kind == SUB_MATCH ? 1 : t->opts.channel_count;
    t->filler = filler_new(PAYLOAD_MAX);
    t->tally = alloc_or_die(1, sizeof *t->tally);
    t->tally->is_quiet = true;
    t->bytes = alloc_or_die(MESSAGES + 2, PAYLOAD_MAX + WIRE_HEAD_MAX + 2);
    stream_spec_init(&t->spec, &t->opts, t->kind, t->filler);
    stream_init(&t->stream, &t->spec, held, 0, t->tally);
    write_script(t);
}

static void end_trial(struct trial *t)
{
    stream_fini(&t->stream);
    free(t->bytes);
    free(t->tally);
    free(t->filler);
}

/* Damage needs a filler to be done to, and a foreign subscription a frame that names it. */
static bool has_place_for(const struct trial *t, enum fault fault)
{
    bool has_body = t->opts.payload_bytes > payload_lead_bytes(t->opts.payload_bytes);
    bool has_number = t->kind == SUB_MATCH || t->opts.proto == PROTO_NATS;
    bool needs_body = fault == FAULT_DAMAGED_BODY || fault == FAULT_BODY_OF_ANOTHER;
    bool needs_number = fault == FAULT_FOREIGN_SUBSCRIPTION;
    return (has_body || !needs_body) && (has_number || !needs_number);
}

static bool run_trial(struct trial *t)
{
    if (!has_place_for(t, t->fault)) { return true; }
    begin_trial(t);
    plant_in_script(t);
    write_traffic(t);
    feed(t);
    bool is_noticed = t->tally->violation_count > 0;
    bool is_right =
        is_noticed == (t->fault != FAULT_NONE) && (is_noticed || t->tally->delivered == MESSAGES);
    if (!is_right) {
        printf("self-test: %s: %s, %s, payload %u, pieces of %zu: %llu violations\n",
               fault_names[t->fault], opts_proto_name(t->opts.proto),
               t->kind == SUB_MATCH ? "pattern" : "channel", t->opts.payload_bytes, t->split_bytes,
               (unsigned long long)t->tally->violation_count);
    }
    end_trial(t);
    return is_right;
}

static struct opts trial_opts(enum proto proto, uint32_t payload_bytes)
{
    struct opts opts;
    opts_default(&opts);
    opts.proto = proto;
    opts.payload_bytes = payload_bytes;
    opts.publisher_count = PUBLISHERS;
    opts.channel_count = CHANNELS;
    opts.subscriber_count = 2;
    return opts;
}

static bool test_faults(struct trial *t)
{
    static const size_t splits[] = {1, 7, 61, 1000, 1U << 20};
    bool is_right = true;
    for (enum fault fault = FAULT_NONE; fault < FAULTS; fault++) {
        for (size_t s = 0; s < sizeof splits / sizeof splits[0]; s++) {
            t->fault = fault;
            t->split_bytes = splits[s];
            is_right &= run_trial(t);
        }
    }
    return is_right;
}

static bool test_streams(void)
{
    static const uint32_t payloads[] = {16, 31, 32, 64, PAYLOAD_MAX};
    struct trial *t = alloc_or_die(1, sizeof *t);
    bool is_right = true;
    for (enum proto proto = PROTO_RESP2; proto <= PROTO_NATS; proto++) {
        for (size_t p = 0; p < sizeof payloads / sizeof payloads[0]; p++) {
            for (enum sub_kind kind = SUB_CHANNEL; kind <= SUB_SHARD; kind++) {
                if (kind == SUB_MISS || (kind == SUB_SHARD && proto == PROTO_NATS)) { continue; }
                t->opts = trial_opts(proto, payloads[p]);
                t->kind = kind;
                is_right &= test_faults(t);
            }
        }
    }
    free(t);
    return is_right;
}

/* Two publishers' messages exchanged: each subscriber is right alone, both together are not. */
static bool test_order(bool is_exchanged)
{
    struct trial *t = alloc_or_die(1, sizeof *t);
    uint64_t orders[CHANNELS] = {0};
    uint64_t violations = 0;
    t->opts = trial_opts(PROTO_RESP3, 64);
    t->opts.channel_count = 1;
    t->split_bytes = 100;
    for (uint32_t subscriber = 0; subscriber < 2; subscriber++) {
        begin_trial(t);
        if (subscriber == 1 && is_exchanged) { exchange_messages(t, 8, 1); }
        write_traffic(t);
        feed(t);
        stream_check_order(&t->stream, orders);
        violations += t->tally->violation_count;
        end_trial(t);
    }
    free(t);
    bool is_right = (violations > 0) == is_exchanged;
    if (!is_right) { puts("self-test: the order between publishers is not judged rightly"); }
    return is_right;
}

/* A counted stream must notice what changes the number of bytes. */
static bool test_counted(enum fault fault)
{
    const uint64_t sent[PUBLISHERS] = {SENT_EACH, SENT_EACH};
    struct trial *t = alloc_or_die(1, sizeof *t);
    t->opts = trial_opts(PROTO_RESP2, 64);
    t->fault = fault;
    begin_trial(t);
    plant_in_script(t);
    write_traffic(t);
    for (size_t at = 0; at < t->size; at++) {
        stream_count(&t->stream, 1);
    }
    stream_finish(&t->stream, sent);
    bool is_right = (t->tally->violation_count > 0) == (fault != FAULT_NONE);
    if (!is_right) { printf("self-test: counted: %s\n", fault_names[fault]); }
    end_trial(t);
    free(t);
    return is_right;
}

static bool test_reply(const char *text, uint32_t slow_count, bool is_good)
{
    struct opts opts = trial_opts(PROTO_RESP2, 64);
    struct tally *tally = alloc_or_die(1, sizeof *tally);
    struct replies replies;
    opts.slow_count = slow_count;
    tally->is_quiet = true;
    replies_init(&replies, &opts, 0, tally);
    for (const char *at = text; *at != '\0'; at++) {
        replies_feed(&replies, at, 1);
    }
    bool is_right = (tally->violation_count == 0) == is_good;
    if (!is_right) { printf("self-test: reply %s is not judged rightly\n", text); }
    free(tally);
    return is_right;
}

static bool test_replies(void)
{
    bool is_right = test_reply(":2\r\n:2\r\n", 0, true);
    is_right &= test_reply(":2\r\n:1\r\n", 0, false);
    is_right &= test_reply(":1\r\n", 1, true);
    is_right &= test_reply(":3\r\n", 1, false);
    is_right &= test_reply("-ERR no\r\n", 0, false);
    is_right &= test_reply("+OK\r\n", 0, false);
    return is_right;
}

/* All subscriptions together are what plan_receivers promises, for one shape. */
static bool test_shape(struct opts *opts)
{
    uint64_t held = 0;
    uint64_t promised = 0;
    uint64_t sent = 0;
    for (uint32_t i = 0; i < opts->subscriber_count - opts->slow_count; i++) {
        held += plan_subscriber(opts, i).count;
    }
    for (uint32_t channel = 0; channel < opts->channel_count; channel++) {
        promised += plan_receivers(opts, channel, false);
        sent += plan_sent_to(opts, opts->publisher_count - 1, channel, 1000);
    }
    bool is_right = held == promised && sent == 1000;
    if (!is_right) {
        printf("self-test: the plan for %u channels, %u subscribers does not add up\n",
               opts->channel_count, opts->subscriber_count);
    }
    return is_right;
}

/* Sharded: the groups share nothing, and together they have everything. */
static bool test_shard_plan(void)
{
    bool is_right = true;
    for (uint32_t shards = 1; shards <= 4; shards++) {
        for (uint32_t subscribers = 0; subscribers <= 9; subscribers++) {
            struct opts opts = trial_opts(PROTO_RESP2, 64);
            opts.shard_count = shards;
            opts.channel_count = 12;
            opts.subscriber_count = subscribers;
            is_right &= test_shape(&opts);
        }
    }
    return is_right;
}

static bool test_plan(void)
{
    static const uint32_t counts[] = {1, 2, 3, 10, 64, 1000};
    const size_t count_count = sizeof counts / sizeof counts[0];
    bool is_right = true;
    for (size_t c = 0; c < count_count * count_count * 2; c++) {
        struct opts opts = trial_opts(PROTO_RESP2, 64);
        opts.layout = c % 2 == 0 ? LAYOUT_ALL : LAYOUT_SPREAD;
        opts.channel_count = counts[c / 2 % count_count];
        opts.subscriber_count = counts[c / 2 / count_count];
        opts.slow_count = opts.subscriber_count / 4;
        is_right &= test_shape(&opts);
    }
    return is_right;
}

static bool test_hist(void)
{
    struct hist *hist = alloc_or_die(1, sizeof *hist);
    bool is_right = hist_quantile_ns(hist, 0.99) == 0;
    for (uint64_t ns = 1; ns <= 1000000; ns++) {
        hist_add(hist, ns);
    }
    for (double share = 0.001; share < 1; share += 0.001) {
        double error = (double)hist_quantile_ns(hist, share) / (share * 1e6) - 1;
        is_right &= error > -0.0001 && error < 0.017;
    }
    hist_add(hist, UINT64_MAX);
    is_right &= hist->max_ns == UINT64_MAX && hist->count == 1000001;
    if (!is_right) { puts("self-test: the histogram's quantiles are off"); }
    free(hist);
    return is_right;
}

bool self_test(void)
{
    bool is_right = test_streams();
    is_right &= test_order(false);
    is_right &= test_order(true);
    is_right &= test_counted(FAULT_NONE);
    is_right &= test_counted(FAULT_LOST);
    is_right &= test_counted(FAULT_REPEATED);
    is_right &= test_counted(FAULT_HALF_AT_END);
    is_right &= test_replies();
    is_right &= test_plan();
    is_right &= test_shard_plan();
    is_right &= test_hist();
    puts(is_right ? "self-test: every planted fault was noticed" : "self-test: FAILED");
    return is_right;
}
