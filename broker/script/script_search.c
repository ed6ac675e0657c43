/* script_search: string.find, match, gmatch and gsub, as Lua 5.1 has them, on a search whose steps are charged. */
#include "script/script_int.h"
#include "script/script_match_int.h"

static struct slice check_text(lua_State *lua, int index)
{
    size_t len;
    const char *text = luaL_checklstring(lua, index, &len);
    return slice_of(text, len);
}

/* ---- find, match ---- */

/* Where to begin: counted from 1, or from the end if negative. */
static size_t check_begin(lua_State *lua, int index, size_t len)
{
    ptrdiff_t begin = luaL_optinteger(lua, index, 1);
    if (begin < 0) { begin += (ptrdiff_t)len + 1; }
    if (begin <= 1) { return 0; }
    return (size_t)begin - 1 < len ? (size_t)begin - 1 : len;
}

static int push_place(lua_State *lua, const char *text, const char *begin, const char *end)
{
    lua_pushinteger(lua, begin - text + 1);
    lua_pushinteger(lua, end - text);
    return 2;
}

static int find_plain(lua_State *lua, struct slice text, struct slice part, size_t begin)
{
    script_charge(lua, (text.len - begin + part.len) / 16);
    const char *at = memmem(text.data + begin, text.len - begin, part.data, part.len);
    if (at == NULL) {
        lua_pushnil(lua);
        return 1;
    }
    return push_place(lua, text.data, at, at + part.len);
}

static bool has_signs(struct slice pattern)
{
    return strpbrk(pattern.data, "^$*+?.([%-") != NULL;
}

static int search(lua_State *lua, bool is_find)
{
    struct slice text = check_text(lua, 1);
    struct slice pattern = check_text(lua, 2);
    size_t begin = check_begin(lua, 3, text.len);
    if (is_find && (lua_toboolean(lua, 4) || !has_signs(pattern))) {
        return find_plain(lua, text, pattern, begin);
    }
    bool is_anchored = pattern.data[0] == '^';
    if (is_anchored) { pattern = slice_of(pattern.data + 1, pattern.len - 1); }
    struct match m;
    lua_settop(lua, 5);
    script_match_init(&m, lua, 5, text, pattern);
    for (const char *at = text.data + begin; at <= m.text_end; at++) {
        const char *end = script_match_at(&m, at);
        script_match_charge(&m, 1);
        if (end != NULL) {
            script_match_settle(&m);
            int count = is_find ? push_place(lua, text.data, at, end) : 0;
            return count + script_match_push_all(&m, !is_find, at, end);
        }
        if (is_anchored) { break; }
    }
    script_match_settle(&m);
    lua_pushnil(lua);
    return 1;
}

static int on_find(lua_State *lua)
{
    return search(lua, true);
}

static int on_match(lua_State *lua)
{
    return search(lua, false);
}

/* ---- gmatch ---- */

/* Upvalues: the text, the pattern, and where to go on. */
static int on_gmatch_next(lua_State *lua)
{
    struct match m;
    struct slice text;
    struct slice pattern;
    text.data = lua_tolstring(lua, lua_upvalueindex(1), &text.len);
    pattern.data = lua_tolstring(lua, lua_upvalueindex(2), &pattern.len);
    lua_settop(lua, 1);
    script_match_init(&m, lua, 1, text, pattern);
    const char *at = text.data + lua_tointeger(lua, lua_upvalueindex(3));
    for (; at <= m.text_end; at++) {
        const char *end = script_match_at(&m, at);
        script_match_charge(&m, 1);
        if (end == NULL) { continue; }
        script_match_settle(&m);
        lua_pushinteger(lua, end - text.data + (end == at)); /* behind nothing: one further */
        lua_replace(lua, lua_upvalueindex(3));
        return script_match_push_all(&m, true, at, end);
    }
    script_match_settle(&m);
    return 0;
}

static int on_gmatch(lua_State *lua)
{
    (void)check_text(lua, 1);
    (void)check_text(lua, 2);
    lua_settop(lua, 2);
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, on_gmatch_next, 3);
    return 1;
}

/* ---- gsub ---- */

enum { OUT_NEAR_BYTES = 512 };
enum { REPLACEMENT = 3, MATCH_SLOT = 5, OUT_SLOT = 6, GSUB_SLOTS = 6 };

/* What is written: near, then in a value of Lua's, at OUT_SLOT. */
struct out {
    struct match *m;
    char *data;
    size_t len;
    size_t cap;
    char near[OUT_NEAR_BYTES];
};

