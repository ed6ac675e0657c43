/* script_cmsgpack: Lua values to MessagePack and back, as scripts of Redis know it. The formats are those of the
 * specification before extension types and binary: redis-server 7 packs and reads no others.
 * Owns: nothing; what it packs is collected in a userdata. Thread: whichever runs the state. */
#include "script/script_libs.h"

#include <stdint.h>
#include <string.h>

#include "script/script_int.h"

/* First bytes. */
enum {
    MSG_FIXMAP = 0x80,
    MSG_FIXARRAY = 0x90,
    MSG_FIXSTR = 0xa0,
    MSG_NIL = 0xc0,
    MSG_FALSE = 0xc2,
    MSG_TRUE = 0xc3,
    MSG_FLOAT32 = 0xca,
    MSG_FLOAT64 = 0xcb,
    MSG_UINT8 = 0xcc, /* and the next three: 16, 32, 64 bits */
    MSG_INT8 = 0xd0,  /* likewise */
    MSG_STR8 = 0xd9,  /* and 16, 32 */
    MSG_ARRAY16 = 0xdc,
    MSG_MAP16 = 0xde,
    MSG_NEGATIVE_FIXINT = 0xe0,
};

/* What is packed: a userdata at stack index `at`, replaced by a larger one when it is full. */
struct packer {
    lua_State *L;
    int at;
    uint8_t *data;
    size_t len;
    size_t cap;
};

static void packer_grow(struct packer *p, size_t more)
{
    if (more > SCRIPT_CMSGPACK_PACKED_BYTES_MAX - p->len) {
        luaL_error(p->L, "MessagePack result is larger than %d bytes",
                   (int)SCRIPT_CMSGPACK_PACKED_BYTES_MAX);
    }
    size_t cap = p->cap * 2 > p->len + more ? p->cap * 2 : p->len + more;
    if (cap > SCRIPT_CMSGPACK_PACKED_BYTES_MAX) { cap = SCRIPT_CMSGPACK_PACKED_BYTES_MAX; }
    uint8_t *data = lua_newuserdata(p->L, cap);
    memcpy(data, p->data, p->len);
    lua_replace(p->L, p->at);
    p->data = data;
    p->cap = cap;
}

static void put_bytes(struct packer *p, const void *bytes, size_t len)
{
    if (len > p->cap - p->len) { packer_grow(p, len); }
    memcpy(p->data + p->len, bytes, len);
    p->len += len;
}

/* A first byte and the low `width` bytes of `bits`, the highest first. */
static void put_tagged(struct packer *p, uint8_t tag, uint64_t bits, size_t width)
{
    uint8_t bytes[9] = {tag};
    for (size_t i = 0; i < width; i++) {
        bytes[1 + i] = (uint8_t)(bits >> (8 * (width - 1 - i)));
    }
    put_bytes(p, bytes, 1 + width);
}

static void pack_integer(struct packer *p, int64_t v)
{
    if (v >= 0) {
        uint64_t u = (uint64_t)v;
        if (u <= INT8_MAX) {
            put_tagged(p, (uint8_t)u, 0, 0);
        } else if (u <= UINT8_MAX) {
            put_tagged(p, MSG_UINT8, u, 1);
        } else if (u <= UINT16_MAX) {
            put_tagged(p, MSG_UINT8 + 1, u, 2);
        } else {
            put_tagged(p, u <= UINT32_MAX ? MSG_UINT8 + 2 : MSG_UINT8 + 3, u,
                       u <= UINT32_MAX ? 4 : 8);
        }
        return;
    }
    if (v >= -32) {
        put_tagged(p, (uint8_t)v, 0, 0);
    } else if (v >= INT8_MIN) {
        put_tagged(p, MSG_INT8, (uint64_t)v, 1);
    } else if (v >= INT16_MIN) {
        put_tagged(p, MSG_INT8 + 1, (uint64_t)v, 2);
    } else {
        put_tagged(p, v >= INT32_MIN ? MSG_INT8 + 2 : MSG_INT8 + 3, (uint64_t)v,
                   v >= INT32_MIN ? 4 : 8);
    }
}

