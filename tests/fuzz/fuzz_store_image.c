/* Any bytes as a store's image: refused, or a store. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    char lock[80];
    snprintf(path, sizeof path, "/dev/shm/fuzz_store_image.%d", getpid());
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(path);
    const struct store_opts opts = {.path = path, .map_bytes = 1 << 24, .readers_max = 4};
    struct store_load *load;
    struct store *store;
    if (store_load_begin(&load, &opts) != ERR_OK) { abort(); }
    size_t half = size / 2;
    enum err err = store_load_write(load, slice_of(data, half));
    if (err == ERR_OK) { err = store_load_write(load, slice_of(data + half, size - half)); }
    if (err == ERR_OK) { err = store_load_end(load, &store); }
    if (err != ERR_OK) {
        store_load_abort(load);
    } else {
        store_close(store);
        unlink(path);
        unlink(lock);
    }
    return 0;
}
