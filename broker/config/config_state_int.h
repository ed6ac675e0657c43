/* config_state_int: what a struct config is made of; for config.c and config_rewrite.c alone.
 * Always: under the lock, what is published equals the settings. */
#ifndef FANFARE_CONFIG_CONFIG_STATE_INT_H
#define FANFARE_CONFIG_CONFIG_STATE_INT_H

#include <stdatomic.h>

#include "base/thread.h"
#include "config/config_int.h"

struct config {
    pthread_mutex_t lock;
    struct settings settings;
    struct command_line line;
    int64_t clients_max;
    config_take *take; /* NULL: nobody asked to be */
    void *take_arg;
    /* Published copies of the settings. */
    atomic_int_fast64_t number[CONFIG_COUNT];
    atomic_bool is_empty[CONFIG_COUNT];
    struct {
        atomic_uint_fast64_t hard_bytes;
        atomic_uint_fast64_t soft_bytes;
        atomic_uint_fast64_t soft_seconds;
    } limit[CONFIG_CLIENT_CLASSES];
    atomic_uint_fast64_t version;
};

#endif
