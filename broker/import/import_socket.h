/* import_socket: a connection to a server, made at once. Owns: nothing. Thread: main; waits. */
#ifndef FANFARE_IMPORT_IMPORT_SOCKET_H
#define FANFARE_IMPORT_IMPORT_SOCKET_H

#include "import/import_options.h"

/* Gives: a non-blocking descriptor; -1: *why (static, or strerror's) says why. */
MUST_USE int import_socket_open(const struct import_server *server, const char **why);

#endif
