/* main: a load of data commands on running servers, in a closed loop: so many connections, each with so many requests
 * under way. Prints one line of JSON. Answers that are errors are counted and the first is told; any is a failure.
 *
 * Shares no code with the broker. Thread: one. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "buffer.h"
#include "load/fatal.h"
#include "load/hist.h"
#include "load/probe.h"
#include "rows.h"
#include "spec.h"
#include "wires.h"

enum { READ_BYTES = 1 << 18, EVENTS_MAX = 256, ANSWER_MAX_S = 60, FILL_BYTES = 1 << 20 };

struct connection {
    int fd;
    struct maker maker;
    struct buffer in, out;
    struct slot *slots;
    uint32_t first; /* RESP: the slot whose answer is next */
    bool waits_for_write;
};

struct run {
    const struct spec *spec;
    struct connection *connections;
    int epoll;
    bool is_measuring;
    uint64_t operations, requests, errors, empty;
    uint64_t all_operations; /* warm-up and end included */
    uint64_t end_ns;         /* no requests any more */
    uint32_t in_flight;
    struct hist latency;
};

/* ---- before: blocking ---- */

static int connect_to(const struct spec *spec, uint32_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, spec->host, &address.sin_addr) != 1) {
        fatal("%s is no IPv4 address", spec->host);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    const struct timeval answer_max = {.tv_sec = ANSWER_MAX_S};
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer_max, sizeof answer_max) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        fatal("port %u: %s", port, strerror(errno));
    }
    return fd;
}

