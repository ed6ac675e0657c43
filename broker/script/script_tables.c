/* script_tables: walking tables, and functions whose cost is a table's length.
 *
 * Where a key stands in a table follows from the key's value and from what was put into the table before, which is the same
 * everywhere; but tables, functions and threads are placed by their address. A table with such a key has no order that all
 * replicas share, so it is not walked: an error. Nor are there weak tables, whose content depends on when garbage is
 * collected. */
#include <lualib.h>

#include "script/script_int.h"

static bool is_placed_by_address(int type)
{
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TTHREAD ||
           type == LUA_TUSERDATA;
}

static void refuse_key(lua_State *lua, int type)
{
    luaL_error(lua, "a table with keys that are a %s has no order", lua_typename(lua, type));
}

void script_check_order(lua_State *lua, int index)
{
    uint64_t count = 0;
    luaL_checkstack(lua, 3, "too many nested tables");
    lua_pushnil(lua);
    while (lua_next(lua, index) != 0) {
        lua_pop(lua, 1);
        int type = lua_type(lua, -1);
        if (is_placed_by_address(type)) { refuse_key(lua, type); }
        count++;
    }
    script_charge(lua, count / 4);
}

/* Let 1 be the table behind, if it is one of the sandbox. */
static void look_behind(lua_State *lua)
{
    if (script_protected(lua, 1)) { lua_replace(lua, 1); }
}

static int on_next(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    look_behind(lua);
    if (lua_isnil(lua, 2)) { script_check_order(lua, 1); }
    if (lua_next(lua, 1) == 0) {
        lua_pushnil(lua);
        return 1;
    }
    int type = lua_type(lua, -2);
    if (is_placed_by_address(type)) { refuse_key(lua, type); } /* put there meanwhile */
    return 2;
}

/* The walk behind a check. */
static int on_step(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (lua_next(lua, 1) == 0) {
        lua_pushnil(lua);
        return 1;
    }
    int type = lua_type(lua, -2);
    if (is_placed_by_address(type)) { refuse_key(lua, type); }
    return 2;
}

static int on_pairs(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    if (script_protected(lua, 1)) { /* which is not to be seen */
        lua_settop(lua, 1);
        lua_pushcfunction(lua, on_next);
    } else {
        script_check_order(lua, 1);
        lua_pushvalue(lua, lua_upvalueindex(1));
    }
    lua_insert(lua, 1);
    lua_pushnil(lua);
    return 3;
}

/* table.foreach */
static int on_foreach(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_settop(lua, 2);
    look_behind(lua);
    script_check_order(lua, 1);
    lua_pushnil(lua);
    while (lua_next(lua, 1) != 0) {
        int type = lua_type(lua, -2);
        if (is_placed_by_address(type)) { refuse_key(lua, type); }
        lua_pushvalue(lua, 2);
        lua_pushvalue(lua, -3);
        lua_pushvalue(lua, -3);
        lua_call(lua, 2, 1);
        if (!lua_isnil(lua, -1)) { return 1; }
        lua_pop(lua, 2);
    }
    return 0;
}

/* ---- tables of the sandbox ---- */

static int refuse_write(lua_State *lua)
{
    lua_pushliteral(lua, "Attempt to modify a readonly table");
    return lua_error(lua);
}

static int on_rawget(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    look_behind(lua);
    lua_rawget(lua, 1);
    return 1;
}

static int on_rawset(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_settop(lua, 3);
    if (script_protected(lua, 1)) { return refuse_write(lua); }
    lua_rawset(lua, 1);
    return 1;
}

static int on_setmetatable(lua_State *lua)
{
    if (script_protected(lua, 1)) { return refuse_write(lua); }
    if (lua_type(lua, 2) == LUA_TTABLE) {
        lua_pushliteral(lua, "__mode");
        lua_rawget(lua, 2);
        if (!lua_isnil(lua, -1)) { return luaL_error(lua, "weak tables are not supported"); }
        lua_pop(lua, 1);
    }
    return script_wrapped(lua);
}

/* ---- costs ---- */

/* maxn: all elements are looked at. */
static int on_whole(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TTABLE) { script_charge(lua, lua_objlen(lua, 1) / 8); }
    return script_wrapped(lua);
}

