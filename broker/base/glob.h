/* glob: Redis's pattern language over bytes: `*`, `?`, `[abc]`, `[^a-z]`, `\x`, with the meaning that
 * Redis 7.0 gives to PSUBSCRIBE and PUBSUB CHANNELS patterns. Its corners are kept: `*` does not match
 * the empty name, `[` may stay open, the bytes of a range compare as signed numbers. Thread: any. */
#ifndef FANFARE_BASE_GLOB_H
#define FANFARE_BASE_GLOB_H

#include "base/check.h"
#include "base/slice.h"

struct glob_classes;

/* Steps of 64 tokens of a stretch and a byte of the text that one match may take: some 20 ms. A stretch of 32 KiB and a
 * text of 64 KiB take as many; what would take more does not match. */
enum { GLOB_STEPS_MAX = 1 << 25 };

/* A pattern that is matched more than once. Most need no memory: only brackets with a long text are
 * made into sets. */
struct glob {
    struct slice pattern;
    struct glob_classes *classes; /* NULL: none is long */
};

/* Borrows the pattern until glob_fini. Time: the pattern's length. Memory: at most about twice that. */
void glob_init(struct glob *glob, struct slice pattern);
void glob_fini(struct glob *glob); /* a zeroed one is allowed */

/* Does the whole text match?
 * Time: some steps for each byte of pattern and text; where bytes that differ come late, and only in a
 * stretch between two stars that has `?`, `\` or brackets, besides a step for each byte of the text
 * and each 64 tokens of the stretch, at most GLOB_STEPS_MAX. No recursion. Memory: meanwhile at most the text's length. */
MUST_USE bool glob_matches(const struct glob *glob, struct slice text);

/* The same for a pattern that is used once. */
MUST_USE bool glob_match(struct slice pattern, struct slice text);

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
