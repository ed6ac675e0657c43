/* script_reply: replies to Lua values and back, as Redis documents it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/script_int.h"

/* ---- to Lua ---- */

/* The number in a reply's first line; *end: behind that line. */
static int64_t line_number(const char *at, const char **end)
{
    bool is_negative = *at == '-';
    uint64_t v = 0;
    for (at += is_negative; *at >= '0' && *at <= '9'; at++) {
        v = v * 10 + (uint64_t)(*at - '0');
    }
    *end = at + 2;
    return is_negative ? (int64_t)(0 - v) : (int64_t)v;
}

static struct slice line_text(const char *at, const char **end)
{
    const char *cr = at;
    while (*cr != '\r') {
        cr++;
    }
    *end = cr + 2;
    return slice_of(at, (size_t)(cr - at));
}

void script_push_error(lua_State *lua, struct slice text)
{
    lua_createtable(lua, 0, 1);
    lua_pushlstring(lua, text.data, text.len);
    lua_setfield(lua, -2, "err");
}

static void push_field(lua_State *lua, const char *name, struct slice text)
{
    lua_createtable(lua, 0, 1);
    lua_pushlstring(lua, text.data, text.len);
    lua_setfield(lua, -2, name);
}

static const char *push_bulk(lua_State *lua, const char *at)
{
    const char *end;
    int64_t len = line_number(at, &end);
    if (len < 0) {
        lua_pushboolean(lua, false);
        return end;
    }
    lua_pushlstring(lua, end, (size_t)len);
    return end + len + 2;
}

static const char *push_array(lua_State *lua, const char *at)
{
    const char *end;
    int64_t count = line_number(at, &end);
    if (count < 0) {
        lua_pushboolean(lua, false);
        return end;
    }
    lua_createtable(lua, (int)count, 0);
    for (int i = 1; i <= count; i++) {
        end = script_push_reply(lua, end);
        lua_rawseti(lua, -2, i);
    }
    return end;
}

/* {map = {key = value}}, {set = {member = true}} */
static const char *push_map(lua_State *lua, const char *at, bool is_set)
{
    const char *end;
    int64_t count = line_number(at, &end);
    lua_createtable(lua, 0, 1);
    lua_createtable(lua, 0, (int)count);
    for (int64_t i = 0; i < count; i++) {
        end = script_push_reply(lua, end);
        if (is_set) {
            lua_pushboolean(lua, true);
        } else {
            end = script_push_reply(lua, end);
        }
        lua_rawset(lua, -3);
    }
    lua_setfield(lua, -2, is_set ? "set" : "map");
    return end;
}

static const char *push_verbatim(lua_State *lua, const char *at)
{
    enum { FORMAT_BYTES = 3 };
    const char *end;
    int64_t len = line_number(at, &end);
    lua_createtable(lua, 0, 1);
    lua_createtable(lua, 0, 2);
    lua_pushlstring(lua, end + FORMAT_BYTES + 1, (size_t)len - FORMAT_BYTES - 1);
    lua_setfield(lua, -2, "string");
    lua_pushlstring(lua, end, FORMAT_BYTES);
    lua_setfield(lua, -2, "format");
    lua_setfield(lua, -2, "verbatim_string");
    return end + len + 2;
}

static const char *push_double(lua_State *lua, const char *at)
{
    const char *end;
    struct slice text = line_text(at, &end);
    lua_createtable(lua, 0, 1);
    lua_pushnumber(lua, strtod(text.data, NULL)); /* it ends at CR */
    lua_setfield(lua, -2, "double");
    return end;
}

