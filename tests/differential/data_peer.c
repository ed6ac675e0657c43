/* data_peer: the data commands behind a unix socket, one client after the other: what the differential test compares
 * with redis-server. Each write is a transaction of its own; reads go through a reader, as on a worker. A second store
 * takes the same writes in larger transactions, as a replica does: its digest must be the same each time.
 * usage: data_peer SOCKET STORE-FILE */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "data/data_script.h"
#include "resp/resp_parse.h"
#include "script/script.h"

enum { REPLICA_BATCH = 16 };

struct peer {
    struct store *store;
    struct store_txn *reader;
    struct store *replica;
    struct store_txn *replica_txn; /* NULL: none is open */
    struct store_txn *replica_reader;
    unsigned batched;
    struct data_scripting scripting; /* the store's */
    struct data_scripting
        replica_scripting; /* and the replica's, whose states run only some scripts */
    struct buf discarded;
    struct resp_parser *parser;
    uint64_t seed;
    uint16_t db;
    uint8_t version;
    int fd;
    struct buf in;
    struct buf out;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void ignore(void *arg, uint16_t db, struct slice name, enum store_expired what)
{
    (void)what;
    (void)arg;
    (void)db;
    (void)name;
}

/* One log entry: the command, and what a replica does beside it. */
static void apply(struct store_txn *txn, uint64_t at_ms, uint64_t seed,
                  const struct data_command *command, struct data_call *call)
{
    store_txn_entry(txn, at_ms, seed);
    (void)store_key_expire(txn, 100, ignore, NULL);
    call->txn = txn;
    command->handler(call);
    (void)store_purge(txn, 1000);
}

static uint32_t digest_of(struct store_txn *reader)
{
    if (store_reader_begin(reader, 0, 0) != ERR_OK) { die("reader"); }
    uint32_t digest = store_digest(reader);
    store_reader_end(reader);
    return digest;
}

static void apply_on_replica(struct peer *peer, uint64_t at_ms, const struct data_command *command,
                             struct data_call call)
{
    struct reply discarded = {.out = &peer->discarded, .version = 2};
    peer->discarded.len = 0;
    call.reply = &discarded;
    call.scripting = &peer->replica_scripting;
    call.scripting->is_alone = peer->seed % 3 == 0 || peer->scripting.is_alone;
    call.scripting->publishes.len = 0;
    if (peer->replica_txn == NULL && store_begin(peer->replica, &peer->replica_txn) != ERR_OK) {
        die("store_begin");
    }
    apply(peer->replica_txn, at_ms, peer->seed, command, &call);
    if (++peer->batched % REPLICA_BATCH != 0) { return; }
    if (store_commit(peer->replica_txn) != ERR_OK) { die("store_commit"); }
    peer->replica_txn = NULL;
    if (digest_of(peer->reader) != digest_of(peer->replica_reader)) {
        fprintf(stderr, "data_peer: the replica differs after a batch that ends with %s\n",
                command->name);
        exit(1);
    }
}

static void run_write(struct peer *peer, const struct data_command *command, struct data_call *call)
{
    struct store_txn *txn;
    uint64_t at_ms = now_ms();
    peer->seed++;
    call->scripting = &peer->scripting;
    call->scripting->is_alone = false;
    do { /* again, if a script needs a state of its own */
        call->scripting->is_alone = call->scripting->again;
        call->scripting->again = false;
        call->scripting->publishes.len = 0;
        if (store_begin(peer->store, &txn) != ERR_OK) { die("store_begin"); }
        apply(txn, at_ms, peer->seed, command, call);
        if (call->scripting->again) {
            store_abort(txn);
        } else if (store_commit(txn) != ERR_OK) {
            die("store_commit");
        }
    } while (call->scripting->again);
    apply_on_replica(peer, at_ms, command, *call);
}

static void run_read(struct peer *peer, const struct data_command *command, struct data_call *call)
{
    if (store_reader_begin(peer->reader, now_ms(), ++peer->seed) != ERR_OK) { die("reader"); }
    call->txn = peer->reader;
    command->handler(call);
    if (store_txn_err(peer->reader) != ERR_OK) { die("read"); }
    store_reader_end(peer->reader);
}

/* The few commands that are a connection's. False: it is none of them. */
static bool run_own(struct peer *peer, const struct slice *argv, uint32_t argc, struct reply *reply)
{
    if (slice_equal_nocase(argv[0], SLICE("select")) && argc == 2) {
        peer->db = (uint16_t)atoi(argv[1].data);
        reply_ok(reply);
    } else if (slice_equal_nocase(argv[0], SLICE("hello")) && argc == 2) {
        peer->version = (uint8_t)(argv[1].data[0] - '0');
        reply->version = peer->version;
        reply_ok(reply);
    } else {
        return false;
    }
    return true;
}

static void run(struct peer *peer)
{
    const struct slice *argv = resp_argv(peer->parser);
    uint32_t argc = resp_argc(peer->parser);
    struct reply reply = {.out = &peer->out, .version = peer->version};
    if (run_own(peer, argv, argc, &reply)) { return; }
    const struct data_command *command = data_command_find(argv[0]);
    if (command == NULL) {
        reply_errorf(&reply, "ERR unknown command '%.*s'", SLICE_ARG(argv[0]));
        return;
    }
    if (command->arity >= 0 ? argc != (uint32_t)command->arity : argc < (uint32_t)-command->arity) {
        reply_errorf(&reply, "ERR wrong number of arguments for '%s' command", command->name);
        return;
    }
    struct data_call call = {.argc = argc, .argv = argv, .db = peer->db, .reply = &reply};
    if (command->access == DATA_WRITE) {
        run_write(peer, command, &call);
    } else {
        run_read(peer, command, &call);
    }
}

static void send_all(struct peer *peer)
{
    for (size_t at = 0; at < peer->out.len;) {
        ssize_t n = write(peer->fd, peer->out.data + at, peer->out.len - at);
        if (n <= 0) { die("write"); }
        at += (size_t)n;
    }
    peer->out.len = 0;
}

/* Until the client has gone. */
static void serve(struct peer *peer)
{
    const struct resp_limits limits = {65536, 512 << 20, INT32_MAX, false};
    peer->in.len = 0;
    peer->version = 2;
    peer->db = 0;
    for (;;) {
        enum resp_status status;
        while ((status = resp_parse(peer->parser, buf_slice(&peer->in), &limits)) == RESP_REQUEST) {
            size_t bytes = resp_bytes(peer->parser);
            if (resp_argc(peer->parser) > 0) { run(peer); }
            buf_consume(&peer->in, bytes);
        }
        if (status == RESP_ERROR) { return; }
        send_all(peer);
        ssize_t n = read(peer->fd, buf_reserve(&peer->in, 65536), 65536);
        if (n <= 0) { return; }
        peer->in.len += (size_t)n;
    }
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(path) >= sizeof address.sun_path) { die("socket"); }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0) {
        die("listen");
    }
    return fd;
}

static void open_store(const char *path, struct store **store, struct store_txn **reader)
{
    const struct store_opts opts = {
        .path = path, .map_bytes = 16ULL << 30, .readers_max = 8, .hash_seed = {1, 2}};
    if (store_open(store, &opts) != ERR_OK) { die("store_open"); }
    if (store_reader_new(*store, reader) != ERR_OK) { die("store_reader_new"); }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: data_peer SOCKET STORE-FILE\n");
        return 64;
    }
    struct peer peer = {.version = 2};
    char replica[4096];
    if ((size_t)snprintf(replica, sizeof replica, "%s-replica", argv[2]) >= sizeof replica) {
        die("path");
    }
    open_store(argv[2], &peer.store, &peer.reader);
    open_store(replica, &peer.replica, &peer.replica_reader);
    peer.scripting.scripts = scripts_new();
    peer.replica_scripting.scripts = scripts_new();
    peer.parser = resp_parser_new();
    int listener = listen_on(argv[1]);
    while ((peer.fd = accept(listener, NULL, NULL)) >= 0) {
        serve(&peer);
        close(peer.fd);
    }
    return 0;
}
