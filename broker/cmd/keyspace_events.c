/* keyspace_events: a task for each change, with its texts. */
#include "cmd/keyspace_events.h"

#include "base/mem.h"
#include "cmd/broker.h"
#include "cmd/service.h"
#include "data/data_call.h"
#include "partition/partition.h"

enum { CLASSES = (EVENT_NEW << 1) - 1 }; /* all that there are; the option's bits begin with them */
_Static_assert((int)CLASSES < (int)CONFIG_EVENT_KEYSPACE,
               "the option's letters are in the order of classes");

struct change {
    struct task task;
    struct broker *broker;
    const char *event;
    uint32_t flags;
    uint16_t db;
    struct slice key;
    char bytes[];
};

void keyspace_events_set(struct broker *broker)
{
    struct partitions *partitions = broker_partitions(broker);
    if (partitions == NULL) { return; }
    uint32_t flags = (uint32_t)config_number(broker->config, CONFIG_notify_keyspace_events);
    bool is_on = flags & (CONFIG_EVENT_KEYSPACE | CONFIG_EVENT_KEYEVENT);
    partitions_set_events(partitions, is_on ? flags & CLASSES : 0);
}

static void publish(struct change *change, const char *kind, struct slice about,
                    struct slice message)
{
    struct buf channel = {0};
    buf_appendf(&channel, "__%s@%u__:", kind, change->db);
    buf_append(&channel, about);
    struct fanout *fanout = change->broker->service[0]->fanout;
    fanout_publish_silent(fanout, TOPIC_CHANNEL, buf_slice(&channel), message, NULL);
    buf_fini(&channel);
}

/* On worker 0. */
static void on_change(struct task *task)
{
    struct change *change = CONTAINER_OF(task, struct change, task);
    struct slice event = slice_of_str(change->event);
    if (change->flags & CONFIG_EVENT_KEYSPACE) { publish(change, "keyspace", change->key, event); }
    if (change->flags & CONFIG_EVENT_KEYEVENT) { publish(change, "keyevent", event, change->key); }
    mem_free(change);
}

/* Is there anybody who could hear of it? In a cluster others may. */
static bool has_listeners(const struct broker *broker)
{
    return broker->cluster != NULL || directory_count(broker->directory, TOPIC_CHANNEL) > 0 ||
           directory_count(broker->directory, TOPIC_PATTERN) > 0;
}

void keyspace_events_changed(void *broker_arg, uint16_t db, struct slice key, const char *event,
                             uint32_t class)
{
    struct broker *broker = broker_arg;
    uint32_t flags = (uint32_t)config_number(broker->config, CONFIG_notify_keyspace_events);
    if ((flags & class) == 0 || !has_listeners(broker)) { return; }
    struct change *change = mem_new(sizeof *change + key.len + 1);
    *change = (struct change){
        .task.run = on_change, .broker = broker, .event = event, .flags = flags, .db = db};
    if (key.len > 0) { memcpy(change->bytes, key.data, key.len); }
    change->key = slice_of(change->bytes, key.len);
    mailbox_post(broker->mailbox[0], &change->task);
}
