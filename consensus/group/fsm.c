#include "consensus/group/fsm.h"

#include "base/buf.h"

void fsm_command_encode(struct buf *out, struct slice command)
{
    char *p = buf_reserve(out, FSM_COMMAND_HEAD_BYTES + command.len);
    for (int i = 0; i < FSM_COMMAND_HEAD_BYTES; i++) {
        p[i] = (char)(command.len >> (8 * i));
    }
    out->len += FSM_COMMAND_HEAD_BYTES;
    buf_append(out, command);
}

bool fsm_command_decode(struct slice *entry, struct slice *command)
{
    const unsigned char *p = (const unsigned char *)entry->data;
    if (entry->len < FSM_COMMAND_HEAD_BYTES) { return false; }
    size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    struct slice rest =
        slice_of(entry->data + FSM_COMMAND_HEAD_BYTES, entry->len - FSM_COMMAND_HEAD_BYTES);
    if (len > rest.len) { return false; }
    *command = slice_of(rest.data, len);
    *entry = slice_of(rest.data + len, rest.len - len);
    return true;
}
