/* link: the life of the link: its listener, its clock, its end.
 * Owns: the listener. Not: the connections (link_peers.c, link_incoming.c), what frames mean. Thread: the raft thread.
 * Always: a connection that carries garbage, or nothing at all for silence_ms_max, is closed, and nothing else happens
 * to anybody. */
#include "consensus/link/link.h"

#include <netdb.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/link/link_int.h"
#include "trust/trust.h"

enum {
    PINGS_PER_SILENCE = 5,
    LISTEN_BACKLOG = 128,
    RENEW_MS = 200,
    TELL_MS = 10 * 1000, /* between log lines about what happens again and again */
};

uint64_t link_now_ms(const struct link *link)
{
    return uv_now(link->opts.loop);
}

bool link_may_tell(const struct link *link, uint64_t *told_ms)
{
    if (*told_ms != 0 && link_now_ms(link) < *told_ms + TELL_MS) { return false; }
    *told_ms = link_now_ms(link);
    return true;
}

void link_maybe_free(struct link *link)
{
    if (!link->is_closing || link->handle_count > 0) { return; }
    link_free_outgoing(link);
    buf_fini(&link->wire);
    buf_fini(&link->sealed);
    void (*on_closed)(void *arg) = link->on_closed;
    void *arg = link->closed_arg;
    mem_free(link);
    on_closed(arg);
}

static void on_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    link_watch_outgoing(link);
    link_watch_incoming(link);
}

static void on_own_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->handle_count--;
    link_maybe_free(link);
}

static void ignore_closed(void *arg)
{
    (void)arg;
}

/* Of a name with several addresses the first is taken. It is looked up here and now: nothing runs yet. */
static int listen_on(struct link *link)
{
    char port[8];
    snprintf(port, sizeof port, "%u", link->opts.listen_port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    uv_getaddrinfo_t request;
    int rv = uv_getaddrinfo(link->opts.loop, &request, NULL, link->opts.listen_host, port, &hints);
    if (rv != 0) { return rv; }
    rv = uv_tcp_bind(&link->listener, request.addrinfo->ai_addr, 0);
    uv_freeaddrinfo(request.addrinfo);
    return rv != 0 ? rv
                   : uv_listen((uv_stream_t *)&link->listener, LISTEN_BACKLOG, link_on_connection);
}

enum err link_open(struct link **out, const struct link_opts *opts)
{
    struct link *link = mem_new0(sizeof *link);
    link->opts = *opts;
    list_init(&link->peers);
    list_init(&link->incoming);
    CHECK(uv_tcp_init(opts->loop, &link->listener) == 0);
    CHECK(uv_timer_init(opts->loop, &link->timer) == 0);
    CHECK(uv_timer_init(opts->loop, &link->hello_timer) == 0);
    CHECK(uv_timer_init(opts->loop, &link->shake_timer) == 0);
    CHECK(uv_timer_init(opts->loop, &link->renew_timer) == 0);
    link->listener.data = link;
    link->timer.data = link;
    link->hello_timer.data = link;
    link->shake_timer.data = link;
    link->renew_timer.data = link;
    link->handle_count = 5;
    int rv = opts->listen_host != NULL ? listen_on(link) : 0;
    if (rv != 0) {
        LOG_ERROR("cannot listen for raft peers", LOG_STR("host", opts->listen_host),
                  LOG_UINT("port", opts->listen_port), LOG_STR("error", uv_strerror(rv)));
        link_close(link, ignore_closed, NULL);
        return ERR_SYSTEM;
    }
    uint64_t ping_ms = opts->silence_ms_max / PINGS_PER_SILENCE;
    CHECK(uv_timer_start(&link->timer, on_timer, ping_ms, ping_ms) == 0);
    if (opts->trust != NULL && trust_identity(opts->trust) != NULL) {
        CHECK(uv_timer_start(&link->renew_timer, link_on_renew_timer, RENEW_MS, RENEW_MS) == 0);
    }
    *out = link;
    return ERR_OK;
}

uint16_t link_port(const struct link *link)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (uv_tcp_getsockname(&link->listener, (struct sockaddr *)&address, &len) != 0) { return 0; }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

void link_close(struct link *link, void (*on_closed)(void *arg), void *arg)
{
    link->is_closing = true;
    link->on_closed = on_closed;
    link->closed_arg = arg;
    link_close_outgoing(link);
    link_close_incoming(link);
    uv_close((uv_handle_t *)&link->listener, on_own_closed);
    uv_close((uv_handle_t *)&link->timer, on_own_closed);
    uv_close((uv_handle_t *)&link->hello_timer, on_own_closed);
    uv_close((uv_handle_t *)&link->shake_timer, on_own_closed);
    uv_close((uv_handle_t *)&link->renew_timer, on_own_closed);
}

uint64_t link_dropped_count(const struct link *link)
{
    return link->dropped_count;
}
