/* admin_viewers: who is connected, since when, and who has to go. */
#include "admin/admin_viewers_int.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/clock.h"
#include "base/mem.h"

/* What may wait unread of one connection. Without it evhttp lets libevent read on, without end,
 * even while it answers; it must be more than the headers and the body that evhttp is set to take.
 */
enum { INPUT_BYTES_MAX = 16 * 1024 };

struct viewer {
    struct list link;
    struct bufferevent *bev; /* a reference of ours; closes its socket with the last one */
    uint64_t since_ns;       /* when it connected or got its last answer */
};

static struct viewer *viewer_of(struct list *link)
{
    return CONTAINER_OF(link, struct viewer, link);
}

/* Has evhttp freed the connection? */
static bool viewer_is_gone(const struct viewer *viewer)
{
    bufferevent_event_cb on_event = NULL;
    bufferevent_getcb(viewer->bev, NULL, NULL, &on_event, NULL);
    return on_event == NULL;
}

static void forget(struct viewers *viewers, struct viewer *viewer)
{
    list_remove(&viewer->link);
    viewers->count--;
    bufferevent_decref(viewer->bev);
    mem_free(viewer);
}

static void forget_gone(struct viewers *viewers)
{
    LIST_EACH (link, &viewers->list) {
        if (viewer_is_gone(viewer_of(link))) { forget(viewers, viewer_of(link)); }
    }
}

/* Tell evhttp that the connection timed out, upon which it frees it. */
static void shed(struct viewers *viewers, struct viewer *viewer)
{
    bufferevent_trigger_event(viewer->bev, BEV_EVENT_TIMEOUT | BEV_EVENT_READING, 0);
    CHECK(viewer_is_gone(viewer));
    viewers->shed_count++;
    forget(viewers, viewer);
}

void viewers_init(struct viewers *viewers, uint32_t count_max, uint64_t patience_ns)
{
    *viewers = (struct viewers){.count_max = count_max, .patience_ns = patience_ns};
    list_init(&viewers->list);
}

void viewers_add(struct viewers *viewers, struct bufferevent *bev)
{
    forget_gone(viewers);
    if (viewers->count == viewers->count_max) { shed(viewers, viewer_of(viewers->list.next)); }
    struct viewer *viewer = mem_new0(sizeof *viewer);
    viewer->bev = bev;
    bufferevent_setwatermark(viewer->bev, EV_READ, 0, INPUT_BYTES_MAX);
    bufferevent_incref(viewer->bev);
    viewer->since_ns = clock_mono_ns();
    list_push_back(&viewers->list, &viewer->link);
    viewers->count++;
}

void viewers_answered(struct viewers *viewers, struct bufferevent *bev)
{
    LIST_EACH (link, &viewers->list) {
        struct viewer *viewer = viewer_of(link);
        if (viewer->bev == bev) {
            viewer->since_ns = clock_mono_ns();
            list_remove(&viewer->link);
            list_push_back(&viewers->list, &viewer->link);
            return;
        }
    }
}

void viewers_tick(struct viewers *viewers)
{
    forget_gone(viewers);
    uint64_t now_ns = clock_mono_ns();
    while (!list_is_empty(&viewers->list)) {
        struct viewer *first = viewer_of(viewers->list.next);
        if (now_ns - first->since_ns < viewers->patience_ns) { break; }
        shed(viewers, first);
    }
}

void viewers_fini(struct viewers *viewers)
{
    forget_gone(viewers);
    CHECK(viewers->count == 0);
}
