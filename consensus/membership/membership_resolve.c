/* membership_resolve: asks the resolver, at most once a second per name, and remembers the answer.
 * Owns: the requests under way. Thread: the raft thread.
 * Always: a name has one request under way at most, and ADDRESSES_MAX addresses. */
#include "consensus/membership/membership_resolve.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { AGAIN_MS = 1000, ADDRESSES_MAX = 64 };

struct name {
    struct resolve *owner;
    struct pmap_address asked;
    uv_getaddrinfo_t request;
    bool is_busy;
    bool was_asked;
    uint64_t asked_ms;
    uint32_t count;
    char host[ADDRESSES_MAX][INET6_ADDRSTRLEN];
};

struct resolve {
    uv_loop_t *loop;
    void (*send)(void *arg, const char *host, uint16_t port, struct slice note);
    void *arg;
    bool is_cancelled;
    uint32_t address_count; /* different ones */
    uint32_t count;
    struct name name[];
};

struct resolve *
resolve_new(uv_loop_t *loop, const struct pmap_address *list, uint32_t count,
            void (*send)(void *arg, const char *host, uint16_t port, struct slice note), void *arg)
{
    struct resolve *resolve = mem_new0(sizeof *resolve + count * sizeof resolve->name[0]);
    resolve->loop = loop;
    resolve->send = send;
    resolve->arg = arg;
    resolve->count = count;
    for (uint32_t i = 0; i < count; i++) {
        resolve->name[i].owner = resolve;
        resolve->name[i].asked = list[i];
    }
    return resolve;
}

static void take_addresses(struct name *name, const struct addrinfo *found)
{
    name->count = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (name->count == ADDRESSES_MAX) { return; }
        char *host = name->host[name->count];
        if (uv_ip_name(at->ai_addr, host, sizeof name->host[0]) != 0) { continue; }
        bool is_known = false;
        for (uint32_t i = 0; i < name->count; i++) {
            is_known = is_known || strcmp(name->host[i], host) == 0;
        }
        name->count += !is_known;
    }
}

/* Has an earlier name that address, too? */
static bool is_known_before(const struct resolve *resolve, uint32_t index, const char *host)
{
    for (uint32_t i = 0; i < index; i++) {
        const struct name *name = &resolve->name[i];
        bool is_port = name->asked.port == resolve->name[index].asked.port;
        for (uint32_t k = 0; is_port && k < name->count; k++) {
            if (strcmp(name->host[k], host) == 0) { return true; }
        }
    }
    return false;
}

static uint32_t count_addresses(const struct resolve *resolve)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < resolve->count; i++) {
        for (uint32_t k = 0; k < resolve->name[i].count; k++) {
            count += !is_known_before(resolve, i, resolve->name[i].host[k]);
        }
    }
    return count;
}

uint32_t resolve_count(const struct resolve *resolve)
{
    return resolve->address_count;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct name *name = request->data;
    name->is_busy = false;
    if (status == 0) {
        take_addresses(name, found);
        name->owner->address_count = count_addresses(name->owner);
    } else if (status != UV_ECANCELED) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a name of the join list cannot be resolved",
                    LOG_STR("host", name->asked.host), LOG_STR("error", uv_strerror(status)));
    }
    uv_freeaddrinfo(found);
}

static void ask(struct name *name)
{
    struct resolve *resolve = name->owner;
    uint64_t now = uv_now(resolve->loop);
    if (name->is_busy || (name->was_asked && now < name->asked_ms + AGAIN_MS)) { return; }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    name->request.data = name;
    name->asked_ms = now;
    name->was_asked = true;
    name->is_busy = uv_getaddrinfo(resolve->loop, &name->request, on_resolved, name->asked.host,
                                   NULL, &hints) == 0;
}

void resolve_send(struct resolve *resolve, struct slice note)
{
    for (uint32_t i = 0; i < resolve->count && !resolve->is_cancelled; i++) {
        struct name *name = &resolve->name[i];
        ask(name);
        for (uint32_t k = 0; k < name->count; k++) {
            resolve->send(resolve->arg, name->host[k], name->asked.port, note);
        }
    }
}

void host_lookup_cancel(struct resolve *resolve)
{
    resolve->is_cancelled = true;
    for (uint32_t i = 0; i < resolve->count; i++) {
        if (resolve->name[i].is_busy) { uv_cancel((uv_req_t *)&resolve->name[i].request); }
    }
}

void resolve_free(struct resolve *resolve)
{
    mem_free(resolve);
}
