/* wire: the three protocols side by side. A name is "ch." and six digits; a pattern that matches is
 * "[c000001]h.*" (RESP) or "ch.*" (NATS); one that does not is "ch.000001.*": it shares its beginning
 * with the channels, as real patterns do. A NATS subscription id is 1 and the six digits. */
#include "wire.h"

#include "fatal.h"

/* snprintf into a buffer known to be large enough; returns the length. */
__attribute__((format(printf, 3, 4))) static uint32_t put(char *out, size_t out_size,
                                                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out, out_size, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= out_size) { fatal("a name outgrew its buffer"); }
    return (uint32_t)length;
}

static uint32_t put_name(char *out, enum proto proto, enum sub_kind kind, uint32_t number)
{
    switch (kind) {
    case SUB_CHANNEL:
    case SUB_SHARD: return put(out, WIRE_NAME_MAX, "ch.%06u", number);
    case SUB_MISS: return put(out, WIRE_NAME_MAX, "ch.%06u.*", number);
    case SUB_MATCH: break;
    }
    if (proto == PROTO_NATS) { return put(out, WIRE_NAME_MAX, "ch.*"); }
    return put(out, WIRE_NAME_MAX, "[c%06u]h.*", number);
}

/* Where `text` begins in the head. */
static uint32_t place_of(const char *head, const char *text)
{
    const char *at = strstr(head, text);
    if (at == NULL) { fatal("a frame without %s", text); }
    return (uint32_t)(at - head);
}

void wire_frame_init(struct frame *frame, enum proto proto, enum sub_kind kind,
                     uint32_t payload_bytes)
{
    char name[WIRE_NAME_MAX];
    uint32_t name_bytes = put_name(name, proto, kind, 0);
    char type = proto == PROTO_RESP3 ? '>' : '*';
    char *head = frame->head;

    memset(frame, 0, sizeof *frame);
    frame->payload_bytes = payload_bytes;
    if (proto == PROTO_NATS) {
        frame->head_bytes = put(head, WIRE_HEAD_MAX, "MSG ch.000000 1000000 %u\r\n", payload_bytes);
        frame->number_at = place_of(head, " 1000000") + 2;
    } else if (kind == SUB_CHANNEL || kind == SUB_SHARD) {
        const char *word = kind == SUB_SHARD ? "$8\r\nsmessage" : "$7\r\nmessage";
        frame->head_bytes = put(head, WIRE_HEAD_MAX, "%c3\r\n%s\r\n$9\r\nch.000000\r\n$%u\r\n",
                                type, word, payload_bytes);
    } else {
        frame->head_bytes = put(head, WIRE_HEAD_MAX,
                                "%c4\r\n$8\r\npmessage\r\n$%u\r\n%s\r\n$9\r\nch.000000\r\n$%u\r\n",
                                type, name_bytes, name, payload_bytes);
        frame->number_at = place_of(head, name) + (kind == SUB_MATCH ? 2 : 3);
    }
    const char *before = proto == PROTO_NATS ? " ch.000000 " : "\nch.000000\r";
    frame->channel_at = place_of(head, before) + 4;
    frame->total_bytes = frame->head_bytes + payload_bytes + 2;
}

void wire_command_init(struct command *command, enum proto proto, bool is_sharded,
                       uint32_t payload_bytes)
{
    const char *verb = is_sharded ? "$8\r\nSPUBLISH" : "$7\r\nPUBLISH";
    char *head = command->head;
    memset(command, 0, sizeof *command);
    command->head_bytes = proto == PROTO_NATS
                              ? put(head, WIRE_HEAD_MAX, "PUB ch.000000 %u\r\n", payload_bytes)
                              : put(head, WIRE_HEAD_MAX, "*3\r\n%s\r\n$9\r\nch.000000\r\n$%u\r\n",
                                    verb, payload_bytes);
    command->channel_at = place_of(head, "ch.") + 3;
    command->payload_bytes = payload_bytes;
    command->total_bytes = command->head_bytes + payload_bytes + 2;
}

uint32_t wire_subscribe(char *out, enum proto proto, enum sub_kind kind, uint32_t number)
{
    char name[WIRE_NAME_MAX];
    uint32_t name_bytes = put_name(name, proto, kind, number);
    if (proto == PROTO_NATS) {
        return put(out, WIRE_REQUEST_MAX, "SUB %s 1%06u\r\n", name, number);
    }
    static const char *const verbs[] = {
        [SUB_CHANNEL] = "$9\r\nSUBSCRIBE",
        [SUB_MATCH] = "$10\r\nPSUBSCRIBE",
        [SUB_MISS] = "$10\r\nPSUBSCRIBE",
        [SUB_SHARD] = "$10\r\nSSUBSCRIBE",
    };
    const char *verb = verbs[kind];
    return put(out, WIRE_REQUEST_MAX, "*2\r\n%s\r\n$%u\r\n%s\r\n", verb, name_bytes, name);
}

uint32_t wire_confirmation(char *out, enum proto proto, enum sub_kind kind, uint32_t number,
                           uint32_t held)
{
    if (proto == PROTO_NATS) { return 0; }
    char name[WIRE_NAME_MAX];
    uint32_t name_bytes = put_name(name, proto, kind, number);
    static const char *const verbs[] = {
        [SUB_CHANNEL] = "$9\r\nsubscribe",
        [SUB_MATCH] = "$10\r\npsubscribe",
        [SUB_MISS] = "$10\r\npsubscribe",
        [SUB_SHARD] = "$10\r\nssubscribe",
    };
    const char *verb = verbs[kind];
    return put(out, WIRE_REQUEST_MAX, "%c3\r\n%s\r\n$%u\r\n%s\r\n:%u\r\n",
               proto == PROTO_RESP3 ? '>' : '*', verb, name_bytes, name, held);
}

const char *wire_greeting(enum proto proto)
{
    static const char *const greetings[] = {
        [PROTO_RESP2] = "PING\r\n",
        [PROTO_RESP3] = "HELLO 3\r\nPING\r\n",
        [PROTO_NATS] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n",
    };
    return greetings[proto];
}

const char *wire_greeting_answer(enum proto proto)
{
    return proto == PROTO_NATS ? "PONG\r\n" : "+PONG\r\n";
}

uint32_t wire_digits_read(const char *text)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < WIRE_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') { return UINT32_MAX; }
        number = number * 10 + (uint32_t)(text[i] - '0');
    }
    return number;
}

void wire_digits_write(char *text, uint32_t number)
{
    for (uint32_t i = WIRE_DIGITS; i-- > 0; number /= 10) {
        text[i] = (char)('0' + number % 10);
    }
}
