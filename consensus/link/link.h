/* link: the connections that carry Raft frames between nodes, one per direction and pair, and one
 * beside it for snapshot data. Frames may be lost, never reordered within a connection, never
 * altered. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_LINK_H
#define FANFARE_CONSENSUS_LINK_H

#include <uv.h>

#include "base/err.h"
#include "base/slice.h"

struct link;
struct trust;

enum {
    LINK_VERSION = 1,
    LINK_FRAME_BYTES_MAX = 64 << 20,   /* of a member */
    LINK_CONTACT_BYTES_MAX = 64 << 10, /* of a contact: notes */
    LINK_HELLO_BYTES_MAX = 4 << 10,    /* of who has not said who it is */
    LINK_HELLO_MS_MAX = 2000,          /* until it has */
    LINK_SHAKE_TURN_MS = 8,      /* of so much of the thread's time strangers' TLS handshakes get */
    LINK_SHAKE_NS_MAX = 2000000, /* so much, and one more handshake; then the others wait */
    LINK_INCOMING_MAX = 1024,    /* connections; who is no member makes room for a new one */
    LINK_NAME_BYTES = 64,
    LINK_HOST_BYTES = 256
};

struct link_opts {
    uv_loop_t *loop;
    uint64_t cluster_id; /* 0: none yet; then nobody but contacts */
    uint64_t node_id;
    const char *node_name;
    const char *listen_host; /* a name or digits; NULL: a node alone, to which nobody connects */
    uint16_t listen_port;    /* 0: any, see link_port */
    size_t peer_bytes_max;   /* queued for one peer and connection; more is dropped */
    /* NULL: nobody has to prove anything; else both ends do so before the hello, as it says, and where it shows certificates who
     * says hello is whose certificate it has shown, and who is dialled by name, too. */
    struct trust *trust;
    uint32_t silence_ms_max; /* a peer that says nothing for so long is taken for stopped */
    /* Where does this node listen? False: not known. Asked at every connect; `host` is a name or an
     * address. */
    bool (*address_of)(void *arg, const char *node_name, char host[LINK_HOST_BYTES],
                       uint16_t *port);
    /* `from_name` NULL: from a contact, who may be of any cluster, or of none; then `shown_name` is the node whose certificate it has
     * shown, NULL where none was asked for. */
    void (*on_frame)(void *arg, const char *from_name, const char *shown_name, struct slice frame,
                     bool *is_garbage);
    void *arg;
};

/* Bind and listen, if there is where; blocks while a name is looked up. Borrows opts' strings. Errors: ERR_SYSTEM (logged). */
MUST_USE enum err link_open(struct link **out, const struct link_opts *opts);
uint16_t link_port(const struct link *link);
/* Begin to close everything; on_closed(arg) when the loop holds no handle of the link any more, and
 * it is freed. */
void link_close(struct link *link, void (*on_closed)(void *arg), void *arg);

/* Queue a frame; what was queued in a turn leaves as one by link_flush. */
void link_send(struct link *link, const char *node_name, struct slice frame, bool is_bulk);
/* To whoever listens at that address, of any cluster: for frames that hold notes only. */
void link_send_contact(struct link *link, const char *host, uint16_t port, struct slice frame);
void link_flush(struct link *link);

/* The node found its cluster: say so in every hello from now on; connections are dialled anew. */
void link_set_cluster(struct link *link, uint64_t cluster_id);
/* That node's address has changed: dial it anew. */
void link_redial(struct link *link, const char *node_name);

/* Take the next whole frame, of at most bytes_max, off *bytes. False: there is none yet, or
 * *is_garbage: there never will be. */
MUST_USE bool link_frame_parse(struct slice *bytes, size_t bytes_max, struct slice *frame,
                               bool *is_garbage);

uint64_t link_dropped_count(const struct link *link);

#endif