/* Is it a whole number of 64 bits? */
static bool is_integer(lua_Number n)
{
    return n >= -0x1p63 && n < 0x1p63 && (lua_Number)(int64_t)n == n;
}

static void pack_number(struct packer *p, lua_Number n)
{
    if (is_integer(n)) {
        pack_integer(p, (int64_t)n);
        return;
    }
    float single = (float)n;
    if ((lua_Number)single == n) {
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        put_tagged(p, MSG_FLOAT32, bits, sizeof bits);
        return;
    }
    uint64_t bits;
    memcpy(&bits, &n, sizeof bits);
    put_tagged(p, MSG_FLOAT64, bits, sizeof bits);
}

static void pack_string(struct packer *p, int at)
{
    size_t len;
    const char *text = lua_tolstring(p->L, at, &len);
    script_charge(p->L, len / 64);
    if (len < 32) {
        put_tagged(p, (uint8_t)(MSG_FIXSTR | len), 0, 0);
    } else if (len <= UINT8_MAX) {
        put_tagged(p, MSG_STR8, len, 1);
    } else if (len <= UINT16_MAX) {
        put_tagged(p, MSG_STR8 + 1, len, 2);
    } else {
        put_tagged(p, MSG_STR8 + 2, len,
                   4); /* one that this is too short for is too long to pack */
    }
    put_bytes(p, text, len);
}

/* How many entries the table on top has, and whether their keys are 1 to that number. */
static size_t table_count(lua_State *L, bool *is_array)
{
    size_t count = 0;
    lua_Number highest = 0;
    *is_array = true;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        count++;
        if (lua_type(L, -1) != LUA_TNUMBER) {
            *is_array = false;
            continue;
        }
        lua_Number key = lua_tonumber(L, -1);
        if (key > highest) { highest = key; }
        if (key < 1 || !is_integer(key)) { *is_array = false; }
    }
    if (highest != (lua_Number)count) { *is_array = false; }
    return count;
}

static void pack_value(struct packer *p, int depth);

/* The table on top, which stays there. */
static void pack_table(struct packer *p, int depth)
{
    lua_State *L = p->L;
    luaL_checkstack(L, 3, "in function mp_encode_lua_table");
    script_check_order(L, lua_gettop(L));
    bool is_array;
    size_t count = table_count(L, &is_array);
    script_charge(L, count);
    if (count < 16) {
        put_tagged(p, (uint8_t)((is_array ? MSG_FIXARRAY : MSG_FIXMAP) | count), 0, 0);
    } else {
        uint8_t tag = is_array ? MSG_ARRAY16 : MSG_MAP16;
        bool is_short = count <= UINT16_MAX;
        put_tagged(p, is_short ? tag : tag + 1, count, is_short ? 2 : 4);
    }
    if (is_array) {
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, -1, (int)i);
            pack_value(p, depth + 1);
        }
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pushvalue(L, -2);
        pack_value(p, depth + 1);
        pack_value(p, depth + 1);
    }
}

/* Pack what is on top and pop it. */
static void pack_value(struct packer *p, int depth)
{
    lua_State *L = p->L;
    script_charge(L, 2);
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: pack_string(p, -1); break;
    case LUA_TBOOLEAN: put_tagged(p, lua_toboolean(L, -1) ? MSG_TRUE : MSG_FALSE, 0, 0); break;
    case LUA_TNUMBER: pack_number(p, lua_tonumber(L, -1)); break;
    case LUA_TTABLE:
        if (depth < SCRIPT_CMSGPACK_DEPTH_MAX) {
            pack_table(p, depth);
            break;
        }
        /* fall through */
    default: put_tagged(p, MSG_NIL, 0, 0);
    }
    lua_pop(L, 1);
}

