/* data_command: the table of data commands. */
#include <stdlib.h>

#include "data/data_call.h"

static const struct data_command table[] = {
#define DATA(name, arity, access) {#name, data_##name, arity, DATA_##access},
#include "data/data.def"
#undef DATA
};

static int compare(const void *name, const void *command)
{
    return strcmp(name, ((const struct data_command *)command)->name);
}

const struct data_command *data_command_find(struct slice name)
{
    char lower[32];
    if (name.len >= sizeof lower) { return NULL; }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    lower[name.len] = 0;
    return bsearch(lower, table, COUNT_OF(table), sizeof table[0], compare);
}
