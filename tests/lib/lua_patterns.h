/* lua_patterns: the same searches in a script and in plain Lua 5.1, whose own library has to say the same. */
#ifndef FANFARE_TESTS_LIB_LUA_PATTERNS_H
#define FANFARE_TESTS_LIB_LUA_PATTERNS_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "tests/lib/lua_calls.h"

enum { LUA_PATTERNS_WORDS = 4 }; /* text, pattern, replacement, where to begin */

static const char lua_patterns_text[] =
    "local s, p, r, i = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])\n"
    "local out = {}\n"
    "local function add(...)\n"
    "  for n = 1, select('#', ...) do\n"
    "    local v = select(n, ...)\n"
    "    out[#out + 1] = type(v) == 'string' and v or type(v) .. tostring(v)\n"
    "  end\n"
    "  out[#out + 1] = ';'\n"
    "end\n"
    "add(pcall(string.find, s, p, i))\n"
    "add(pcall(string.find, s, p, i, true))\n"
    "add(pcall(string.match, s, p, i))\n"
    "add(pcall(string.gsub, s, p, r))\n"
    "add(pcall(string.gsub, s, p, r, 2))\n"
    "add(pcall(string.gsub, s, p, function(...) add(...) return (...) end, 5))\n"
    "add(pcall(string.gsub, s, p, {a = 1, ab = 'x', ['0'] = false, [1] = 'one', [2] = true}))\n"
    "add(pcall(function()\n"
    "  local n = 0\n"
    "  for a, b, c in string.gmatch(s, p) do\n"
    "    add(a, b, c)\n"
    "    n = n + 1\n"
    "    if n > 50 then break end\n"
    "  end\n"
    "end))\n"
    "return table.concat(out, ',')\n";

/* What plain Lua says; it is good until the state is used again. */
static inline struct slice lua_patterns_plain(lua_State *lua, const struct slice *words)
{
    struct slice out;
    lua_settop(lua, 0);
    lua_createtable(lua, LUA_PATTERNS_WORDS, 0);
    for (int i = 0; i < LUA_PATTERNS_WORDS; i++) {
        lua_pushlstring(lua, words[i].data, words[i].len);
        lua_rawseti(lua, -2, i + 1);
    }
    lua_setglobal(lua, "ARGV");
    CHECK(luaL_loadbuffer(lua, lua_patterns_text, sizeof lua_patterns_text - 1, "@user_script") ==
          0);
    CHECK(lua_pcall(lua, 0, 1, 0) == 0);
    out.data = lua_tolstring(lua, -1, &out.len);
    return out;
}

static inline lua_State *lua_patterns_open(void)
{
    lua_State *lua = luaL_newstate();
    CHECK(lua != NULL);
    luaL_openlibs(lua);
    return lua;
}

#endif