const char *script_push_reply(lua_State *lua, const char *reply)
{
    const char *end = reply + 3; /* of the short ones */
    luaL_checkstack(lua, 6, "too many nested replies");
    switch (*reply) {
    case ':': lua_pushnumber(lua, (lua_Number)line_number(reply + 1, &end)); break;
    case '$': end = push_bulk(lua, reply + 1); break;
    case '*':
    case '>': end = push_array(lua, reply + 1); break;
    case '+': push_field(lua, "ok", line_text(reply + 1, &end)); break;
    case '-': push_field(lua, "err", line_text(reply + 1, &end)); break;
    case '%': end = push_map(lua, reply + 1, false); break;
    case '~': end = push_map(lua, reply + 1, true); break;
    case '_': lua_pushnil(lua); break;
    case '#':
        lua_pushboolean(lua, reply[1] == 't');
        end = reply + 4;
        break;
    case ',': end = push_double(lua, reply + 1); break;
    case '(': push_field(lua, "big_number", line_text(reply + 1, &end)); break;
    case '=': end = push_verbatim(lua, reply + 1); break;
    default: UNREACHABLE();
    }
    return end;
}

/* ---- from Lua ---- */

enum { NAME_ERR = 1, NAME_OK, NAME_DOUBLE, NAME_BIG_NUMBER, NAME_VERBATIM, NAME_MAP, NAME_SET };

void script_push_names(lua_State *lua)
{
    static const char *const names[] = {"err", "ok", "double", "big_number", "verbatim_string",
                                        "map", "set"};
    lua_createtable(lua, COUNT_OF(names), 0);
    for (int i = 0; i < (int)COUNT_OF(names); i++) {
        lua_pushstring(lua, names[i]);
        lua_rawseti(lua, -2, i + 1);
    }
}

static void write_value(lua_State *lua, struct reply *reply);

/* As a cast of Redis's machine does it. */
static int64_t integer_of(double v)
{
    const double limit = 9223372036854775808.0;
    return v >= -limit && v < limit ? (int64_t)v : INT64_MIN;
}

/* "text\r\n" behind a type, without line ends in it. */
static void write_line(struct reply *reply, char type, struct slice text)
{
    size_t begin = reply->out->len + 1;
    buf_append(reply->out, slice_of(&type, 1));
    buf_append(reply->out, text);
    for (size_t i = begin; i < reply->out->len; i++) {
        char *at = &reply->out->data[i];
        if (*at == '\r' || *at == '\n') { *at = ' '; }
    }
    buf_append(reply->out, SLICE("\r\n"));
}

static struct slice top_text(lua_State *lua)
{
    size_t len;
    const char *text = lua_tolstring(lua, -1, &len);
    return slice_of(text, len);
}

/* Of a line Redis writes what is before a zero byte. */
static struct slice top_line(lua_State *lua)
{
    return slice_of_str(lua_tostring(lua, -1));
}

static void write_error(struct reply *reply, struct slice text)
{
    while (text.len > 0 && (text.data[text.len - 1] == '\r' || text.data[text.len - 1] == '\n')) {
        text.len--;
    }
    reply_error_slice(reply, text);
}

/* {verbatim_string = {format =, string =}}; the inner table is at the top. False: it is none. */
static bool write_verbatim(lua_State *lua, struct reply *reply)
{
    size_t len;
    lua_pushliteral(lua, "format");
    lua_rawget(lua, -2);
    lua_pushliteral(lua, "string");
    lua_rawget(lua, -3);
    bool is_good = lua_type(lua, -1) == LUA_TSTRING && lua_type(lua, -2) == LUA_TSTRING;
    if (is_good) {
        const char *text = lua_tolstring(lua, -1, &len);
        if (reply->version < 3) {
            reply_bulk(reply, slice_of(text, len));
        } else {
            char format[4] = "   ";
            snprintf(format, sizeof format, "%-3.3s", lua_tostring(lua, -2));
            buf_appendf(reply->out, "=%zu\r\n%s:", len + 4, format);
            buf_append(reply->out, slice_of(text, len));
            buf_append(reply->out, SLICE("\r\n"));
        }
    }
    lua_pop(lua, 2);
    return is_good;
}

