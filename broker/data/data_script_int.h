/* data_script_int: a script that runs, as the commands that it calls see it. */
#ifndef FANFARE_DATA_DATA_SCRIPT_INT_H
#define FANFARE_DATA_DATA_SCRIPT_INT_H

#include "data/data_script.h"
#include "script/script.h"

enum { DATA_NAME_BYTES_MAX = 24 };

struct script_caller {
    struct data_call *call; /* EVAL or its kin */
    uint16_t db;            /* SELECT changes it for what follows in the script */
    const void *rights;     /* of the user; NULL: all */
    bool is_read_only;
    bool may_cross_slots;
    bool has_written;
    bool has_place; /* of the call, looked up when first needed */
    struct data_script_place place;
    const struct data_command *last; /* that it called; NULL: none */
    char last_name[DATA_NAME_BYTES_MAX];
    size_t last_len; /* as it wrote it */
};

/* Of a struct script_caller. */
extern const struct script_ops script_caller_ops;

#endif
