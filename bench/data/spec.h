/* spec: what one run of the data generator does, as read from its command line.
 * Always: after spec_parse the values are in range and fit together. */
#ifndef DATA_SPEC_H
#define DATA_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "load/opts.h"

enum {
    DATABASES_MAX = 16,
    CONNECTIONS_MAX = 1024,
    DEPTH_MAX = 1024,
};

struct row;

struct spec {
    const struct row *row;
    bool is_nats;
    const char *host;
    struct list ports; /* connections take them in turn */
    struct list pids;  /* of the server's processes, for their CPU time */
    uint32_t connections;
    uint32_t depth;     /* requests of a connection that are under way */
    uint32_t databases; /* connections take them in turn; streams, for NATS */
    uint32_t payload_bytes;
    uint32_t fill_count; /* elements that are there before, in each database, where the row reads */
    uint32_t replicas;   /* of a stream, for NATS */
    uint32_t warmup_ms;
    uint32_t measure_ms;
    const char *label;
};

/* Fill `spec`. Prints the help and exits 0 on --help; names a wrong option and exits with EXIT_BAD_OPTION. */
void spec_parse(struct spec *spec, int argc, char **argv);

#endif