/* The table at the top as a map or a set. */
static void write_pairs(lua_State *lua, struct reply *reply, bool is_set)
{
    size_t count = 0;
    int table = lua_gettop(lua);
    script_check_order(lua, table);
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        lua_pop(lua, 1);
        count++;
    }
    if (is_set) {
        reply_set(reply, count);
    } else {
        reply_map(reply, count);
    }
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        lua_pushvalue(lua, -2);
        write_value(lua, reply);
        if (is_set) {
            lua_pop(lua, 1);
        } else {
            write_value(lua, reply);
        }
    }
}

/* Up to the first nil. */
static void write_array(lua_State *lua, struct reply *reply)
{
    int count = 0;
    for (;; count++) {
        lua_rawgeti(lua, -1, count + 1);
        bool is_end = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (is_end) { break; }
    }
    script_charge(lua, (uint64_t)count);
    reply_array(reply, (size_t)count);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(lua, -1, i);
        write_value(lua, reply);
    }
}

/* A field of the table at the top says what it is. False: it is no such field. */
static bool write_by_field(lua_State *lua, struct reply *reply, int name)
{
    int type = lua_type(lua, -1);
    switch (name) {
    case NAME_ERR:
        if (type != LUA_TSTRING) { return false; }
        write_error(reply, top_line(lua));
        return true;
    case NAME_OK:
        if (type != LUA_TSTRING) { return false; }
        write_line(reply, '+', top_line(lua));
        return true;
    case NAME_DOUBLE:
        if (type != LUA_TNUMBER) { return false; }
        reply_double(reply, lua_tonumber(lua, -1));
        return true;
    case NAME_BIG_NUMBER:
        if (type != LUA_TSTRING) { return false; }
        if (reply->version >= 3) {
            write_line(reply, '(', top_text(lua));
        } else {
            reply_bulk(reply, top_text(lua));
        }
        return true;
    case NAME_VERBATIM: return type == LUA_TTABLE && write_verbatim(lua, reply);
    case NAME_MAP:
    case NAME_SET:
        if (type != LUA_TTABLE) { return false; }
        write_pairs(lua, reply, name == NAME_SET);
        return true;
    default: UNREACHABLE();
    }
}

static void write_table(lua_State *lua, struct reply *reply)
{
    const struct script_state *state = state_of(lua);
    int table = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->names);
    for (int name = NAME_ERR; name <= NAME_SET; name++) {
        lua_rawgeti(lua, table + 1, name);
        lua_rawget(lua, table);
        if (!lua_isnil(lua, -1) && write_by_field(lua, reply, name)) {
            lua_settop(lua, table);
            return;
        }
        lua_settop(lua, table + 1);
    }
    lua_settop(lua, table);
    write_array(lua, reply);
}

static void write_boolean(const struct script_state *state, struct reply *reply, bool v)
{
    if (state->resp_version >= 3) {
        reply_bool(reply, v);
    } else if (v) {
        reply_int(reply, 1);
    } else {
        reply_null(reply);
    }
}

static void write_value(lua_State *lua, struct reply *reply)
{
    if (reply->out->len - state_of(lua)->reply_begin > SCRIPT_REPLY_BYTES_MAX) {
        luaL_error(lua, "the reply is too long");
    }
    if (!lua_checkstack(lua, 8)) {
        reply_error(reply, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: reply_bulk(reply, top_text(lua)); break;
    case LUA_TBOOLEAN: write_boolean(state_of(lua), reply, lua_toboolean(lua, -1) != 0); break;
    case LUA_TNUMBER: reply_int(reply, integer_of(lua_tonumber(lua, -1))); break;
    case LUA_TTABLE: write_table(lua, reply); break;
    default: reply_null(reply); break;
    }
    lua_pop(lua, 1);
}

void script_write_reply(lua_State *lua, struct reply *reply)
{
    state_of(lua)->reply_begin = reply->out->len;
    write_value(lua, reply);
}
