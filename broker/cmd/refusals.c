/* refusals: entries of the log of this node, as the cluster passes them on. */
#include "cmd/refusals.h"

#include "acl/acl.h"
#include "cmd/broker.h"

struct cluster_refusal refusal_of(const struct acl_log_entry *entry)
{
    return (struct cluster_refusal){
        .id = entry->id,
        .count = entry->count,
        .reason = entry->reason,
        .created_ms = entry->created_ms,
        .updated_ms = entry->updated_ms,
        .context = slice_of_str(entry->context),
        .object = entry->object,
        .user = entry->user,
        .client = entry->client,
    };
}

struct telling {
    void (*take)(void *to, const struct cluster_refusal *refusal);
    void *to;
};

static void begin(void *arg, uint32_t count)
{
    (void)arg;
    (void)count;
}

static void tell(void *arg, const struct acl_log_entry *entry)
{
    const struct telling *telling = arg;
    const struct cluster_refusal refusal = refusal_of(entry);
    telling->take(telling->to, &refusal);
}

void refusals_tell(void *arg, uint32_t limit,
                   void (*take)(void *to, const struct cluster_refusal *refusal), void *to)
{
    struct broker *broker = arg;
    struct telling telling = {take, to};
    const struct acl_log_visitor visitor = {begin, tell, &telling};
    acl_log_each(acl_log(broker->acl), limit, &visitor);
}

void refusals_forget(void *arg)
{
    acl_log_clear(acl_log(((struct broker *)arg)->acl));
}
