/* script_struct: Lua values to the layout of C structures and back, as scripts of Redis know it. A format is read from
 * left to right; an option says what kind of value comes next, how many bytes it has and how it is aligned.
 * Sizes are those of the machines that Redis runs on: int 4, long and size_t 8.
 * Owns: nothing. Thread: whichever runs the state. */
#include "script/script_libs.h"

#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "script/script_int.h"

enum { ALIGN_NATURAL = 8 }; /* what `!` means without a number */

/* Where reading a format has come to. */
struct format {
    lua_State *L;
    const char *at; /* the rest; ends with NUL */
    size_t align;   /* no value is aligned to more than this; 1: none is aligned */
    bool is_big;    /* byte order */
};

/* One option of it. */
struct option {
    char kind;
    size_t size;    /* bytes of the value; 0 if the value says it (`s`, `c0`) */
    size_t padding; /* bytes before it */
};

/* The argument 1. */
static struct format format_of(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    script_charge(L, len / 2);
    return (struct format){.L = L, .at = text, .align = 1};
}

/* The decimal number that comes next, or `otherwise`. */
static int format_number(struct format *f, int otherwise)
{
    if (!isdigit((unsigned char)*f->at)) { return otherwise; }
    int n = 0;
    while (isdigit((unsigned char)*f->at)) {
        int digit = *f->at++ - '0';
        if (n > (INT_MAX - digit) / 10) { luaL_error(f->L, "integral size overflow"); }
        n = n * 10 + digit;
    }
    return n;
}

static size_t integer_size(struct format *f)
{
    int size = format_number(f, sizeof(int));
    if (size > SCRIPT_STRUCT_INTEGER_BYTES_MAX) {
        luaL_error(f->L, "integral size %d is larger than limit of %d", size,
                   (int)SCRIPT_STRUCT_INTEGER_BYTES_MAX);
    }
    return (size_t)size;
}

/* The bytes that the option's value has. */
static size_t option_size(struct format *f, char kind)
{
    switch (kind) {
    case 'b':
    case 'B':
    case 'x': return 1;
    case 'h':
    case 'H': return sizeof(int16_t);
    case 'l':
    case 'L':
    case 'T': return sizeof(int64_t);
    case 'f': return sizeof(float);
    case 'd': return sizeof(double);
    case 'c': return (size_t)format_number(f, 1);
    case 'i':
    case 'I': return integer_size(f);
    default: return 0;
    }
}

/* What stands before a value of that size at `pos`. Sizes that are no power of two get what the mask makes
 * of them, as in Redis. */
static size_t padding_at(const struct format *f, const struct option *o, size_t pos)
{
    if (o->size == 0 || o->kind == 'c') { return 0; }
    size_t align = o->size < f->align ? o->size : f->align;
    return align > 1 ? (align - (pos & (align - 1))) & (align - 1) : 0;
}

/* Read the next option, for a value at `pos`. False at the end. */
static bool format_next(struct format *f, size_t pos, struct option *out)
{
    if (*f->at == '\0') { return false; }
    out->kind = *f->at++;
    out->size = option_size(f, out->kind);
    out->padding = padding_at(f, out, pos);
    return true;
}

/* An option that stands for no value. */
static void format_control(struct format *f, char kind)
{
    switch (kind) {
    case ' ': return;
    case '<': f->is_big = false; return;
    case '>': f->is_big = true; return;
    case '!': {
        int align = format_number(f, ALIGN_NATURAL);
        if (align <= 0 || (align & (align - 1)) != 0) {
            luaL_error(f->L, "alignment %d is not a power of 2", align);
        }
        f->align = (size_t)align;
        return;
    }
    default: luaL_argerror(f->L, 1, lua_pushfstring(f->L, "invalid format option '%c'", kind));
    }
}

/* ---- pack ---- */

static void add_zeros(luaL_Buffer *b, size_t count)
{
    while (count-- > 0) {
        luaL_addchar(b, '\0');
    }
}

