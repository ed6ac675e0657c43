/* conn: opening connections to the server and the blocking part of their life: greeting and
 * subscribing, before the load begins.
 * Thread: one. Errors: whatever fails here ends the run (fatal). */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "opts.h"
#include "plan.h"

enum conn_role { CONN_SUBSCRIBER, CONN_PUBLISHER };

/* First member of subscriber and publisher: what epoll hands back. */
struct conn {
    int fd;
    enum conn_role role;
};

/* Raise this process's limit of open files to hold `conn_count` connections. */
void conn_limit_raise(uint32_t conn_count);

/* Connect to `port` and greet; blocking, with a time limit on every answer. Gives: the descriptor. */
int conn_open(const struct opts *opts, uint32_t port);

/* Subscribe to all that is held, and see every confirmation as it should be. */
void conn_subscribe(int fd, const struct opts *opts, const struct holding *held);

/* From now on reads and writes do not block. */
void conn_unblock(int fd);

/* Whether the server has closed the connection; reads nothing. */
bool conn_is_closed(int fd);

#endif
