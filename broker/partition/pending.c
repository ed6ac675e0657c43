/* pending: see the header. */
#include "partition/pending.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "partition/store_thread.h"

enum {
    PENDING_BYTES = 1 << 20, /* of entries; also bounds the work of a commit */
    EAGER_MS = 100,
};

/* Before the bytes of a command that is kept. */
struct kept_head {
    uint64_t index;
    size_t len;
};

void pending_init(struct partition *p)
{
    list_init(&p->pending.due);
}

static void forget_due(struct partition *p)
{
    if (list_is_linked(&p->pending.due)) { list_remove(&p->pending.due); }
}

enum err pending_begin(struct partition *p, struct store_txn **txn)
{
    enum err err = ERR_OK;
    if (p->pending.txn == NULL) { err = store_begin(p->file->store, &p->pending.txn); }
    *txn = p->pending.txn;
    return err;
}

bool pending_takes(const struct partition *p, size_t bytes)
{
    const struct pending *pending = &p->pending;
    return pending->commands.len + bytes <= PENDING_BYTES &&
           store_thread_now_ms() >= pending->eager_until_ms;
}

void pending_add(struct partition *p, const struct fsm_command *command)
{
    const struct kept_head head = {command->index, command->data.len};
    buf_append(&p->pending.commands, slice_of(&head, sizeof head));
    buf_append(&p->pending.commands, command->data);
}

void pending_hasten(struct partition *p)
{
    p->pending.eager_until_ms = store_thread_now_ms() + EAGER_MS;
}

void pending_await(struct partition *p, uint64_t ms)
{
    struct pending *pending = &p->pending;
    struct list *before = p->thread->pending.prev;
    forget_due(p);
    pending->due_ms = store_thread_now_ms() + ms;
    while (before != &p->thread->pending &&
           CONTAINER_OF(before, struct partition, pending.due)->pending.due_ms > pending->due_ms) {
        before = before->prev;
    }
    list_push_back(before->next, &pending->due);
}

enum err pending_commit(struct partition *p)
{
    struct pending *pending = &p->pending;
    struct store_txn *txn = pending->txn;
    uint64_t began_ns = clock_mono_ns();
    pending->txn = NULL;
    forget_due(p);
    enum err err = store_commit(txn);
    uint64_t worked_ns = pending->worked_ns + clock_mono_ns() - began_ns;
    uint64_t call_count = pending->call_count;
    pending->worked_ns = 0;
    pending->call_count = 0;
    if (err != ERR_OK) { return err; }
    pending->commands.len = 0;
    atomic_store(&p->applied, p->executed);
    metric_add(METRIC_partition_transactions_total, 1);
    metric_observe(METRIC_HISTOGRAM_partition_transaction_calls, call_count);
    metric_observe(METRIC_HISTOGRAM_partition_transaction_seconds, worked_ns);
    return ERR_OK;
}

void pending_abort(struct partition *p)
{
    if (p->pending.txn != NULL) { store_abort(p->pending.txn); }
    p->pending.txn = NULL;
    p->pending.worked_ns = 0;
    p->pending.call_count = 0;
    forget_due(p);
}

void pending_drop(struct partition *p)
{
    pending_abort(p);
    buf_fini(&p->pending.commands);
}

bool pending_take(struct slice *commands, struct fsm_command *command)
{
    struct kept_head head;
    if (commands->len == 0) { return false; }
    memcpy(&head, commands->data, sizeof head);
    const char *data = commands->data + sizeof head;
    *command = (struct fsm_command){.index = head.index, .data = slice_of(data, head.len)};
    *commands = slice_of(data + head.len, commands->len - sizeof head - head.len);
    return true;
}