/* pack(value...): one string of all. */
static int cmsgpack_pack(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_argcheck(L, count > 0, 0, "MessagePack pack needs input.");
    if (!lua_checkstack(L, count)) {
        return luaL_argerror(L, 0, "Too many arguments for MessagePack pack.");
    }
    luaL_checkstack(L, 3, "in function mp_pack");
    struct packer p = {.L = L, .at = count + 1, .cap = 256};
    p.data = lua_newuserdata(L, p.cap);
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(L, i);
        pack_value(&p, 0);
    }
    lua_pushlstring(L, (const char *)p.data, p.len);
    return 1;
}

/* What is left to read. The string stays on the Lua stack meanwhile. */
struct reader {
    lua_State *L;
    const uint8_t *data;
    size_t left;
};

/* The next `len` bytes. */
static const uint8_t *read_bytes(struct reader *r, size_t len)
{
    if (len > r->left) { luaL_error(r->L, "Missing bytes in input."); }
    const uint8_t *bytes = r->data;
    r->data += len;
    r->left -= len;
    return bytes;
}

/* The next `width` bytes, the highest first. */
static uint64_t read_bits(struct reader *r, size_t width)
{
    const uint8_t *bytes = read_bytes(r, width);
    uint64_t bits = 0;
    for (size_t i = 0; i < width; i++) {
        bits = bits << 8 | bytes[i];
    }
    return bits;
}

static void unpack_value(struct reader *r);

static void unpack_string(struct reader *r, size_t len)
{
    lua_pushlstring(r->L, (const char *)read_bytes(r, len), len);
}

static void unpack_array(struct reader *r, uint64_t count)
{
    luaL_checkstack(r->L, 1, "in function mp_decode_to_lua_array");
    lua_newtable(r->L);
    for (uint64_t i = 1; i <= count; i++) {
        luaL_checkstack(r->L, 1, "in function mp_decode_to_lua_array");
        lua_pushnumber(r->L, (lua_Number)i);
        unpack_value(r);
        lua_settable(r->L, -3);
    }
}

static void unpack_map(struct reader *r, uint64_t count)
{
    luaL_checkstack(r->L, 1, "in function mp_decode_to_lua_hash");
    lua_newtable(r->L);
    for (uint64_t i = 0; i < count; i++) {
        unpack_value(r);
        unpack_value(r);
        lua_settable(r->L, -3);
    }
}

static void unpack_float(struct reader *r, size_t width)
{
    if (width == sizeof(float)) {
        uint32_t bits = (uint32_t)read_bits(r, width);
        float single;
        memcpy(&single, &bits, sizeof single);
        lua_pushnumber(r->L, single);
        return;
    }
    uint64_t bits = read_bits(r, width);
    lua_Number n;
    memcpy(&n, &bits, sizeof n);
    lua_pushnumber(r->L, n);
}

/* `width` bytes of two's complement. */
static void unpack_signed(struct reader *r, size_t width)
{
    uint64_t bits = read_bits(r, width);
    size_t unused = 64 - 8 * width;
    lua_pushnumber(r->L, (lua_Number)((int64_t)(bits << unused) >> unused));
}

/* What begins with a byte from MSG_NIL to below MSG_NEGATIVE_FIXINT. */
static void unpack_tagged(struct reader *r, uint8_t tag)
{
    switch (tag) {
    case MSG_NIL: lua_pushnil(r->L); return;
    case MSG_FALSE:
    case MSG_TRUE: lua_pushboolean(r->L, tag == MSG_TRUE); return;
    case MSG_FLOAT32: unpack_float(r, 4); return;
    case MSG_FLOAT64: unpack_float(r, 8); return;
    case MSG_UINT8:
    case MSG_UINT8 + 1:
    case MSG_UINT8 + 2:
        lua_pushnumber(r->L, (lua_Number)read_bits(r, 1U << (tag - MSG_UINT8)));
        return;
    case MSG_UINT8 + 3: /* Redis, too, takes 64 bits for signed ones */
    case MSG_INT8:
    case MSG_INT8 + 1:
    case MSG_INT8 + 2:
    case MSG_INT8 + 3: unpack_signed(r, 1U << (tag & 3)); return;
    case MSG_STR8:
    case MSG_STR8 + 1:
    case MSG_STR8 + 2: unpack_string(r, read_bits(r, 1U << (tag - MSG_STR8))); return;
    case MSG_ARRAY16:
    case MSG_ARRAY16 + 1: unpack_array(r, read_bits(r, tag == MSG_ARRAY16 ? 2 : 4)); return;
    case MSG_MAP16:
    case MSG_MAP16 + 1: unpack_map(r, read_bits(r, tag == MSG_MAP16 ? 2 : 4)); return;
    default: luaL_error(r->L, "Bad data format in input.");
    }
}

