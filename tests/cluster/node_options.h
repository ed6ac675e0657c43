/* node_options: how the programs that are nodes of tests/cluster read their command lines. What is wrong ends them with 2. */
#ifndef FANFARE_TESTS_NODE_OPTIONS_H
#define FANFARE_TESTS_NODE_OPTIONS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "consensus/membership/membership.h"

enum { JOIN_MAX = 16 };

static inline void parse_address(const char *text, struct pmap_address *out)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof out->host) { exit(2); }
    snprintf(out->host, sizeof out->host, "%.*s", (int)(colon - text), text);
    out->port = (uint16_t)atoi(colon + 1);
}

/* host:port, separated by commas. */
static inline void parse_join(char *text, struct membership_opts *opts,
                              struct pmap_address join[JOIN_MAX])
{
    char *rest = text;
    for (char *one = strsep(&rest, ","); one != NULL; one = strsep(&rest, ",")) {
        if (opts->join_count == JOIN_MAX) { exit(2); }
        if (one[0] != '\0') { parse_address(one, &join[opts->join_count++]); }
    }
}

/* The node's id is its directory's. */
static inline uint64_t node_id_of(const char *dir)
{
    char path[4096];
    uint64_t id = 0;
    snprintf(path, sizeof path, "%s/node-id", dir);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%" SCNx64, &id) != 1) { exit(2); }
        fclose(file);
        return id;
    }
    CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
    file = fopen(path, "w");
    if (file == NULL) { exit(2); }
    fprintf(file, "%" PRIx64 "\n", id);
    fclose(file);
    return id;
}

#endif
