/* data_names: a set of names in memory, each with a score, in the order in which they came: results of set algebra.
 * Inside this module. */
#ifndef FANFARE_DATA_DATA_NAMES_H
#define FANFARE_DATA_DATA_NAMES_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

struct data_name {
    struct map_node node;
    struct list link;
    double score;
    size_t len;
    char bytes[];
};

struct data_names {
    struct map map;
    struct list list; /* struct data_name */
};

void names_init(struct data_names *names);
void names_fini(struct data_names *names);
/* The name's entry; a new one if there was none (*is_new). */
struct data_name *names_add(struct data_names *names, struct slice name, bool *is_new);
struct data_name *names_find(const struct data_names *names, struct slice name);
void names_remove(struct data_names *names, struct data_name *name);

static inline struct slice name_bytes(const struct data_name *name)
{
    return slice_of(name->bytes, name->len);
}

#define NAMES_EACH(at, names) LIST_EACH (at, &(names)->list)
#define NAME_OF(link_at) CONTAINER_OF(link_at, struct data_name, link)

#endif
