/* held: publishing clients that are not read while another worker has more to deliver than it keeps up
 * with (for other nodes: answers.h). Without it a publisher's answers, which do not wait for deliveries, would let it run ahead
 * until memory ends. Owns: the list. Thread: its worker; no locks. A zeroed struct is an empty one. */
#ifndef FANFARE_CMD_HELD_H
#define FANFARE_CMD_HELD_H

#include <stdbool.h>
#include <stdint.h>

struct service;
struct session;

/* Must this worker's publishers wait for another worker? */
bool held_is_congested(struct service *service);

struct held {
    struct session **session;
    uint32_t count;
    uint32_t cap;
};

/* The session has published: hold it if need be. */
void held_consider(struct session *session);

/* The end of a turn: read them again if the others have caught up. */
void held_turn_end(struct service *service);

/* The session is going away. */
void held_forget(struct session *session);

void held_fini(struct held *held);

#endif
