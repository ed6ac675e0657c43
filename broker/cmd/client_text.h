/* client_text: the short texts that a client gives about itself: name, library, version. Thread:
 * any. */
#ifndef FANFARE_CMD_CLIENT_TEXT_H
#define FANFARE_CMD_CLIENT_TEXT_H

#include <stdbool.h>

#include "base/slice.h"

/* May it stand in a line of CLIENT LIST: printable ASCII without blanks? The empty text may. */
bool client_text_is_plain(struct slice text);

/* Replace the text at *at by a copy, NUL-terminated, or by NULL for an empty one. `text` is
 * plain. */
void client_text_set(char **at, struct slice text);

#endif
