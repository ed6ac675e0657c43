/* glob: Redis's pattern language over bytes: `*`, `?`, `[abc]`, `[^a-z]`, `\x`. Thread: any. */
#ifndef FANFARE_BASE_GLOB_H
#define FANFARE_BASE_GLOB_H

#include "base/slice.h"

/* Does `text` match `pattern`, with the meaning that Redis 7 gives to PSUBSCRIBE and PUBSUB CHANNELS patterns?
 * Time: at most pattern.len * text.len steps, for any pattern; no recursion. */
bool glob_match(struct slice pattern, struct slice text);

/* How many bytes at the start of the pattern are literal: no special character, no escape. */
size_t glob_literal_prefix(struct slice pattern);

/* How many bytes at the end are literal and may be compared with the end of the text: they follow the last special
 * character, and no escape or bracket reaches into them. 0 if the pattern has no special character. */
size_t glob_literal_suffix(struct slice pattern);

#endif