/* concat: the lengths of what is put together, up to what cannot be. */
static int on_concat(lua_State *lua)
{
    if (lua_type(lua, 1) != LUA_TTABLE) { return script_wrapped(lua); }
    size_t by = lua_type(lua, 2) == LUA_TSTRING ? lua_objlen(lua, 2) : 0;
    int64_t first = lua_isnoneornil(lua, 3) ? 1 : (int)lua_tointeger(lua, 3);
    int64_t last =
        lua_isnoneornil(lua, 4) ? (int64_t)lua_objlen(lua, 1) : (int)lua_tointeger(lua, 4);
    uint64_t bytes = 0;
    for (int64_t i = first; i <= last; i++) {
        lua_rawgeti(lua, 1, (int)i);
        int type = lua_type(lua, -1);
        bytes += by + (type == LUA_TSTRING ? lua_objlen(lua, -1) : 0);
        lua_pop(lua, 1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER) { break; }
        if (i % 1024 == 0) { script_charge(lua, 1024 / 8); }
    }
    script_charge(lua, bytes / 64);
    return script_wrapped(lua);
}

/* unpack: Lua's own computes with the ends of the range before it looks whether they can be. */
static int on_unpack(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    int first = luaL_optint(lua, 2, 1);
    int last = lua_isnoneornil(lua, 3) ? (int)lua_objlen(lua, 1) : luaL_checkint(lua, 3);
    if (first > last) { return 0; }
    int64_t count = (int64_t)last - first + 1;
    if (count > INT32_MAX || !lua_checkstack(lua, (int)count)) {
        return luaL_error(lua, "too many results to unpack");
    }
    script_charge(lua, (uint64_t)count / 8);
    for (int64_t i = first; i <= last; i++) {
        lua_rawgeti(lua, 1, (int)i);
    }
    return (int)count;
}

/* insert, remove: those behind a place are moved, if one is given. */
static int on_move(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TTABLE) {
        if (script_protected(lua, 1)) { return refuse_write(lua); }
        size_t len = lua_objlen(lua, 1);
        lua_Number place = lua_tonumber(lua, 2);
        int argc = (int)lua_tointeger(lua, lua_upvalueindex(1));
        if (lua_gettop(lua) >= argc && place >= 1 && place < (lua_Number)len) {
            script_charge(lua, (uint64_t)((lua_Number)len - place) / 4);
        }
    }
    return script_wrapped(lua);
}

/* What sort compares with, if no function of Lua's does: how often it does is the table's and the function's choice. */
static int on_less(lua_State *lua)
{
    size_t len = lua_type(lua, 1) == LUA_TSTRING ? lua_objlen(lua, 1) : 0;
    script_charge(lua, 1 + len / 64);
    lua_pushboolean(lua, lua_lessthan(lua, 1, 2));
    return 1;
}

/* Upvalue 1: a function of C's, as good as any. */
static int on_compare(lua_State *lua)
{
    script_charge(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, 2, 1);
    return 1;
}

static int on_sort(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (lua_isnil(lua, 2)) {
        lua_pushcfunction(lua, on_less);
        lua_replace(lua, 2);
    } else if (lua_iscfunction(lua, 2)) {
        lua_pushcclosure(lua, on_compare, 1);
    }
    return script_wrapped(lua);
}

static void wrap_move(lua_State *lua, const char *name, int argc)
{
    lua_pushinteger(lua, argc);
    lua_getfield(lua, -2, name);
    lua_pushcclosure(lua, on_move, 2);
    lua_setfield(lua, -2, name);
}

void script_open_tables(lua_State *lua)
{
    script_set_function(lua, "next", on_next);
    lua_pushcfunction(lua, on_step);
    lua_pushcclosure(lua, on_pairs, 1);
    lua_setfield(lua, -2, "pairs");
    script_set_function(lua, "rawget", on_rawget);
    script_set_function(lua, "rawset", on_rawset);
    script_wrap(lua, "setmetatable", on_setmetatable);
    script_set_function(lua, "unpack", on_unpack);
    lua_getfield(lua, -1, LUA_TABLIBNAME);
    script_set_function(lua, "foreach", on_foreach);
    script_wrap(lua, "concat", on_concat);
    script_wrap(lua, "maxn", on_whole);
    script_wrap(lua, "sort", on_sort);
    wrap_move(lua, "insert", 3);
    wrap_move(lua, "remove", 2);
    lua_pop(lua, 1);
}
