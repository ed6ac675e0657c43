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
    /* What encode_sparse_array may ask for: of an array so many elements more than it has are written. */
    SPARSE_RATIO_MAX = 64,
    SPARSE_SAFE_MAX = 100000,
    NULL_BYTES = 5, /* "null," */
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

/* Of a table: is it an array, and how long? */
struct extent {
    uint64_t count;
    double index_max;
    bool is_array;
};

/* A key, at `index`. */
static void note_key(lua_State *lua, int index, struct extent *extent)
{
    double key = lua_type(lua, index) == LUA_TNUMBER ? lua_tonumber(lua, index) : 0;
    extent->count++;
    extent->is_array = extent->is_array && key >= 1 && floor(key) == key;
    if (key > extent->index_max) { extent->index_max = key; }
}

/* What cjson writes for elements that are not there. */
static uint64_t hole_bytes(const struct extent *extent)
{
    double max = (double)extent->count * SPARSE_RATIO_MAX;
    if (max < SPARSE_SAFE_MAX) { max = SPARSE_SAFE_MAX; }
    if (!extent->is_array || extent->index_max > max) { return 0; }
    return (uint64_t)extent->index_max * NULL_BYTES;
}

static void check_bytes(lua_State *lua, const struct walk *walk)
{
    if (walk->bytes > PACKED_BYTES_MAX) { luaL_error(lua, "too much to be encoded at once"); }
}

/* What the value at the top holds is looked at as an encoder does: has it an order, and is it not too much? */
static void walk_value(lua_State *lua, struct walk *walk)
{
    size_t bytes = 8 + (lua_type(lua, -1) == LUA_TSTRING ? lua_objlen(lua, -1) : 0);
    walk->bytes += bytes;
    script_charge(lua, 2 + bytes / 64);
    check_bytes(lua, walk);
    if (lua_type(lua, -1) != LUA_TTABLE) { return; }
    if (walk->depth > DEPTH_MAX) { /* cjson refuses it, unless it was told not to */
        if (state_of(lua)->is_spoiled) { luaL_error(lua, "too deep to be encoded"); }
        return;
    }
    struct extent extent = {.is_array = true};
    walk->depth++;
    int table = lua_gettop(lua);
    script_check_order(lua, table);
    luaL_checkstack(lua, 4, "too many nested tables");
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        if (lua_type(lua, -2) == LUA_TSTRING) { walk->bytes += lua_objlen(lua, -2); }
        note_key(lua, -2, &extent);
        walk_value(lua, walk);
        lua_pop(lua, 1);
    }
    walk->bytes += hole_bytes(&extent);
    check_bytes(lua, walk);
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

/* encode_sparse_array(convert, ratio, safe), without "however sparse": what is written would have no bound. */
static int on_sparse(lua_State *lua)
{
    luaL_argcheck(lua,
                  lua_isnoneornil(lua, 2) ||
                      (lua_tonumber(lua, 2) >= 1 && lua_tonumber(lua, 2) <= SPARSE_RATIO_MAX),
                  2, "expected integer between 1 and 64");
    luaL_argcheck(lua, lua_isnoneornil(lua, 3) || lua_tonumber(lua, 3) <= SPARSE_SAFE_MAX, 3,
                  "expected integer between 0 and 100000");
    return on_setting(lua);
}

static int on_new(lua_State *lua);

/* The table of cjson, or of one of its own kind, is at the top. */
static void wrap_cjson(lua_State *lua)
{
    static const char *const settings[] = {"encode_max_depth",        "decode_max_depth",
                                           "encode_number_precision", "encode_keep_buffer",
                                           "encode_invalid_numbers",  "decode_invalid_numbers"};
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        script_wrap(lua, settings[i], on_setting);
    }
    script_wrap(lua, "encode_sparse_array", on_sparse);
    script_wrap(lua, "encode", on_encode);
    script_wrap(lua, "decode", on_decode);
    script_wrap(lua, "new", on_new);
}

static int on_new(lua_State *lua)
{
    lua_settop(lua, 0);
    (void)script_wrapped(lua);
    wrap_cjson(lua);
    return 1;
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
