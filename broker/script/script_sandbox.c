/* script_sandbox: the globals that scripts see, which they cannot change: what one leaves behind another would find, and
 * not on every replica.
 *
 * Lua 5.1 has no tables that cannot be written. So the table of globals and each library is hidden behind an empty one,
 * whose metatable reads from it and refuses to write. */
#include <lualib.h>

#include "script/script_int.h"

/* In the metatable of a table that is protected: the table behind. Its address is a key that scripts cannot make. */
static const char behind;

static int on_write(lua_State *lua)
{
    return luaL_error(lua, "Attempt to modify a readonly table");
}

static int on_missing(lua_State *lua)
{
    const char *name = lua_tostring(lua, 2);
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                      name != NULL ? name : luaL_typename(lua, 2));
}

static void push_behind_key(lua_State *lua)
{
    lua_pushlightuserdata(lua, (void *)(uintptr_t)&behind);
}

bool script_protected(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TTABLE || !lua_getmetatable(lua, index)) { return false; }
    push_behind_key(lua);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_type(lua, -1) == LUA_TTABLE) { return true; }
    lua_pop(lua, 1);
    return false;
}

/* What getmetatable shows of a protected table: an empty table that is one itself. */
static void push_shield(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, "shield");
    if (lua_type(lua, -1) == LUA_TTABLE) { return; }
    lua_pop(lua, 1);
    lua_newtable(lua); /* the shield */
    lua_newtable(lua); /* its metatable */
    lua_pushcfunction(lua, on_write);
    lua_setfield(lua, -2, "__newindex");
    lua_pushvalue(lua, -2);
    lua_setfield(lua, -2, "__metatable");
    push_behind_key(lua);
    lua_newtable(lua);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, LUA_REGISTRYINDEX, "shield");
}

/* In place of the table at the top of the stack: one that hides it. */
static void protect(lua_State *lua)
{
    int real = lua_gettop(lua);
    lua_newtable(lua); /* what is seen */
    lua_newtable(lua); /* its metatable */
    lua_pushvalue(lua, real);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, on_write);
    lua_setfield(lua, -2, "__newindex");
    push_shield(lua);
    lua_setfield(lua, -2, "__metatable");
    push_behind_key(lua);
    lua_pushvalue(lua, real);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, real);
}

/* All tables in the one at `index`. */
static void protect_fields(lua_State *lua, int index)
{
    lua_pushnil(lua);
    while (lua_next(lua, index) != 0) {
        if (lua_type(lua, -1) == LUA_TTABLE) {
            lua_pushvalue(lua, -2);
            lua_pushvalue(lua, -2);
            protect(lua);
            lua_rawset(lua, index); /* a field that is there: the walk goes on */
        }
        lua_pop(lua, 1);
    }
}

/* Text has a metatable that all scripts share. */
static void protect_text(lua_State *lua)
{
    lua_pushliteral(lua, "");
    if (lua_getmetatable(lua, -1)) {
        push_shield(lua);
        lua_setfield(lua, -2, "__metatable");
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

void script_set_function(lua_State *lua, const char *name, lua_CFunction function)
{
    lua_pushcfunction(lua, function);
    lua_setfield(lua, -2, name);
}

void script_wrap(lua_State *lua, const char *name, lua_CFunction by)
{
    lua_getfield(lua, -1, name);
    if (lua_getupvalue(lua, -1, 1) == NULL) { lua_pushnil(lua); }
    lua_insert(lua, -2);
    lua_pushcclosure(lua, by, 2);
    lua_setfield(lua, -2, name);
}

static void open_lua(lua_State *lua)
{
    static const luaL_Reg libraries[] = {
        {"", luaopen_base},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
    };
    for (size_t i = 0; i < COUNT_OF(libraries); i++) {
        lua_pushcfunction(lua, libraries[i].func);
        lua_pushstring(lua, libraries[i].name);
        lua_call(lua, 1, 0);
    }
}

void script_sandbox_open(struct script_state *state)
{
    lua_State *lua = state->lua;
    open_lua(lua);
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    int globals = lua_gettop(lua);
    script_open_base(lua);
    script_open_tables(lua);
    script_open_text(lua);
    script_open_libraries(lua);
    script_open_redis(lua);
    lua_pushnil(lua);
    lua_setfield(lua, globals, "_G"); /* it is no field of its own */
    protect_fields(lua, globals);
    protect_text(lua);
    lua_newtable(lua);
    lua_pushcfunction(lua, on_missing);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, globals);
    lua_pushvalue(lua, globals);
    protect(lua);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, globals, "_G");
    lua_pushvalue(lua, -1);
    lua_replace(lua, LUA_GLOBALSINDEX);
    state->env = luaL_ref(lua, LUA_REGISTRYINDEX);
    state->globals = luaL_ref(lua, LUA_REGISTRYINDEX);
    script_push_names(lua);
    state->names = luaL_ref(lua, LUA_REGISTRYINDEX);
}
