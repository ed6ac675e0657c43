/* glob: Redis's pattern language over bytes: `*`, `?`, `[abc]`, `[^a-z]`, `\x`. Thread: any. */
#ifndef FANFARE_BASE_GLOB_H
#define FANFARE_BASE_GLOB_H

#include "base/slice.h"

/* Does `text` match `pattern`, with the meaning that Redis 7.0 gives to PSUBSCRIBE and PUBSUB
 * CHANNELS patterns? Its corners are kept: `*` does not match the empty name, `[` may stay open,
 * the bytes of a range compare as signed numbers.
 * Time: at most pattern.len * text.len steps, for any pattern; no recursion. */
bool glob_match(struct slice pattern, struct slice text);

/* What a text must have to match, for indexes. A literal run is one without a special character,
 * escape or bracket. The three never overlap in the text; each is empty if there is none. */

/* How many bytes at the start of the pattern are literal: any match starts with them. */
size_t glob_literal_prefix(struct slice pattern);

/* How many bytes after the last special token are literal: any match ends with them. 0 if nothing
 * is special. */
size_t glob_literal_suffix(struct slice pattern);

/* The longest literal run between the first and the last special token: any match has it somewhere
 * between the prefix and the suffix. Borrows from the pattern. */
struct slice glob_literal_inner(struct slice pattern);

#endif
