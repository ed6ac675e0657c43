/* data_key: a command's key: found, made, saved, with what Redis says where it holds another type. Inside this module. */
#ifndef FANFARE_DATA_DATA_KEY_H
#define FANFARE_DATA_DATA_KEY_H

#include "data/data_call.h"

struct data_key {
    struct data_call *call;
    struct store_ref ref;
    struct store_object object;
    bool is_there;
    bool was_replaced; /* key_replace found something and removed it */
};

struct store_ref key_ref(const struct data_call *call, struct slice name);

/* Find the key whatever its type. */
struct data_key key_find(struct data_call *call, struct slice name);

/* Find the key. False: it holds another type, and the reply says so. */
MUST_USE bool key_open(struct data_call *call, struct slice name, enum store_type type,
                       struct data_key *key);

/* The object to write to: a new one if the key was not there. */
struct store_object *key_make(struct data_key *key, enum store_type type);

/* Something was written: the object is saved, or removed if it is a collection with nothing in it, and whoever listens
 * hears of it. */
void key_save(struct data_key *key, const char *event, enum data_event class);

/* A key that is written anew, whatever it held: that is gone. key_replaced saves what was put since, or if that is nothing
 * says that the key went; it replies with the number of elements. */
struct data_key key_replace(struct data_call *call, struct slice name);
void key_replaced(struct data_key *key, const char *event, enum data_event class);

/* The key goes. */
void key_remove(struct data_key *key, const char *event, enum data_event class);

void key_changed(const struct data_call *call, struct slice name, const char *event,
                 enum data_event class);

/* Nothing is there for a blocking command: it parks if it may, else it answers null. */
void park_or_null(struct data_call *call, bool is_array);

extern const char data_wrong_type[]; /* the error */

#endif
