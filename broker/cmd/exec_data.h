/* exec_data: the data commands of a transaction, which are executed together, in one partition, if what WATCH named is as it
 * was. Thread: the session's worker. */
#ifndef FANFARE_CMD_EXEC_DATA_H
#define FANFARE_CMD_EXEC_DATA_H

#include "cmd/call.h"

/* EXEC's call. Ask for what its transaction has of them: the session waits, and transaction->data has their replies
 * afterwards; if they are not executed, the transaction's reply says so and nothing else of it runs (next is count).
 * True: it waits, or is refused: the error is in call->reply. False: it has none, and watches nothing. */
bool exec_data_begin(struct call *call, bool *is_refused);

/* The reply of the next of them. */
struct slice exec_data_next(struct call *call);

#endif
