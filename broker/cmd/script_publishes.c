/* script_publishes: see the header. */
#include "cmd/script_publishes.h"

#include "data/data_script.h"

void script_publishes(const struct service *service, struct slice *reply)
{
    struct slice publishes = data_publishes_split(reply);
    struct data_publish publish;
    while (data_publishes_take(&publishes, &publish)) {
        fanout_publish_silent(service->fanout, publish.is_shard ? TOPIC_SHARD : TOPIC_CHANNEL,
                              publish.channel, publish.message, NULL);
    }
}
