/* script_base: Lua's basic functions as scripts have them: pcall that does not catch the end of a script, text of objects
 * without addresses, no bytecode, nothing of the garbage collector. */
#include <stdio.h>

#include "script/script_int.h"

/* ---- errors ---- */

/* Of a table that is an error of redis.call the text is caught, as scripts for Redis before 7 expect it. */
static int on_pcall(lua_State *lua)
{
    luaL_checkany(lua, 1);
    int status = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
    if (status != 0) {
        script_stop_if_over(lua);
        if (lua_type(lua, -1) == LUA_TTABLE) {
            lua_getfield(lua, -1, "err");
            if (lua_isstring(lua, -1)) {
                lua_replace(lua, -2);
            } else {
                lua_pop(lua, 1);
            }
        }
    }
    lua_pushboolean(lua, status == 0);
    lua_insert(lua, 1);
    return lua_gettop(lua);
}

static int on_xpcall(lua_State *lua)
{
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    lua_insert(lua, 1); /* the handler goes below the function */
    int status = lua_pcall(lua, 0, LUA_MULTRET, 1);
    if (status != 0) { script_stop_if_over(lua); }
    lua_pushboolean(lua, status == 0);
    lua_replace(lua, 1);
    return lua_gettop(lua);
}

/* ---- text of objects ---- */

/* Push the number of the object at 1: the first one of a run that is made text is 1. */
static void push_number(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (state->objects == LUA_NOREF) {
        lua_newtable(lua);
        state->objects = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->objects);
    lua_pushvalue(lua, 1);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == LUA_TNUMBER) { return; }
    lua_pushvalue(lua, 1);
    lua_pushinteger(lua, (lua_Integer)++state->object_count);
    lua_rawset(lua, -4);
    lua_pushinteger(lua, (lua_Integer)state->object_count);
}

static int on_tostring(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (luaL_callmeta(lua, 1, "__tostring")) { return 1; }
    switch (lua_type(lua, 1)) {
    case LUA_TNUMBER: lua_pushstring(lua, lua_tostring(lua, 1)); return 1;
    case LUA_TSTRING: lua_pushvalue(lua, 1); return 1;
    case LUA_TBOOLEAN: lua_pushstring(lua, lua_toboolean(lua, 1) ? "true" : "false"); return 1;
    case LUA_TNIL: lua_pushliteral(lua, "nil"); return 1;
    case LUA_TLIGHTUSERDATA: lua_pushliteral(lua, "userdata: (nil)"); return 1; /* cjson.null */
    default: break;
    }
    push_number(lua);
    char text[32];
    snprintf(text, sizeof text, "0x%012x", (unsigned)lua_tointeger(lua, -1));
    lua_pushfstring(lua, "%s: %s", luaL_typename(lua, 1), text);
    return 1;
}

/* ---- chunks ---- */

static int load_text(lua_State *lua, struct slice text, const char *name)
{
    script_charge(lua, text.len / 4);
    bool is_bytecode = text.len > 0 && text.data[0] == LUA_SIGNATURE[0];
    lua_pushstring(lua, name); /* the compiler does not hold it */
    if (is_bytecode) { lua_pushliteral(lua, "bytecode is not accepted"); }
    if (!is_bytecode && luaL_loadbuffer(lua, text.data, text.len, name) == 0) { return 1; }
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static int on_loadstring(lua_State *lua)
{
    size_t len;
    const char *text = luaL_checklstring(lua, 1, &len);
    return load_text(lua, slice_of(text, len), luaL_optstring(lua, 2, text));
}

/* The pieces that a function gives, together. */
static int on_load(lua_State *lua)
{
    const char *name = luaL_optstring(lua, 2, "=(load)");
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_settop(lua, 2);
    lua_pushliteral(lua, "");
    for (;;) {
        size_t len;
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1)) { break; }
        const char *piece = lua_tolstring(lua, -1, &len);
        if (piece == NULL) { return luaL_error(lua, "reader function must return a string"); }
        if (len == 0) { break; }
        lua_concat(lua, 2);
        script_charge(lua, lua_objlen(lua, -1) / 64);
    }
    lua_settop(lua, 3);
    return load_text(lua, slice_of(lua_tostring(lua, 3), lua_objlen(lua, 3)), name);
}

/* ---- the rest ---- */

/* Environments of functions are a script's own, but for that of all of them. */
static int on_setfenv(lua_State *lua)
{
    bool is_level = lua_isnumber(lua, 1) != 0;
    if (is_level && lua_tointeger(lua, 1) == 0) {
        lua_pushliteral(lua, "Attempt to modify a readonly table");
        return lua_error(lua);
    }
    luaL_checktype(lua, 2, LUA_TTABLE);
    lua_settop(lua, 2);
    if (is_level) {
        lua_Debug at;
        int level = luaL_checkint(lua, 1);
        luaL_argcheck(lua, level > 0, 1, "level must be non-negative");
        if (lua_getstack(lua, level, &at) == 0) { luaL_argerror(lua, 1, "invalid level"); }
        lua_getinfo(lua, "f", &at);
        luaL_argcheck(lua, !lua_isnil(lua, -1), 1, "no function environment for tail call");
    } else {
        luaL_checktype(lua, 1, LUA_TFUNCTION);
        lua_pushvalue(lua, 1);
    }
    lua_pushvalue(lua, 2);
    if (lua_iscfunction(lua, -2) || lua_setfenv(lua, -2) == 0) {
        return luaL_error(lua, "'setfenv' cannot change environment of given object");
    }
    return 1;
}

static int on_collectgarbage(lua_State *lua)
{
    lua_pushinteger(lua, 0);
    return 1;
}

static int on_coroutine(lua_State *lua)
{
    script_charge(lua, 1000); /* the hook of a thread counts from its start */
    return script_wrapped(lua);
}

void script_open_base(lua_State *lua)
{
    static const char *const without[] = {"dofile", "loadfile", "print", "newproxy"};
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        lua_pushnil(lua);
        lua_setfield(lua, -2, without[i]);
    }
    script_set_function(lua, "pcall", on_pcall);
    script_set_function(lua, "xpcall", on_xpcall);
    script_set_function(lua, "tostring", on_tostring);
    script_set_function(lua, "loadstring", on_loadstring);
    script_set_function(lua, "load", on_load);
    script_set_function(lua, "setfenv", on_setfenv);
    script_set_function(lua, "collectgarbage", on_collectgarbage);
    script_set_function(lua, "gcinfo", on_collectgarbage);
    lua_getfield(lua, -1, "coroutine");
    script_wrap(lua, "create", on_coroutine);
    script_wrap(lua, "wrap", on_coroutine);
    lua_pop(lua, 1);
}
