/* read: linearizable reads, by lease or by one quorum round for all groups that wait. Thread: the
 * raft thread. */
#ifndef FANFARE_CONSENSUS_READ_H
#define FANFARE_CONSENSUS_READ_H

#include "consensus/group/shared.h"
#include "consensus/link/message.h"

struct group;

void read_begin(struct group *g, struct read_request *request); /* engine_read */
/* A follower answered an AppendEntries of this term. What is known of it; NULL: it is no member. */
struct group_peer *read_note_reply(struct group *g, const struct message *m);
/* Until when, by its own clock, nobody else can lead; 0: no lease. */
uint64_t read_lease_until_ms(const struct group *g);
void read_end(struct group *g, enum err err); /* all that wait */
void read_show(struct group *g);              /* to who looks from other threads */
void read_show_lease(struct group *g);        /* the same where only the lease has changed */
void read_service(struct groups *all); /* serve what can be, start a round if one is wanted */
void read_on_query(struct groups *all, const char *from_name, const struct message *m);
void read_on_reply(struct groups *all, const char *from_name, const struct message *m);

#endif