/* The low bytes of a number; those past the eighth are 0 whatever its sign, as in Redis. */
static void add_integer(luaL_Buffer *b, uint64_t bits, size_t size, bool is_big)
{
    for (size_t i = 0; i < size; i++) {
        size_t place = is_big ? size - 1 - i : i;
        luaL_addchar(b, (char)(place < sizeof bits ? bits >> (8 * place) : 0));
    }
}

/* A number as 64 bits of two's complement. What does not fit is what x86 makes of it, on every machine. */
static uint64_t bits_of_number(lua_Number n)
{
    if (n >= 0) { return n < 0x1p64 ? (uint64_t)n : 0; }
    return n >= -0x1p63 ? (uint64_t)(int64_t)n : (uint64_t)1 << 63; /* also of what is no number */
}

static void add_float(luaL_Buffer *b, lua_Number n, size_t size, bool is_big)
{
    uint64_t bits;
    if (size == sizeof(float)) {
        float single = (float)n;
        uint32_t single_bits;
        memcpy(&single_bits, &single, sizeof single);
        bits = single_bits;
    } else {
        memcpy(&bits, &n, sizeof n);
    }
    add_integer(b, bits, size, is_big);
}

/* Add the argument `arg` as an option of strings. Returns the bytes. */
static size_t add_string(lua_State *L, luaL_Buffer *b, const struct option *o, int arg)
{
    size_t len;
    const char *text = luaL_checklstring(L, arg, &len);
    script_charge(L, len / 64);
    if (o->kind == 's') {
        luaL_addlstring(b, text, len);
        luaL_addchar(b, '\0');
        return len + 1;
    }
    size_t size = o->size == 0 ? len : o->size;
    luaL_argcheck(L, len >= size, arg + 1, "string too short"); /* Redis counts one further */
    luaL_addlstring(b, text, size);
    return size;
}

/* pack(format, value...) */
static int struct_pack(lua_State *L)
{
    struct format f = format_of(L);
    lua_pushnil(L); /* what a missing value is */
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    int arg = 2;
    size_t total = 0;
    struct option o;
    while (format_next(&f, total, &o)) {
        add_zeros(&b, o.padding);
        total += o.padding;
        switch (o.kind) {
        case 'b':
        case 'B':
        case 'h':
        case 'H':
        case 'l':
        case 'L':
        case 'T':
        case 'i':
        case 'I':
            add_integer(&b, bits_of_number(luaL_checknumber(L, arg++)), o.size, f.is_big);
            break;
        case 'x': add_zeros(&b, 1); break;
        case 'f':
        case 'd': add_float(&b, luaL_checknumber(L, arg++), o.size, f.is_big); break;
        case 'c':
        case 's': total += add_string(L, &b, &o, arg++) - o.size; break;
        default: format_control(&f, o.kind);
        }
        total += o.size;
    }
    luaL_pushresult(&b);
    return 1;
}

/* ---- unpack ---- */

/* The data, and how many results have been pushed after it. */
struct source {
    lua_State *L;
    const char *data;
    size_t len;
    size_t pos; /* may be past len: then nothing can be read */
    int results;
};

/* Step over `padding`; fails unless `size` bytes are there after it. */
static void source_need(struct source *s, size_t padding, size_t size)
{
    bool fits = s->pos <= s->len && padding <= s->len - s->pos && size <= s->len - s->pos - padding;
    luaL_argcheck(s->L, fits, 2, "data string too short");
    s->pos += padding;
}

/* Those past the eighth are ignored; the sign is looked for where the shift of an x86 finds it. */
static lua_Number integer_at(const char *data, size_t size, bool is_big, bool is_signed)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | (uint8_t)data[is_big ? i : size - 1 - i];
    }
    if (!is_signed) { return (lua_Number)bits; }
    uint64_t mask = ~(uint64_t)0 << ((size * 8 + 63) % 64);
    return (lua_Number)(int64_t)((bits & mask) != 0 ? bits | mask : bits);
}

