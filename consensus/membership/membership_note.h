/* membership_note: a note between two nodes and its form on the wire (proto/membership.proto).
 * Thread: any; a struct belongs to whoever made it. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_NOTE_H
#define FANFARE_CONSENSUS_MEMBERSHIP_NOTE_H

#include "base/buf.h"
#include "consensus/map/pmap.h"

enum note_kind {
    NOTE_NONE, /* of a kind that this version does not know: dropped */
    NOTE_DISCOVERY,
    NOTE_RELEASE,
    NOTE_JOIN,
    NOTE_JOIN_REPLY,
    NOTE_PING,
    NOTE_ECHO,
    NOTE_SUSPECT,
    NOTE_UNSERVED,
    NOTE_FORGET,
    NOTE_FORGET_REPLY,
    NOTE_SETTLED,
    NOTE_CHANGE_USERS,
    NOTE_USERS_REPLY,
};

enum { NOTE_TEXT_BYTES = 256, NOTE_SETTLED_MAX = 256 };

struct note_discovery {
    bool wants_answer;
    uint32_t expect;
    uint64_t attempt; /* 0: none */
    bool is_founding;
    uint64_t promised_to; /* 0: nobody */
    uint64_t promised;
    uint32_t seen_count;
    uint64_t seen[PMAP_NODES_MAX];
    struct pmap_address leader; /* port 0: not known */
    uint32_t member_count;
    struct pmap_address member[PMAP_NODES_MAX];
};

struct note_join {
    uint64_t boot;
    uint64_t challenge; /* 0: none */
    char zone[PMAP_NAME_BYTES];
    struct pmap_address client;
    struct pmap_address peer;
    uint32_t level;
};

struct note_join_reply {
    uint64_t boot;
    bool is_member;
    uint64_t incarnation;
    uint64_t version;
    uint64_t challenge;
    struct pmap_address leader; /* port 0: not known */
    char refusal[NOTE_TEXT_BYTES];
};

struct note_ping {
    uint64_t stamp_ms;
    uint64_t incarnation;
    uint64_t boot;
    uint64_t replica;
    uint64_t replica_last;
    uint64_t version;
    uint32_t warming;
    bool is_draining;
    bool is_leaving;
    uint32_t level;
    uint64_t users_version;
};

struct note_echo {
    uint64_t stamp_ms;
    uint64_t incarnation;
    uint64_t renew; /* 0: nothing */
};

struct note_suspect {
    uint64_t node_id;
    uint64_t incarnation;
};

struct note_unserved {
    uint32_t partition;
    uint64_t epoch;
};

struct note_forget {
    uint64_t request;
    char name[PMAP_NAME_BYTES];
};

struct note_forget_reply {
    uint64_t request;
    bool is_over;
    char error[NOTE_TEXT_BYTES];
};

struct note_settled {
    uint32_t count;
    struct pmap_settled at[NOTE_SETTLED_MAX];
};

struct note_change_users {
    uint64_t term;
    struct slice command; /* who sends it owns it; of a note that was read: note_fini frees it */
};

struct note_users_reply {
    uint64_t id;
    uint32_t outcome; /* enum users_outcome */
    uint64_t version;
    char text[NOTE_TEXT_BYTES];
};

struct note {
    enum note_kind kind;
    uint64_t cluster_id;
    uint64_t node_id;
    char name[PMAP_NAME_BYTES];
    struct pmap_address raft; /* port 0: not told */
    union {
        struct note_discovery discovery;
        uint64_t release;
        struct note_join join;
        struct note_join_reply join_reply;
        struct note_ping ping;
        struct note_echo echo;
        struct note_suspect suspect;
        struct note_unserved unserved;
        struct note_forget forget;
        struct note_forget_reply forget_reply;
        struct note_settled settled;
        struct note_change_users change_users;
        struct note_users_reply users_reply;
    };
};

void note_encode(struct buf *out, const struct note *note);
/* False: malformed, or beyond a limit. What was read may have memory of its own: note_fini, also after false. */
MUST_USE bool note_decode(struct slice bytes, struct note *out);
/* Is it well formed, and from that node, as it says? */
MUST_USE bool note_is_of(struct slice bytes, const char *node_name);
void note_fini(struct note *note);

#endif
