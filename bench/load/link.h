/* link: the bytes of a connection to the server, encrypted or not: send and recv, and close.
 * Owns: per encrypted descriptor OpenSSL's state, found by the descriptor's number. Thread: one.
 * The server's certificate is not looked at: what is measured is what encryption costs. */
#ifndef LOAD_LINK_H
#define LOAD_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Shake hands on a connected, blocking `fd`; what follows on it is encrypted. */
void link_secure(int fd);

/* As send and recv, with their errno. A link that is encrypted ignores `flags`. */
ssize_t link_send(int fd, const void *bytes, size_t size, int flags);
ssize_t link_recv(int fd, void *bytes, size_t size, int flags);

/* Close it; the server is told nothing. */
void link_close(int fd);

#endif
