/* peer_int: what dialled and accepted connections share: reading frames, writing them, silence, pings. */
#ifndef FANFARE_CLUSTER_PEER_INT_H
#define FANFARE_CLUSTER_PEER_INT_H

#include "cluster/peer.h"
#include "net/conn.h"
#include "trust/identity.h"
#include "trust/trust.h"

struct peer_hub {
    struct peer_hub_opts opts;
    struct wire_decoder *decoder;
    struct list ins;
    struct list strangers; /* those that have not said hello, oldest first; not among ins */
    uint32_t stranger_count;
    uint32_t count;
    struct buf ping; /* the frame */
};

/* One connection, up. */
struct peer_link {
    struct conn conn;
    struct peer_hub *hub;
    /* Any frame. False: garbage, or out of place. */
    bool (*on_frame)(struct peer_link *link, const struct wire_frame *frame);
    /* While both ends prove what they know: nothing else is read. */
    struct trust_proof *proof;
    char node_name[IDENTITY_NAME_BYTES]; /* as its certificate shows it; empty: not looked at */
    uint64_t identity_number; /* by which the certificate of the other end was last looked at */
    void (*on_proven)(struct peer_link *link); /* the other end has; may be NULL */
    struct worker_timer tick;
    uint64_t ticked_ns;
    uint32_t quiet_ms;          /* nothing has come for so long, not counting pauses */
    uint32_t stuck_ms;          /* the socket has taken nothing of what is queued for so long */
    uint64_t queued_bytes;      /* ever, on this connection */
    uint64_t sent_bytes_ticked; /* taken by the socket at the last tick */
    uint64_t refused_bytes;     /* of those, queued when the socket was already known to be dead */
    const char *why;            /* it has failed because of this; NULL: it has not */
    bool is_midframe;           /* what has been read does not end with a frame */
    bool is_hello_only;         /* the hello is still to come */
    bool has_heard;             /* since the last tick */
    bool is_listening;          /* accepted, and its first byte is to tell which way it goes */
    bool hears;  /* silence means death; else the socket's not taking anything does */
    bool speaks; /* pings */
};

/* Takes: fd, on which TLS begins at once if that is the way. The rest of the struct is zeroed; flags and on_frame are set by the
 * caller afterwards. */
struct peer_opening {
    int fd;
    enum trust_way way;
    bool has_dialled;
};
void peer_link_open(struct peer_link *link, struct peer_hub *hub,
                    const struct peer_opening *opening, const struct conn_ops *ops);

/* Begin to prove what that way asks for, as the end that has dialled or accepted. */
void peer_link_begin(struct peer_link *link, enum trust_way way, bool has_dialled);

/* Of an accepted one: conn_ops.on_first_byte. */
void peer_link_on_first_byte(struct conn *conn, unsigned char first);

/* Is the other end the node with that name, as far as certificates are shown? Logged if it is not. */
bool peer_link_is_of(struct peer_link *link, const char *node_name);

/* In conn_ops.on_close. */
void peer_link_fini(struct peer_link *link);

/* conn_ops.on_data. */
size_t peer_link_on_data(struct conn *conn, struct slice input);

/* Queue a whole frame; body may be NULL. */
void peer_link_send(struct peer_link *link, struct slice head, const struct span *body);

/* Of queued_bytes, taken by the socket. Before on_close. */
uint64_t peer_link_sent(const struct peer_link *link);

/* Close by RST because of the peer; `why` (static) is logged. */
void peer_link_fail(struct peer_link *link, const char *why);

/* Close as asked from above: by RST, or after what is queued has left (or none of it for silence_ms_max). */
void peer_link_close(struct peer_link *link, bool is_abrupt);

/* In on_close: why the connection is gone. */
const char *peer_link_why(const struct peer_link *link);

/* May a connection of that kind bring a frame of that type to its dialler, or to who accepted it? */
bool peer_may_bring(bool is_lane, bool to_dialler, enum wire_type type);

#endif
