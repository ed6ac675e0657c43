/* Any bytes as a command, as a log of commands, and as a snapshot of the control group: refused, or a
 * state whose invariants hold, that can go on and that comes back from its own bytes. */
#include <stdint.h>

#include "base/mem.h"
#include "consensus/map/control.h"
#include "consensus/group/fsm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Encoding is not the identity (unknown fields are dropped), but it is from the second time on. */
static void try_command(struct slice bytes)
{
    struct control_command command, again;
    struct buf once = {0}, twice = {0};
    if (control_decode(bytes, &command)) {
        control_encode(&once, &command);
        CHECK(control_decode(buf_slice(&once), &again));
        CHECK(command.op == again.op);
        control_encode(&twice, &again);
        CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
        control_command_fini(&again);
    }
    control_command_fini(&command);
    buf_fini(&once);
    buf_fini(&twice);
}

static void try_round_trip(const struct control *control)
{
    struct control *copy = control_new();
    struct buf once = {0}, twice = {0};
    control_save(control, &once);
    CHECK(control_load(copy, buf_slice(&once)) == ERR_OK);
    control_save(copy, &twice);
    CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    CHECK(control_applied(copy) == control_applied(control));
    control_free(copy);
    buf_fini(&once);
    buf_fini(&twice);
}

static void apply(struct control *control, const struct control_command *command)
{
    struct buf bytes = {0};
    control_encode(&bytes, command);
    control_apply(control, control_applied(control), buf_slice(&bytes));
    buf_fini(&bytes);
}

/* Each member gives its partitions to the next one, goes down, is forgotten, and joins again. */
static void go_on(struct control *control)
{
    for (uint32_t i = 0; i < control_map(control)->node_count; i++) {
        const struct pmap *map = control_map(control);
        struct control_command command = {.node = map->node[i]};
        command.node_id = map->node[i].id;
        command.incarnation = map->node[i].incarnation;
        command.partition = i % map->partition_count;
        command.epoch = map->partition[command.partition].epoch;
        static const enum control_op ops[] = {CONTROL_ASSIGN, CONTROL_SET_VOTER, CONTROL_DRAIN,
                                              CONTROL_DOWN, CONTROL_FORGET};
        for (size_t at = 0; at < COUNT_OF(ops); at++) {
            command.op = ops[at];
            apply(control, &command);
        }
        if (command.node_id != 0) {
            command.op = CONTROL_JOIN;
            apply(control, &command);
        }
    }
}

static void try_snapshot(struct slice bytes)
{
    struct control *control = control_new();
    if (control_load(control, bytes) == ERR_OK) {
        try_round_trip(control);
        if (control_map(control) != NULL) { go_on(control); }
        try_round_trip(control);
    } else {
        CHECK(control_map(control) == NULL);
    }
    control_free(control);
}

static void try_log(struct slice entry)
{
    struct control *control = control_new();
    struct control_command ignored;
    struct slice command;
    uint64_t index = 0;
    while (fsm_command_decode(&entry, &command)) {
        if (!control_decode(command, &ignored)) { continue; } /* would be logged */
        control_command_fini(&ignored);
        control_apply(control, ++index, command);
    }
    try_round_trip(control);
    control_free(control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_copy(data, size);
    struct slice bytes = slice_of(copy, size);
    try_command(bytes);
    try_snapshot(bytes);
    try_log(bytes);
    mem_free(copy);
    return 0;
}
