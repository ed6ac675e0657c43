/* message: one message between two replicas, or between two nodes, and its form on the wire
 * (proto/raft.proto).
 * Thread: any; a struct belongs to whoever made it. */
#ifndef FANFARE_CONSENSUS_MESSAGE_H
#define FANFARE_CONSENSUS_MESSAGE_H

#include <raft.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "consensus/log/wal_record.h"

enum message_kind {
    MESSAGE_NONE, /* of a kind that this version does not know: dropped */
    MESSAGE_RAFT, /* `raft` holds it; its addresses are not set */
    MESSAGE_SNAPSHOT_OFFER,
    MESSAGE_SNAPSHOT_PULL,
    MESSAGE_SNAPSHOT_CHUNK,
    MESSAGE_SNAPSHOT_DAMAGED,
    MESSAGE_TERM_QUERY,
    MESSAGE_TERM_REPLY,
};

enum { MESSAGE_ENTRIES_MAX = 1024, MESSAGE_GROUPS_MAX = 4096 };

/* Pointers are borrowed: by an encoder from the caller, by a decoded message from the decoder until
 * it returns. */
struct message {
    uint64_t group;
    uint64_t from;
    uint64_t to;
    enum message_kind kind;
    struct raft_message raft; /* entries have no batch; their data is borrowed */
    uint64_t stamp_ms;        /* of AppendEntries and its result */
    bool is_ailing;           /* of its result: the sender's disk is not fit to lead */
    uint64_t term;            /* offer */
    struct manifest manifest; /* offer; conf is borrowed */
    uint64_t index;           /* pull, chunk, damaged */
    uint32_t snapshot_crc;    /* the same: of all of the data */
    uint64_t offset;
    struct slice data; /* chunk */
    uint32_t crc;
    uint64_t round; /* query, reply */
    size_t group_count;
    const uint64_t *groups;
    const uint64_t *terms;    /* reply */
    const uint64_t *replicas; /* reply */
};

/* Who is at the other end; the strings are borrowed as above. */
struct hello {
    uint64_t cluster_id;
    uint64_t node_id;
    const char *node_name;
    uint32_t version;
    bool is_bulk;
    bool is_contact;
    const char *to_name; /* whom the dialler means; empty: whoever is at the address */
};

/* Append a frame of this one message; frames may be concatenated. */
void message_encode(struct buf *out, const struct message *message);
void hello_encode(struct buf *out, const struct hello *hello);
void note_frame_encode(struct buf *out, struct slice note);

/* A kind of content whose handler is NULL is malformed here. */
struct message_handler {
    void (*on_hello)(void *arg, const struct hello *hello);
    void (*on_message)(void *arg, const struct message *message);
    void (*on_note)(void *arg, struct slice note); /* what membership says to membership */
};

/* Decode a frame and hand over what it holds, in order. Errors: ERR_INVALID (nothing, or only a
 * part, was handed over). */
MUST_USE enum err message_decode(struct slice frame, const struct message_handler *handler,
                                 void *arg);

#endif
