/* script_text: the functions of strings, with their costs. */
#include <lualib.h>

#include "script/script_int.h"

/* lower, upper, reverse, ...: the length of the text. */
static int on_whole(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) { script_charge(lua, lua_objlen(lua, 1) / 64); }
    return script_wrapped(lua);
}

static int on_rep(lua_State *lua)
{
    size_t len;
    const char *text = luaL_checklstring(lua, 1, &len);
    lua_Number times = luaL_checknumber(lua, 2);
    if (times < 1 || len == 0) {
        lua_pushliteral(lua, "");
        return 1;
    }
    if ((lua_Number)len * times > SCRIPT_ALONE_BYTES) {
        return luaL_error(lua, "resulting string too large");
    }
    size_t count = (size_t)times;
    script_charge(lua, count * len / 64);
    char *out = lua_newuserdata(lua, count * len);
    for (size_t i = 0; i < count; i++) {
        memcpy(out + i * len, text, len);
    }
    lua_pushlstring(lua, out, count * len);
    return 1;
}

void script_open_text(lua_State *lua)
{
    static const char *const whole[] = {"byte",   "lower",  "reverse", "sub",  "upper", "find",
                                        "format", "gmatch", "gfind",   "gsub", "match"};
    lua_getfield(lua, -1, LUA_STRLIBNAME);
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        script_wrap(lua, whole[i], on_whole);
    }
    script_set_function(lua, "rep", on_rep);
    lua_pop(lua, 1);
}
