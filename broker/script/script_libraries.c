/* script_libraries: what stands beside Lua's own: cjson, bit, cmsgpack, struct, and of math and os what is the same
 * everywhere. */
#include "script/script_int.h"

#include <lua-bitop.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <math.h>

#include "script/script_libs.h"

enum {
    PACKED_BYTES_MAX = 32 << 20, /* of what is encoded at a time, without what marks it */
    KEPT_BYTES = 1 << 20,        /* cjson keeps its buffer: larger ones go with the state */
    DEPTH_MAX = 1000,
};

/* ---- math, os ---- */

/* drand48's sequence, as Redis has it, from the run's seed or the script's own. */
static uint32_t random_next(struct script_state *state)
{
    state->random = (state->random * 0x5DEECE66D + 0xB) & 0xFFFFFFFFFFFF;
    return (uint32_t)(state->random >> 17);
}

static int on_random(lua_State *lua)
{
    enum { RANDOM_MAX = INT32_MAX };
    double r = (double)(random_next(state_of(lua)) % RANDOM_MAX) / (double)RANDOM_MAX;
    int low = 1;
    int high;
    switch (lua_gettop(lua)) {
    case 0: lua_pushnumber(lua, r); return 1;
    case 1:
        high = luaL_checkint(lua, 1);
        luaL_argcheck(lua, low <= high, 1, "interval is empty");
        break;
    case 2:
        low = luaL_checkint(lua, 1);
        high = luaL_checkint(lua, 2);
        luaL_argcheck(lua, low <= high, 2, "interval is empty");
        break;
    default: return luaL_error(lua, "wrong number of arguments");
    }
    lua_pushnumber(lua, floor(r * ((double)high - low + 1)) + low);
    return 1;
}

static int on_randomseed(lua_State *lua)
{
    state_of(lua)->random = (uint64_t)(uint32_t)luaL_checkint(lua, 1) << 16 | 0x330E;
    return 0;
}

/* The entry's time, in seconds. */
static int on_clock(lua_State *lua)
{
    lua_pushnumber(lua, (double)state_of(lua)->run->now_ms / 1000);
    return 1;
}

/* ---- what encodes tables ---- */

struct walk {
    uint64_t bytes;
    uint32_t depth;
};

/* What the value at the top holds is looked at as an encoder does: has it an order, and is it not too much? */
static void walk_value(lua_State *lua, struct walk *walk)
{
    size_t bytes = 8 + (lua_type(lua, -1) == LUA_TSTRING ? lua_objlen(lua, -1) : 0);
    walk->bytes += bytes;
    script_charge(lua, 2 + bytes / 64);
    if (walk->bytes > PACKED_BYTES_MAX) { luaL_error(lua, "too much to be encoded at once"); }
    if (lua_type(lua, -1) != LUA_TTABLE || walk->depth > DEPTH_MAX) { return; }
    walk->depth++;
    int table = lua_gettop(lua);
    script_check_order(lua, table);
    luaL_checkstack(lua, 4, "too many nested tables");
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        if (lua_type(lua, -2) == LUA_TSTRING) { walk->bytes += lua_objlen(lua, -2); }
        walk_value(lua, walk);
        lua_pop(lua, 1);
    }
    walk->depth--;
}

/* An encoder, upvalue 1, is called once all that it is given was looked at. */
static int on_encode(lua_State *lua)
{
    struct walk walk = {0};
    int argc = lua_gettop(lua);
    for (int i = 1; i <= argc; i++) {
        lua_pushvalue(lua, i);
        walk_value(lua, &walk);
        lua_pop(lua, 1);
    }
    if (walk.bytes > KEPT_BYTES) { state_of(lua)->is_spoiled = true; }
    return script_wrapped(lua);
}

static int on_decode(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) { script_charge(lua, lua_objlen(lua, 1) / 8); }
    return script_wrapped(lua);
}

/* A setting of the cjson that all scripts share: the next script is to find it as it was. */
static int on_setting(lua_State *lua)
{
    if (lua_gettop(lua) > 0) { state_of(lua)->is_spoiled = true; }
    return script_wrapped(lua);
}

static int on_new(lua_State *lua)
{
    lua_settop(lua, 0);
    (void)script_wrapped(lua);
    script_wrap(lua, "encode", on_encode);
    script_wrap(lua, "decode", on_decode);
    return 1;
}

static void wrap_cjson(lua_State *lua)
{
    static const char *const settings[] = {"encode_sparse_array",   "encode_max_depth",
                                           "decode_max_depth",      "encode_number_precision",
                                           "encode_keep_buffer",    "encode_invalid_numbers",
                                           "decode_invalid_numbers"};
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        script_wrap(lua, settings[i], on_setting);
    }
    script_wrap(lua, "encode", on_encode);
    script_wrap(lua, "decode", on_decode);
    script_wrap(lua, "new", on_new);
}

/* bit.tohex(x, n): of 1.0.2 it writes behind its buffer where n is the lowest integer. */
static int on_tohex(lua_State *lua)
{
    if (lua_gettop(lua) >= 2) {
        lua_Number digits = luaL_checknumber(lua, 2);
        lua_settop(lua, 1);
        lua_pushnumber(lua, digits < -8 ? -8 : digits > 8 ? 8 : digits);
    }
    return script_wrapped(lua);
}

/* ---- all of them ---- */

/* Push what a library's function gives, or has set as a global. */
static void open_library(lua_State *lua, const char *name, lua_CFunction open)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 1);
}

void script_open_libraries(lua_State *lua)
{
    lua_getfield(lua, -1, LUA_MATHLIBNAME);
    script_set_function(lua, "random", on_random);
    script_set_function(lua, "randomseed", on_randomseed);
    lua_pop(lua, 1);
    lua_newtable(lua);
    script_set_function(lua, "clock", on_clock);
    lua_setfield(lua, -2, LUA_OSLIBNAME);
    open_library(lua, "cjson", luaopen_cjson);
    wrap_cjson(lua);
    lua_setfield(lua, -2, "cjson");
    open_library(lua, "bit", luaopen_bit);
    script_wrap(lua, "tohex", on_tohex);
    lua_setfield(lua, -2, "bit");
    open_library(lua, "cmsgpack", script_open_cmsgpack);
    lua_setfield(lua, -2, "cmsgpack");
    open_library(lua, "struct", script_open_struct);
    lua_setfield(lua, -2, "struct");
}
