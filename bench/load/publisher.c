/* publisher: the sending half of the load. */
#include "publisher.h"

#include <sys/socket.h>

#include "fatal.h"
#include "link.h"
#include "plan.h"

#define OPEN_LOOP_OUT_MAX ((size_t)16 << 20)

void publisher_init(struct publisher *pub, const struct opts *opts, uint32_t index, int fd,
                    const char *filler, struct tally *tally)
{
    memset(pub, 0, sizeof *pub);
    pub->conn.fd = fd;
    pub->conn.role = CONN_PUBLISHER;
    pub->index = index;
    pub->opts = opts;
    pub->filler = filler;
    wire_command_init(&pub->command, opts->proto, opts->shard_count != 0, opts->payload_bytes);
    replies_init(&pub->replies, opts, index, tally);
    size_t batch_bytes = (size_t)pub->command.total_bytes * opts->batch_count + strlen("PING\r\n");
    pub->out_max = batch_bytes;
    if (opts->rate_per_s != 0 && pub->out_max < OPEN_LOOP_OUT_MAX) {
        pub->out_max = OPEN_LOOP_OUT_MAX;
    }
    pub->out = alloc_or_die(pub->out_max, 1);
}

void publisher_fini(struct publisher *pub)
{
    link_close(pub->conn.fd);
    free(pub->out);
}

bool publisher_has_room(const struct publisher *pub, uint32_t count)
{
    return pub->out_max - pub->out_size >= (size_t)pub->command.total_bytes * count;
}

void publisher_add(struct publisher *pub, uint64_t time_ns)
{
    const struct command *command = &pub->command;
    char *at = pub->out + pub->out_size;
    uint32_t channel = plan_channel(pub->opts, pub->index, pub->sent_count);
    uint64_t stamp = stamp_make(pub->index, plan_seq(pub->opts, pub->sent_count));
    memcpy(at, command->head, command->head_bytes);
    wire_digits_write(at + command->channel_at, names_number(pub->opts->names, channel));
    payload_write(at + command->head_bytes, command->payload_bytes, pub->filler, stamp, time_ns);
    memcpy(at + command->total_bytes - 2, "\r\n", 2);
    pub->out_size += command->total_bytes;
    pub->sent_count++;
}

void publisher_await(struct publisher *pub)
{
    if (pub->opts->proto != PROTO_NATS) {
        pub->awaited = pub->sent_count;
        return;
    }
    memcpy(pub->out + pub->out_size, "PING\r\n", 6);
    pub->out_size += 6;
    pub->awaited++;
}

bool publisher_flush(struct publisher *pub)
{
    while (pub->out_at < pub->out_size) {
        ssize_t sent = link_send(pub->conn.fd, pub->out + pub->out_at, pub->out_size - pub->out_at,
                                 MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) { continue; }
        if (sent < 0) { return errno == EAGAIN; }
        pub->out_at += (size_t)sent;
    }
    pub->out_at = 0;
    pub->out_size = 0;
    return true;
}
