/* patterns: the set of pattern subscriptions, indexed so that the cost of a match does not grow
 * with the patterns that do not match.
 * Owns: the index. Not: the pattern objects, which embed struct pattern_node and keep its text
 * alive.
 * Thread: no locks of its own. Any number of concurrent patterns_match and patterns_find, or one
 * writer (directory.c holds every stripe to write, any one stripe to read). */
#ifndef FANFARE_PUBSUB_PATTERNS_H
#define FANFARE_PUBSUB_PATTERNS_H

#include <stddef.h>

#include "base/check.h"
#include "base/glob.h"
#include "base/map.h"
#include "base/slice.h"

struct patterns;

struct pattern_node {
    struct map_node
        by_text;      /* the caller sets the key, the pattern's text, before patterns_insert */
    struct glob glob; /* the rest is the index's own: the pattern to match by, */
    struct pattern_node *next; /* neighbours at the same place of the index, */
    struct pattern_node **back;
    unsigned stage; /* and which of the pattern's literal parts led there */
};

MUST_USE struct patterns *patterns_new(void);
/* Nodes that are in it are left alone, with what their long brackets have been made into. NULL is allowed. */
void patterns_free(struct patterns *patterns);

/* Insert a node whose text is not in the set; takes it until patterns_remove.
 * Time: the pattern's length. Memory: about 150 bytes a pattern besides its node, and for long brackets
 * at most twice its length. */
void patterns_insert(struct patterns *patterns, struct pattern_node *node);
void patterns_remove(struct patterns *patterns, struct pattern_node *node);

struct pattern_node *patterns_find(const struct patterns *patterns, struct slice text);
size_t patterns_count(const struct patterns *patterns);

/* The nodes, by text. The set must not change while it is used. */
const struct map *patterns_by_text(const struct patterns *patterns);

/* The node after `node`, or the first for NULL; NULL at the end. */
struct pattern_node *patterns_next(const struct patterns *patterns,
                                   const struct pattern_node *node);

/* Call visit once for each pattern that matches `channel` (glob_matches), in no particular order.
 * visit must not change the set.
 * Time: the channel's length and the patterns whose literal prefix, suffix and longest inner
 * literal all fit it. Patterns that have none of the three (`*`, `?[ab]?`) are tried one by one. */
void patterns_match(const struct patterns *patterns, struct slice channel,
                    void (*visit)(void *arg, struct pattern_node *node), void *arg);

#endif
