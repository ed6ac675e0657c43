/* link_outgoing_int: one outgoing connection, as link_outgoing.c makes and fills it and link_peers.c keeps it for its peer.
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_LINK_OUTGOING_INT_H
#define FANFARE_CONSENSUS_LINK_OUTGOING_INT_H

#include "base/buf.h"
#include "consensus/link/link_int.h"
#include "trust/trust.h"

enum { LINK_BACKOFF_MS_MIN = 50, LINK_BACKOFF_MS_MAX = 1000 };

enum outgoing_state { OUTGOING_IDLE, OUTGOING_RESOLVING, OUTGOING_CONNECTING, OUTGOING_UP };

/* The socket of an outgoing connection lives until libuv has closed it, the connection goes on with
 * another. */
struct socket {
    uv_tcp_t tcp;
    struct outgoing *outgoing; /* NULL: given up */
    struct link *link;
    enum trust_way way;
    struct seal *seal; /* NULL: in the open */
    uint64_t identity_number;
    uint64_t connected_ms;
    bool is_proving; /* it is connected, and its proof is under way */
    struct trust_proof proof;
    struct buf got; /* of the proof */
    char drain[64];
};

/* To one peer, of one kind. */
struct outgoing {
    struct peer *peer;
    bool is_bulk;
    enum outgoing_state state;
    struct socket *socket;
    struct buf queue; /* the frame of this turn, without its length */
    size_t inflight_bytes;
    uint64_t backoff_ms;
    uint64_t retry_at_ms;
    uint64_t dialled_ms;
    uint64_t up_ms;        /* it came up then */
    uint64_t told_ms;      /* the log was told so then; 0: never */
    unsigned way_number;   /* trust_dial_way's */
    unsigned failed_count; /* addresses of its name that did not answer: the next one's turn */
};

struct peer {
    struct list link;
    struct link *owner;
    char name[LINK_NAME_BYTES];
    bool is_contact; /* whoever listens at this address; only outgoing[0] is used */
    char host[LINK_HOST_BYTES];
    uint16_t port;
    uint64_t used_ms;  /* last sent to */
    uint64_t heard_ms; /* last bytes from it; 0: never */
    struct outgoing outgoing[2];
};

/* Dial it. What is queued meanwhile leaves when it is up. */
void outgoing_dial(struct outgoing *outgoing);
/* It is gone, with all that was queued on it; to be dialled again after a while. */
void outgoing_down(struct outgoing *outgoing);
/* Room for a frame's length, where `queue` is empty. */
void outgoing_queue_begin(struct buf *queue);
/* Write `queue`, which holds the frame behind room for its length, and empty it. While up. */
void outgoing_write(struct outgoing *outgoing, struct buf *queue);
/* Does it wait for a nonce in vain? */
bool outgoing_has_no_nonce(const struct outgoing *outgoing);

#endif
