/* transaction: the queue. */
#include "session/transaction.h"

#include "base/mem.h"

void transaction_begin(struct session *session)
{
    struct session_extra *extra = session_extra(session);
    CHECK(extra->transaction == NULL);
    extra->transaction = mem_new0(sizeof *extra->transaction);
    session->flags |= SESSION_MULTI;
}

static struct queued *queued_new(const struct slice *argv, uint32_t argc, size_t *bytes)
{
    *bytes = sizeof(struct queued) + argc * sizeof(struct slice);
    for (uint32_t i = 0; i < argc; i++) {
        *bytes += argv[i].len;
    }
    struct queued *queued = mem_new(*bytes);
    queued->refusal = (struct buf){0};
    queued->argc = argc;
    char *at = (char *)&queued->argv[argc];
    for (uint32_t i = 0; i < argc; i++) {
        if (argv[i].len > 0) { memcpy(at, argv[i].data, argv[i].len); }
        queued->argv[i] = slice_of(at, argv[i].len);
        at += argv[i].len;
    }
    return queued;
}

void transaction_add(struct transaction *transaction, uint16_t command, uint32_t flags,
                     const struct slice *argv, uint32_t argc)
{
    if (transaction->count == transaction->cap) {
        transaction->cap = transaction->cap > 0 ? transaction->cap * 2 : 8;
        transaction->queue =
            mem_resize(transaction->queue, transaction->cap * sizeof(struct queued *));
    }
    size_t bytes;
    struct queued *queued = queued_new(argv, argc, &bytes);
    queued->command = command;
    transaction->queue[transaction->count++] = queued;
    transaction->bytes += bytes + sizeof(struct queued *);
    transaction->flags |= flags;
}

void transaction_free(struct transaction *transaction)
{
    if (transaction == NULL) { return; }
    for (uint32_t i = 0; i < transaction->count; i++) {
        buf_fini(&transaction->queue[i]->refusal);
        mem_free(transaction->queue[i]);
    }
    mem_free(transaction->queue);
    buf_fini(&transaction->data);
    mem_free(transaction->data_end);
    buf_fini(&transaction->reply);
    mem_free(transaction);
}

void transaction_discard(struct session *session)
{
    session->flags &= ~(uint32_t)(SESSION_MULTI | SESSION_EXECUTING);
    if (session->extra == NULL) { return; }
    transaction_free(session->extra->transaction);
    session->extra->transaction = NULL;
    transaction_unwatch(session);
}

struct transaction *transaction_detach(struct session *session)
{
    struct transaction *transaction = session->extra->transaction;
    session->extra->transaction = NULL;
    return transaction;
}

void transaction_watch(struct session *session, uint16_t database, struct slice key,
                       uint64_t version)
{
    struct session_extra *extra = session_extra(session);
    if (extra->watch_count == extra->watch_cap) {
        extra->watch_cap = extra->watch_cap > 0 ? extra->watch_cap * 2 : 4;
        extra->watched = mem_resize(extra->watched, extra->watch_cap * sizeof(struct watched));
    }
    extra->watched[extra->watch_count++] =
        (struct watched){version, database, slice_of(mem_copy(key.data, key.len), key.len)};
}

void transaction_unwatch(struct session *session)
{
    struct session_extra *extra = session->extra;
    if (extra == NULL || extra->watch_cap == 0) { return; }
    for (uint32_t i = 0; i < extra->watch_count; i++) {
        mem_free((void *)(uintptr_t)extra->watched[i].key.data);
    }
    mem_free(extra->watched);
    extra->watched = NULL;
    extra->watch_count = 0;
    extra->watch_cap = 0;
}

uint32_t transaction_flags(const struct session *session)
{
    const struct transaction *transaction = transaction_of(session);
    return transaction != NULL ? transaction->flags : 0;
}

size_t transaction_bytes(const struct session *session)
{
    const struct transaction *transaction = transaction_of(session);
    return transaction != NULL ? transaction->bytes : 0;
}
