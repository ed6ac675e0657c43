/* data_group: a consumer group as commands find it. Inside this module. */
#ifndef FANFARE_DATA_DATA_GROUP_H
#define FANFARE_DATA_DATA_GROUP_H

#include "data/data_stream.h"
#include "store/store_group.h"

struct data_group {
    struct data_key key; /* the stream */
    struct slice name;
    struct store_group group;
};

/* Find stream and group. False: one is not there, or the key is no stream; nothing is replied but for the type. */
enum group_find { GROUP_FOUND, GROUP_ABSENT, GROUP_WRONG_TYPE };
MUST_USE enum group_find group_find(struct data_call *call, struct slice key, struct slice name,
                                    struct data_group *out);

/* Save group and stream. */
void group_save(struct data_group *group, const char *event);

/* The consumer, a new one if there is none (*is_new may be NULL). Its seen time is now. Not saved. */
struct store_consumer group_consumer(struct data_group *group, struct slice name, bool *is_new);

/* How many entries of the stream are up to an id; STORE_READ_UNKNOWN: it cannot be told. */
uint64_t stream_distance(const struct store_object *stream, struct store_id id);
/* Was something deleted in start..end? */
bool stream_has_holes(const struct store_object *stream, struct store_id start,
                      struct store_id end);

#endif