static void out_reserve(struct out *out, size_t bytes)
{
    if (bytes <= out->cap - out->len) { return; }
    size_t cap = out->len + bytes + (out->len + bytes) / 2;
    char *more = lua_newuserdata(out->m->lua, cap);
    if (out->len > 0) { memcpy(more, out->data, out->len); }
    lua_replace(out->m->lua, OUT_SLOT);
    script_match_charge(out->m, out->len / 64);
    out->data = more;
    out->cap = cap;
}

static void out_text(struct out *out, const char *text, size_t len)
{
    out_reserve(out, len);
    if (len > 0) { memcpy(out->data + out->len, text, len); }
    out->len += len;
    script_match_charge(out->m, len / 64);
}

/* The value at the top, which is text or a number; it is popped. */
static void out_value(struct out *out)
{
    size_t len;
    const char *text = lua_tolstring(out->m->lua, -1, &len);
    out_text(out, text, len);
    lua_pop(out->m->lua, 1);
}

/* A text in which %0 to %9 stand for captures, and % and any other character for that. */
static void out_template(struct out *out, const char *begin, const char *end)
{
    struct slice rest;
    rest.data = lua_tolstring(out->m->lua, REPLACEMENT, &rest.len);
    while (rest.len > 0) {
        const char *sign = memchr(rest.data, '%', rest.len);
        size_t plain = sign != NULL ? (size_t)(sign - rest.data) : rest.len;
        out_text(out, rest.data, plain);
        if (sign == NULL) { return; }
        char c = sign[1]; /* behind the last character there is a zero byte */
        if (c == '0') {
            out_text(out, begin, (size_t)(end - begin));
        } else if (c >= '1' && c <= '9') {
            script_match_push(out->m, (uint32_t)(c - '1'), begin, end);
            out_value(out);
        } else {
            out_text(out, &c, 1);
        }
        size_t taken = plain + 2 < rest.len ? plain + 2 : rest.len;
        rest = slice_of(rest.data + taken, rest.len - taken);
    }
}

/* What stands for what was found. */
static void out_replacement(struct out *out, int type, const char *begin, const char *end)
{
    lua_State *lua = out->m->lua;
    if (type == LUA_TFUNCTION) {
        script_match_settle(out->m);
        lua_pushvalue(lua, REPLACEMENT);
        lua_call(lua, script_match_push_all(out->m, true, begin, end), 1);
    } else if (type == LUA_TTABLE) {
        script_match_push(out->m, 0, begin, end);
        lua_gettable(lua, REPLACEMENT);
    } else {
        out_template(out, begin, end);
        return;
    }
    if (!lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        out_text(out, begin, (size_t)(end - begin));
    } else if (lua_isstring(lua, -1)) {
        out_value(out);
    } else {
        luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
    }
}

static int check_replacement(lua_State *lua)
{
    int type = lua_type(lua, REPLACEMENT);
    luaL_argcheck(lua,
                  type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                      type == LUA_TTABLE,
                  REPLACEMENT, "string/function/table expected");
    return type;
}

static int on_gsub(lua_State *lua)
{
    struct slice text = check_text(lua, 1);
    struct slice pattern = check_text(lua, 2);
    int count_max = luaL_optint(lua, 4, (int)text.len + 1);
    int type = check_replacement(lua);
    bool is_anchored = pattern.data[0] == '^';
    if (is_anchored) { pattern = slice_of(pattern.data + 1, pattern.len - 1); }
    struct match m;
    struct out out = {.m = &m, .data = out.near, .cap = OUT_NEAR_BYTES};
    lua_settop(lua, GSUB_SLOTS);
    script_match_init(&m, lua, MATCH_SLOT, text, pattern);
    int count = 0;
    const char *at = text.data;
    while (count < count_max) {
        const char *end = script_match_at(&m, at);
        script_match_charge(&m, 1);
        if (end != NULL) {
            count++;
            out_replacement(&out, type, at, end);
        }
        if (end != NULL && end > at) {
            at = end;
        } else if (at < m.text_end) {
            out_text(&out, at, 1);
            at++;
        } else {
            break;
        }
        if (is_anchored) { break; }
    }
    out_text(&out, at, (size_t)(m.text_end - at));
    script_match_settle(&m);
    lua_pushlstring(lua, out.data, out.len);
    lua_pushinteger(lua, count);
    return 2;
}

void script_open_search(lua_State *lua)
{
    script_set_function(lua, "find", on_find);
    script_set_function(lua, "match", on_match);
    script_set_function(lua, "gmatch", on_gmatch);
    script_set_function(lua, "gfind", on_gmatch);
    script_set_function(lua, "gsub", on_gsub);
}