static lua_Number float_at(const char *data, size_t size, bool is_big)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | (uint8_t)data[is_big ? i : size - 1 - i];
    }
    if (size == sizeof(float)) {
        uint32_t single_bits = (uint32_t)bits;
        float single;
        memcpy(&single, &single_bits, sizeof single);
        return single;
    }
    lua_Number n;
    memcpy(&n, &bits, sizeof n);
    return n;
}

/* The last result, which says how long the string of a `c0` is and is no result then. */
static size_t take_length(struct source *s)
{
    if (s->results == 0 || !lua_isnumber(s->L, -1)) {
        luaL_error(s->L, "format 'c0' needs a previous size");
    }
    uint64_t len = bits_of_number(lua_tonumber(s->L, -1));
    lua_pop(s->L, 1);
    s->results--;
    source_need(s, 0, len);
    return len;
}

/* The length of the string up to the next NUL. */
static size_t terminated_length(struct source *s)
{
    const char *begin = s->data + s->pos;
    const char *end = memchr(begin, '\0', s->len - s->pos);
    if (end == NULL) { luaL_error(s->L, "unfinished string in data"); }
    return (size_t)(end - begin);
}

/* Push what the option asks for, and step over it. */
static void unpack_option(struct source *s, struct format *f, const struct option *o)
{
    size_t size = o->size;
    switch (o->kind) {
    case 'b':
    case 'h':
    case 'l':
    case 'i':
    case 'B':
    case 'H':
    case 'L':
    case 'T':
    case 'I':
        lua_pushnumber(
            s->L, integer_at(s->data + s->pos, size, f->is_big, islower((unsigned char)o->kind)));
        break;
    case 'x': s->pos += size; return;
    case 'f':
    case 'd': lua_pushnumber(s->L, float_at(s->data + s->pos, size, f->is_big)); break;
    case 'c':
        if (size == 0) { size = take_length(s); }
        lua_pushlstring(s->L, s->data + s->pos, size);
        break;
    case 's':
        size = terminated_length(s);
        lua_pushlstring(s->L, s->data + s->pos, size);
        size++;
        break;
    default: format_control(f, o->kind); return;
    }
    s->results++;
    s->pos += size;
}

/* unpack(format, data [, position]): the values, and the position behind them. */
static int struct_unpack(lua_State *L)
{
    struct format f = format_of(L);
    struct source s = {.L = L};
    s.data = luaL_checklstring(L, 2, &s.len);
    s.pos = (size_t)luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, s.pos > 0, 3, "offset must be 1 or greater");
    s.pos--;
    lua_settop(L, 2);
    script_charge(L, s.len / 64); /* what strings of it can hold, all together */
    struct option o;
    while (format_next(&f, s.pos, &o)) {
        source_need(&s, o.padding, o.size);
        luaL_checkstack(L, 2, "too many results");
        unpack_option(&s, &f, &o);
    }
    lua_pushinteger(L, (lua_Integer)(s.pos + 1));
    return s.results + 1;
}

/* size(format): the bytes of it. Letters and digits that mean nothing count nothing, as in Redis. */
static int struct_size(lua_State *L)
{
    struct format f = format_of(L);
    size_t pos = 0;
    struct option o;
    while (format_next(&f, pos, &o)) {
        if (o.kind == 's') { return luaL_argerror(L, 1, "option 's' has no fixed size"); }
        if (o.kind == 'c' && o.size == 0) {
            return luaL_argerror(L, 1, "option 'c0' has no fixed size");
        }
        if (!isalnum((unsigned char)o.kind)) { format_control(&f, o.kind); }
        pos += o.padding + o.size;
    }
    lua_pushinteger(L, (lua_Integer)pos);
    return 1;
}

int script_open_struct(lua_State *L)
{
    static const struct luaL_Reg functions[] = {
        {"pack", struct_pack},
        {"unpack", struct_unpack},
        {"size", struct_size},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