/* Push the next value. It holds others at most as deep as the Lua stack lets it: 4,000. */
static void unpack_value(struct reader *r)
{
    luaL_checkstack(r->L, 1,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    uint8_t tag = *read_bytes(r, 1);
    if (tag < MSG_FIXMAP || tag >= MSG_NEGATIVE_FIXINT) {
        lua_pushnumber(r->L, (int8_t)tag);
    } else if (tag < MSG_FIXARRAY) {
        unpack_map(r, tag & 15);
    } else if (tag < MSG_FIXSTR) {
        unpack_array(r, tag & 15);
    } else if (tag < MSG_NIL) {
        unpack_string(r, tag & 31);
    } else {
        unpack_tagged(r, tag);
    }
}

/* Push up to `limit` values of the string at index 1, from `offset`, and before them the offset of what is left
 * or -1. Limit and offset 0: all values, and no offset. The string is all that is on the stack. */
static int unpack_some(lua_State *L, lua_Integer limit, lua_Integer offset)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (offset < 0 || limit < 0) { /* Redis names the length for the limit */
        return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)len);
    }
    if ((size_t)offset > len) {
        return luaL_error(L, "Start offset %d greater than input length %d.", (int)offset,
                          (int)len);
    }
    script_charge(L, (len - (size_t)offset) / 8); /* a byte stands for no more than a value */
    bool is_all = limit == 0 && offset == 0;
    struct reader r = {L, (const uint8_t *)text + offset, len - (size_t)offset};
    int count = 0;
    while (r.left > 0 && (is_all || count < limit)) {
        unpack_value(&r);
        count++;
    }
    if (is_all) { return count; }
    luaL_checkstack(L, 1, "in function mp_unpack_full");
    lua_pushinteger(L, r.left == 0 ? -1 : (lua_Integer)(len - r.left));
    lua_insert(L, 2);
    return count + 1;
}

/* unpack(string): all values. */
static int cmsgpack_unpack(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return unpack_some(L, 0, 0);
}

/* unpack_one(string [, offset]): where the next begins, and one value. */
static int cmsgpack_unpack_one(lua_State *L)
{
    lua_Integer offset = luaL_optinteger(L, 2, 0);
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return unpack_some(L, 1, offset);
}

/* unpack_limit(string, limit [, offset]): likewise, with several values. */
static int cmsgpack_unpack_limit(lua_State *L)
{
    lua_Integer limit = luaL_checkinteger(L, 2);
    lua_Integer offset = luaL_optinteger(L, 3, 0);
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return unpack_some(L, limit, offset);
}

int script_open_cmsgpack(lua_State *L)
{
    static const struct luaL_Reg functions[] = {
        {"pack", cmsgpack_pack},
        {"unpack", cmsgpack_unpack},
        {"unpack_one", cmsgpack_unpack_one},
        {"unpack_limit", cmsgpack_unpack_limit},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, "cmsgpack");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "lua-cmsgpack 0.4.0"); /* whose interface this is */
    lua_setfield(L, -2, "_VERSION");
    lua_pushliteral(L, "MessagePack C implementation for Lua");
    lua_setfield(L, -2, "_DESCRIPTION");
    return 1;
}
