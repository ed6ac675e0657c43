/* bell: an eventfd. */
#include "consensus/disk/bell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct bell *bell = poll->data;
    uint64_t count;
    (void)status;
    (void)events;
    ssize_t n = read(bell->fd, &count, sizeof count);
    CHECK(n == (ssize_t)sizeof count || (n < 0 && errno == EAGAIN));
    bell->on_ring(bell->arg);
}

void bell_init(struct bell *bell, uv_loop_t *loop, void (*on_ring)(void *arg), void *arg)
{
    *bell = (struct bell){.on_ring = on_ring, .arg = arg};
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(bell->fd >= 0);
    CHECK(uv_poll_init(loop, &bell->poll, bell->fd) == 0);
    CHECK(uv_poll_start(&bell->poll, UV_READABLE, on_readable) == 0);
    bell->poll.data = bell;
}

void bell_ref(struct bell *bell)
{
    uv_ref((uv_handle_t *)&bell->poll);
}

void bell_unref(struct bell *bell)
{
    uv_unref((uv_handle_t *)&bell->poll);
}

void bell_ring(struct bell *bell)
{
    uint64_t one = 1;
    ssize_t n = write(bell->fd, &one, sizeof one);
    CHECK(n == (ssize_t)sizeof one || (n < 0 && errno == EAGAIN)); /* EAGAIN: it rings already */
}

void bell_close(struct bell *bell)
{
    uv_close((uv_handle_t *)&bell->poll, NULL);
}

void bell_fini(struct bell *bell)
{
    close(bell->fd);
}
