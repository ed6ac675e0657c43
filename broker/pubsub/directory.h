/* directory: the table that all workers share: channel -> how many subscribers on each worker, and
 * the pattern set. The one place with locks (DESIGN section 3): 256 stripes by hash of the channel.
 * Publishing holds one stripe to read the counts and to post to every mailbox that has receivers,
 * so all mailboxes see one channel's messages and index changes in the same order. Pattern
 * subscriptions change under all stripes, so that any one stripe is enough to read the set. Lock
 * order: stripes by index, ascending; nothing else is ever locked inside. */
#ifndef FANFARE_PUBSUB_DIRECTORY_H
#define FANFARE_PUBSUB_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD, TOPIC_KINDS };

struct directory;

MUST_USE struct directory *directory_new(uint32_t worker_count);
void directory_free(struct directory *directory); /* NULL is allowed */

/* For PUBSUB, from any thread: */

/* Subscribers of one channel (TOPIC_CHANNEL, TOPIC_SHARD) in the whole node; patterns are not
 * counted. */
uint64_t directory_subscribers(struct directory *directory, enum topic_kind kind,
                               struct slice name);

/* Call visit for the name of each channel of that kind with a subscriber, or of each pattern; names
 * are valid for the call, which happens under a lock: visit copies and returns. */
void directory_each(struct directory *directory, enum topic_kind kind,
                    void (*visit)(void *arg, struct slice name), void *arg);

/* Distinct channels with a subscriber, or distinct patterns. */
uint64_t directory_count(struct directory *directory, enum topic_kind kind);

#endif
