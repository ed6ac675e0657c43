/* admin_int: what the files of this folder share. Thread: all of it belongs to the admin thread. */
#ifndef FANFARE_ADMIN_ADMIN_INT_H
#define FANFARE_ADMIN_ADMIN_INT_H

#include <stddef.h>
#include <stdint.h>

#include "admin/admin.h"
#include "base/buf.h"

struct answer {
    int code;
    const char *type;
    struct buf text;
};

/* admin_health.c: 200 and "ok", or 503 and the reason. */
void health_live(const struct admin_opts *opts, struct answer *answer);
void health_ready(const struct admin_opts *opts, struct answer *answer);
void health_started(const struct admin_opts *opts, struct answer *answer);
const char *health_unready_because(const struct admin_opts *opts); /* static; NULL: ready */

/* admin_metrics.c: the text of /metrics, and when it was printed. Zeroed: never. */
struct metrics_page {
    struct buf text;
    uint64_t printed_ns;
    double start_s; /* the process's, read once: it must not move with the wall clock */
};

/* What only the HTTP side knows. */
struct http_counts {
    uint64_t requests_total;
    uint64_t shed_total;
    uint64_t connections;
};

/* Print the page anew if it is older than 100 ms. */
void metrics_page_refresh(struct metrics_page *page, const struct admin_opts *opts,
                          const struct http_counts *counts);
void metrics_page_fini(struct metrics_page *page);

#endif
