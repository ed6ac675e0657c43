/* topic: made with the first subscription of a worker, freed after the last. */
#include "pubsub/topic_int.h"

#include "base/mem.h"

struct topic *topic_new(enum topic_kind kind, struct slice name)
{
    struct topic *topic = mem_new0(sizeof *topic + name.len + 1);
    topic->kind = (uint8_t)kind;
    topic->delivery_first = DELIVERY_NONE;
    topic->delivery_last = DELIVERY_NONE;
    topic->name_len = (uint32_t)name.len;
    memcpy(topic->name, name.data, name.len);
    return topic;
}

void topic_free(struct topic *topic)
{
    CHECK(topic->solo.count == 0 && topic->multi.count == 0 && topic->transits == NULL);
    block_unref(topic->backlog);
    mem_free(topic);
}
