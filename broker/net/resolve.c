/* resolve: requests go to the thread by its mailbox, answers back by the asker's. */
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

struct resolver {
    struct thread thread;
    struct mailbox mailbox;
    int wake_fd;
    atomic_bool is_stopping;
};

/* Who changes the state first owns the request: the thread by its answer, or the asker by its second thoughts;
 * the other one then frees it. */
enum resolve_state { RESOLVE_ASKED, RESOLVE_ANSWERED, RESOLVE_CANCELLED };

struct resolve {
    struct task task; /* there, then back */
    struct resolve_opts opts;
    char *host;
    atomic_int state;
    struct resolved resolved;
};

static void resolve_free(struct resolve *request)
{
    mem_free(request->host);
    mem_free(request);
}

static const char *look_up(const char *host, uint16_t port, int flags, struct resolved *out)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICSERV | flags, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed != 0) { return gai_strerror(failed); }
    for (const struct addrinfo *at = found; at != NULL && out->count < RESOLVE_ADDRESSES_MAX;
         at = at->ai_next) {
        struct address *address = &out->address[out->count++];
        memcpy(&address->storage, at->ai_addr, at->ai_addrlen);
        address->bytes = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return NULL;
}

bool resolve_literal(const char *host, uint16_t port, struct address *out)
{
    struct resolved resolved = {0};
    if (look_up(host, port, AI_NUMERICHOST, &resolved) != NULL) { return false; }
    *out = resolved.address[0];
    return true;
}

/* ---- the thread ---- */

static void wake(void *arg)
{
    const struct resolver *resolver = arg;
    uint64_t one = 1;
    CHECK(write(resolver->wake_fd, &one, sizeof one) == (ssize_t)sizeof one);
}

static void sleep_until_woken(struct resolver *resolver)
{
    mailbox_sleeping(&resolver->mailbox, true);
    if (mailbox_is_empty(&resolver->mailbox) && !atomic_load(&resolver->is_stopping)) {
        uint64_t count;
        ssize_t n = read(resolver->wake_fd, &count, sizeof count);
        CHECK(n == (ssize_t)sizeof count || (n < 0 && errno == EINTR));
    }
    mailbox_sleeping(&resolver->mailbox, false);
}

static void resolver_main(void *arg)
{
    struct resolver *resolver = arg;
    while (!atomic_load(&resolver->is_stopping)) {
        sleep_until_woken(resolver);
        (void)mailbox_run(&resolver->mailbox);
    }
}

struct resolver *resolver_new(void)
{
    struct resolver *resolver = mem_new0(sizeof *resolver);
    resolver->wake_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(resolver->wake_fd >= 0);
    mailbox_init(&resolver->mailbox, wake, resolver);
    thread_start(&resolver->thread, "resolver", resolver_main, resolver);
    return resolver;
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL) { return; }
    atomic_store(&resolver->is_stopping, true);
    wake(resolver);
    thread_join(&resolver->thread);
    (void)mailbox_run(&resolver->mailbox); /* the cancelled ones free themselves */
    CHECK(close(resolver->wake_fd) == 0);
    mem_free(resolver);
}

/* ---- requests ---- */

static void on_answer(struct task *task)
{
    struct resolve *request = CONTAINER_OF(task, struct resolve, task);
    if (atomic_load(&request->state) != RESOLVE_CANCELLED) {
        request->opts.on_done(request->opts.arg, &request->resolved);
    }
    resolve_free(request);
}

/* On the thread. */
static void on_request(struct task *task)
{
    struct resolve *request = CONTAINER_OF(task, struct resolve, task);
    if (atomic_load(&request->state) == RESOLVE_CANCELLED) {
        resolve_free(request);
        return;
    }
    request->resolved.why = look_up(request->host, request->opts.port, 0, &request->resolved);
    request->task.run = on_answer;
    int asked = RESOLVE_ASKED;
    if (!atomic_compare_exchange_strong(&request->state, &asked, RESOLVE_ANSWERED)) {
        resolve_free(request);
        return;
    }
    mailbox_post(request->opts.mailbox, &request->task);
}

struct resolve *resolve_start(struct resolver *resolver, const struct resolve_opts *opts)
{
    struct resolve *request = mem_new0(sizeof *request);
    request->opts = *opts;
    request->host = mem_copy(opts->host, strlen(opts->host) + 1);
    atomic_init(&request->state, RESOLVE_ASKED);
    request->task.run = on_request;
    mailbox_post(&resolver->mailbox, &request->task);
    return request;
}

void resolve_cancel(struct resolve *request)
{
    atomic_store(&request->state, RESOLVE_CANCELLED);
}
