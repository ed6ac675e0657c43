/* script_libs: the Lua libraries of Redis that no package has: `cmsgpack` (MessagePack) and `struct` (C layouts).
 * They keep no state but what is on the Lua stack; all their memory belongs to the Lua state, so that a
 * Lua error at any point leaks nothing. Every length that comes from a script is checked against the
 * bytes that are there, and their work is charged (script_charge.c). Thread: whichever runs the state.
 * Always: what they compute depends on their arguments alone; a table whose order depends on addresses is not packed. */
#ifndef FANFARE_SCRIPT_SCRIPT_LIBS_H
#define FANFARE_SCRIPT_SCRIPT_LIBS_H

#include <lua.h>

enum {
    /* Tables nested deeper than this are packed as nil, as in Redis: so a table may hold itself. */
    SCRIPT_CMSGPACK_DEPTH_MAX = 16,
    /* One call packs no more than this. */
    SCRIPT_CMSGPACK_PACKED_BYTES_MAX = 32 * 1024 * 1024,
    SCRIPT_STRUCT_INTEGER_BYTES_MAX = 32,
};

/* Push the table of a library: pack, unpack, unpack_one, unpack_limit; pack, unpack, size. The shape of a
 * lua_CFunction. Returns 1. */
int script_open_cmsgpack(lua_State *L);
int script_open_struct(lua_State *L);

#endif
