/* login: names and passwords, and what becomes of wrong ones: they are noted, counted by address, and answered later and later
 * (auth-failure-delay). Only the client that failed waits; whoever knows a password is let in at once, from the same address, too.
 * Thread: the session's worker, unless stated. */
#ifndef FANFARE_CMD_LOGIN_H
#define FANFARE_CMD_LOGIN_H

#include "base/address.h"
#include "cmd/broker.h"
#include "cmd/call.h"

/* Let the client in as this user. False: it is answered, now or later, that it may not. */
MUST_USE bool login(struct call *call, struct slice name, struct slice password);

/* A login from this address (address_key) has failed: count it, and say so in the log if there are many. Any thread. Gives: the
 * milliseconds that the answer is to wait. */
uint32_t login_failed(struct broker *broker, const unsigned char key[ADDRESS_KEY_BYTES]);

#endif