static void write_all(int fd, struct buffer *out)
{
    while (out->begin < out->end) {
        ssize_t sent = send(fd, out->bytes + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (sent < 0) { fatal("send: %s", strerror(errno)); }
        buffer_use(out, (size_t)sent);
    }
}

static void read_some(struct connection *connection)
{
    char *at = buffer_reserve(&connection->in, READ_BYTES);
    ssize_t received = recv(connection->fd, at, READ_BYTES, 0);
    if (received <= 0) { fatal("no answer: %s", received == 0 ? "closed" : strerror(errno)); }
    connection->in.end += (size_t)received;
}

/* So many replies, none of which may be an error. */
static void expect_replies(struct connection *connection, uint32_t count)
{
    struct buffer *in = &connection->in;
    while (count > 0) {
        size_t size = wires_resp_size(in->bytes + in->begin, in->end - in->begin);
        if (size == 0) {
            read_some(connection);
            continue;
        }
        if (in->bytes[in->begin] == '-') { fatal("%.*s", (int)size, in->bytes + in->begin); }
        buffer_use(in, size);
        count--;
    }
}

static void fill_resp(struct connection *connection, bool is_first_of_database)
{
    struct buffer *out = &connection->out;
    buffer_print(out, "SELECT %u\r\n", connection->maker.database);
    write_all(connection->fd, out);
    expect_replies(connection, 1);
    if (!is_first_of_database) { return; }
    uint32_t count = 0;
    row_fill(&connection->maker, out, &count);
    while (out->begin <
           out->end) { /* a part at a time, so that no side's buffers have to hold all */
        size_t part = 0;
        uint32_t replies = 0;
        while (part < FILL_BYTES && out->begin + part < out->end) {
            part += wires_resp_size(out->bytes + out->begin + part, out->end - out->begin - part);
            replies++;
        }
        struct buffer piece = {out->bytes, out->begin, out->begin + part, out->capacity};
        write_all(connection->fd, &piece);
        buffer_use(out, part);
        expect_replies(connection, replies);
    }
}

/* One request of JetStream's API and its answer, which may say no if that is allowed. */
static void ask_nats(struct connection *connection, const char *subject, const char *body,
                     bool may_fail)
{
    buffer_print(&connection->out, "PUB %s _INBOX.%u.0 %zu\r\n%s\r\n", subject,
                 connection->maker.connection, strlen(body), body);
    write_all(connection->fd, &connection->out);
    struct buffer *in = &connection->in;
    for (;;) {
        struct nats_frame frame = wires_nats(in->bytes + in->begin, in->end - in->begin);
        if (frame.size == 0) {
            read_some(connection);
            continue;
        }
        bool is_wrong =
            frame.is_message && memmem(frame.payload, frame.payload_size, "\"error\"", 7);
        if (is_wrong && !may_fail) {
            fatal("%s: %.*s", subject, (int)frame.payload_size, frame.payload);
        }
        buffer_use(in, frame.size);
        if (frame.is_message) { return; }
    }
}

static void fill_nats(struct connection *connection, bool is_first_of_database)
{
    const struct spec *spec = connection->maker.spec;
    uint32_t database = connection->maker.database;
    char subject[128], body[512];
    bool reads = spec->row == row_find("read"), groups = spec->row == row_find("group");
    buffer_print(&connection->out,
                 "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    for (uint32_t i = 0; i < spec->depth; i++) {
        buffer_print(&connection->out, "SUB _INBOX.%u.%u %u\r\n", connection->maker.connection, i,
                     i + 1);
    }
    if (is_first_of_database) {
        snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.S%u", database);
        ask_nats(connection, subject, "", true);
        snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.S%u", database);
        snprintf(body, sizeof body,
                 "{\"name\":\"S%u\",\"subjects\":[\"s%u.>\"],\"retention\":\"limits\",\"storage\":"
                 "\"file\",\"discard\":\"old\",\"num_replicas\":%u}",
                 database, database, spec->replicas);
        ask_nats(connection, subject, body, false);
        char *element = alloc_or_die(1, spec->payload_bytes + 1);
        memset(element, 'x', spec->payload_bytes);
        snprintf(subject, sizeof subject, "s%u.x", database);
        for (uint32_t i = 0; (reads || groups) && i < spec->fill_count; i++) {
            bool is_awaited = i % 500 == 499 || i + 1 == spec->fill_count;
            if (is_awaited) {
                ask_nats(connection, subject, element, false);
            } else {
                buffer_print(&connection->out, "PUB %s %u\r\n", subject, spec->payload_bytes);
                buffer_add(&connection->out, element, spec->payload_bytes);
                buffer_add(&connection->out, "\r\n", 2);
            }
        }
        free(element);
    }
    if (reads || (groups && is_first_of_database)) {
        char name[32] = "g";
        if (reads) { snprintf(name, sizeof name, "r%u", connection->maker.connection); }
        snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DURABLE.CREATE.S%u.%s", database, name);
        snprintf(body, sizeof body,
                 "{\"stream_name\":\"S%u\",\"config\":{\"durable_name\":\"%s\",\"deliver_policy\":"
                 "\"all\",\"ack_policy\":\"%s\",\"max_ack_pending\":100000,\"max_waiting\":20000}}",
                 database, name, reads ? "none" : "explicit");
        ask_nats(connection, subject, body, false);
    }
    write_all(connection->fd, &connection->out);
}

static void open_all(struct run *run, const char *payload)
{
    const struct spec *spec = run->spec;
    for (uint32_t i = 0; i < spec->connections; i++) {
        struct connection *connection = &run->connections[i];
        connection->fd = connect_to(spec, spec->ports.number[i % spec->ports.count]);
        connection->maker = (struct maker){.spec = spec,
                                           .payload = payload,
                                           .connection = i,
                                           .database = i % spec->databases,
                                           .random = i * 7919 + 12345};
        connection->slots = alloc_or_die(spec->depth, sizeof *connection->slots);
        for (uint32_t s = 0; s < spec->depth; s++) {
            connection->slots[s].number = s;
        }
        (spec->is_nats ? fill_nats : fill_resp)(connection, i < spec->databases);
        int flags = fcntl(connection->fd, F_GETFL);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (fcntl(connection->fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
            epoll_ctl(run->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
            fatal("epoll: %s", strerror(errno));
        }
    }
}

/* ---- the loop ---- */

static void send_request(struct run *run, struct connection *connection, struct slot *slot)
{
    if (slot->start_ns == 0) { slot->start_ns = probe_now_ns(); }
    (run->spec->is_nats ? row_nats_request : row_request)(&connection->maker, slot,
                                                          &connection->out);
    run->in_flight++;
}

/* `operations` are done by an answer to the slot; 0: it was the first half of something. */
static void done(struct run *run, struct slot *slot, uint32_t operations, uint64_t now_ns)
{
    run->in_flight--;
    if (operations == 0) { return; }
    run->all_operations += operations;
    if (run->is_measuring) {
        run->operations += operations;
        run->requests++;
        hist_add(&run->latency, now_ns - slot->start_ns);
    }
    slot->start_ns = 0;
}

static void note_error(struct run *run, const char *text, size_t size)
{
    if (run->errors++ == 0) { fprintf(stderr, "data: %.*s\n", (int)size, text); }
}

static void take_resp(struct run *run, struct connection *connection, uint64_t now_ns)
{
    struct buffer *in = &connection->in;
    size_t size;
    while ((size = wires_resp_size(in->bytes + in->begin, in->end - in->begin)) > 0) {
        const char *reply = in->bytes + in->begin;
        struct slot *slot = &connection->slots[connection->first];
        connection->first = (connection->first + 1) % run->spec->depth;
        if (*reply == '-') { note_error(run, reply, size); }
        run->empty += size == 5 && memcmp(reply, "$-1\r\n", 5) == 0;
        done(run, slot, row_reply(&connection->maker, slot, reply, size), now_ns);
        buffer_use(in, size);
        if (now_ns < run->end_ns) { send_request(run, connection, slot); }
    }
}

static void take_nats(struct run *run, struct connection *connection, uint64_t now_ns)
{
    struct buffer *in = &connection->in;
    for (;;) {
        struct nats_frame frame = wires_nats(in->bytes + in->begin, in->end - in->begin);
        if (in->end == in->begin || frame.size == 0) { return; }
        if (frame.is_message && frame.sid >= 1 && frame.sid <= run->spec->depth) {
            struct slot *slot = &connection->slots[frame.sid - 1];
            bool is_wrong = memmem(frame.payload, frame.payload_size, "\"error\"", 7) != NULL;
            if (is_wrong) { note_error(run, frame.payload, frame.payload_size); }
            uint32_t operations = 0;
            if (frame.is_status) { /* nothing is left to be read: this slot rests */
                run->empty++;
                run->in_flight--;
            } else {
                operations = row_nats_message(&connection->maker, slot, frame.answer_to,
                                              frame.answer_to_size, &connection->out);
                if (slot->is_due) { done(run, slot, operations, now_ns); }
            }
            if (slot->is_due && now_ns < run->end_ns) { send_request(run, connection, slot); }
        } else if (!frame.is_message && in->bytes[in->begin] == 'P' &&
                   in->bytes[in->begin + 1] == 'I') {
            buffer_add(&connection->out, "PONG\r\n", 6);
        }
        buffer_use(in, frame.size);
    }
}

static void flush(struct run *run, struct connection *connection)
{
    struct buffer *out = &connection->out;
    while (out->begin < out->end) {
        ssize_t sent =
            send(connection->fd, out->bytes + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) { fatal("send: %s", strerror(errno)); }
        if (sent < 0) { break; }
        buffer_use(out, (size_t)sent);
    }
    bool wants_write = out->begin < out->end;
    if (wants_write != connection->waits_for_write) {
        struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0U),
                                    .data.ptr = connection};
        if (epoll_ctl(run->epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0) {
            fatal("epoll: %s", strerror(errno));
        }
        connection->waits_for_write = wants_write;
    }
}

static void serve(struct run *run, struct connection *connection, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        char *at = buffer_reserve(&connection->in, READ_BYTES);
        ssize_t received = recv(connection->fd, at, READ_BYTES, 0);
        if (received == 0 || (received < 0 && errno != EAGAIN)) {
            fatal("a connection was closed");
        }
        if (received > 0) { connection->in.end += (size_t)received; }
        (run->spec->is_nats ? take_nats : take_resp)(run, connection, probe_now_ns());
    }
    flush(run, connection);
}

/* Until the time has come, or, at the end, nothing is under way. */
static void loop(struct run *run, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now_ns = probe_now_ns();
    while (now_ns < until_ns && run->in_flight > 0) {
        int timeout_ms = (int)((until_ns - now_ns) / 1000000U) + 1;
        int count = epoll_wait(run->epoll, events, EVENTS_MAX, timeout_ms);
        if (count < 0 && errno != EINTR) { fatal("epoll: %s", strerror(errno)); }
        for (int i = 0; i < count; i++) {
            serve(run, events[i].data.ptr, events[i].events);
        }
        now_ns = probe_now_ns();
    }
}

static void report(const struct run *run, double seconds, uint64_t server_ns, uint64_t own_ns)
{
    double operations = run->operations > 0 ? (double)run->operations : 1;
    printf("{\"label\":\"%s\",\"seconds\":%.4f,\"operations\":%llu,\"requests\":%llu,"
           "\"errors\":%llu,\"all_operations\":%llu,\"empty\":%llu,"
           "\"operations_per_s\":%.2f,\"cpu_us_per_operation\":%.4f,"
           "\"load_us_per_operation\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           run->spec->label, seconds, (unsigned long long)run->operations,
           (unsigned long long)run->requests, (unsigned long long)run->errors,
           (unsigned long long)run->all_operations, (unsigned long long)run->empty,
           (double)run->operations / seconds, (double)server_ns / 1e3 / operations,
           (double)own_ns / 1e3 / operations, (double)hist_quantile_ns(&run->latency, 0.5) / 1e3,
           (double)hist_quantile_ns(&run->latency, 0.99) / 1e3, (double)run->latency.max_ns / 1e3);
}

int main(int argc, char **argv)
{
    struct spec spec;
    spec_parse(&spec, argc, argv);
    struct run *run = alloc_or_die(1, sizeof *run);
    run->spec = &spec;
    run->connections = alloc_or_die(spec.connections, sizeof *run->connections);
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    char *payload = alloc_or_die(1, spec.payload_bytes + 1);
    memset(payload, 'x', spec.payload_bytes);
    open_all(run, payload);
    uint64_t begin_ns = probe_now_ns();
    run->end_ns = begin_ns + (uint64_t)(spec.warmup_ms + spec.measure_ms) * 1000000U;
    for (uint32_t i = 0; i < spec.connections; i++) {
        for (uint32_t s = 0; s < spec.depth; s++) {
            send_request(run, &run->connections[i], &run->connections[i].slots[s]);
        }
        flush(run, &run->connections[i]);
    }
    loop(run, begin_ns + (uint64_t)spec.warmup_ms * 1000000U);
    uint64_t server_ns = probe_cpu_ns(&spec.pids), own_ns = probe_own_cpu_ns(),
             from_ns = probe_now_ns();
    run->is_measuring = true;
    loop(run, run->end_ns);
    server_ns = probe_cpu_ns(&spec.pids) - server_ns;
    own_ns = probe_own_cpu_ns() - own_ns;
    double seconds = (double)(probe_now_ns() - from_ns) / 1e9;
    run->is_measuring = false;
    loop(run, run->end_ns + (uint64_t)ANSWER_MAX_S * 1000000000U);
    report(run, seconds, server_ns, own_ns);
    return run->errors == 0 ? EXIT_SUCCESS : EXIT_VIOLATION;
}
