/* script_text: the functions of strings, with their costs; and whole numbers as text without printf, which was a fifth of a
 * small script's time: Lua writes a number with sprintf wherever it becomes text, and ours is put in its place (CMakeLists.txt). The text is the same. */
#include <lualib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "script/script_int.h"

/* byte, lower, upper, ...: the length of the text. */
static int on_whole(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) { script_charge(lua, lua_objlen(lua, 1) / 64); }
    return script_wrapped(lua);
}

/* The lengths of all that is put together. */
static int on_format(lua_State *lua)
{
    uint64_t bytes = 0;
    for (int i = lua_gettop(lua); i > 0; i--) {
        if (lua_type(lua, i) == LUA_TSTRING) { bytes += lua_objlen(lua, i); }
    }
    script_charge(lua, bytes / 64);
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
    size_t bytes = count * len;
    char *out = lua_newuserdata(lua, bytes);
    memcpy(out, text, len);
    for (size_t done = len; done < bytes;) { /* twice as much each time */
        size_t more = done < bytes - done ? done : bytes - done;
        memcpy(out + done, out, more);
        done += more;
    }
    lua_pushlstring(lua, out, bytes);
    return 1;
}

void script_open_text(lua_State *lua)
{
    static const char *const whole[] = {"byte", "lower", "reverse", "sub", "upper"};
    lua_getfield(lua, -1, LUA_STRLIBNAME);
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        script_wrap(lua, whole[i], on_whole);
    }
    script_wrap(lua, "format", on_format);
    script_set_function(lua, "rep", on_rep);
    script_open_search(lua);
    lua_pop(lua, 1);
}

/* ---- numbers ---- */

/* __sprintf_chk, for Lua. */
int script_sprintf(char *out, int flag, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* LUA_NUMBER_FMT shows so many digits. */
static bool is_short_whole(double v)
{
    const double limit = 1e14;
    return v >= 0 && v < limit && v == (double)(uint64_t)v && !signbit(v);
}

int script_sprintf(char *out, int flag, size_t size, const char *format, ...)
{
    va_list args;
    int len;
    (void)flag;
    (void)size; /* Lua's buffers hold what its formats make */
    va_start(args, format);
    if (strcmp(format, LUA_NUMBER_FMT) == 0) {
        double v = va_arg(args, double);
        if (is_short_whole(v)) {
            len = (int)uint64_to_text((uint64_t)v, out);
            out[len] = '\0';
        } else {
            len = sprintf(out, LUA_NUMBER_FMT, v);
        }
    } else {
        len = vsprintf(out, format, args);
    }
    va_end(args);
    return len;
}
