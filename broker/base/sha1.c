/* sha1: FIPS 180-4. */
#include "base/sha1.h"

#include <endian.h>

enum { BLOCK_BYTES = 64, ROUNDS = 80 };

static uint32_t rotate(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

/* One of the four functions of 20 rounds each, with its constant. */
static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    if (round < 20) { return ((b & c) | (~b & d)) + 0x5a827999; }
    if (round < 40) { return (b ^ c ^ d) + 0x6ed9eba1; }
    if (round < 60) { return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc; }
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void take_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t w[ROUNDS];
    for (unsigned i = 0; i < 16; i++) {
        uint32_t word;
        memcpy(&word, block + 4 * i, sizeof word);
        w[i] = be32toh(word);
    }
    for (unsigned i = 16; i < ROUNDS; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = state[0];
    uint32_t b = state[1];
    uint32_t c = state[2];
    uint32_t d = state[3];
    uint32_t e = state[4];
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void sha1(struct slice bytes, unsigned char out[SHA1_BYTES])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *at = (const unsigned char *)bytes.data;
    size_t left = bytes.len;
    for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES) {
        take_block(state, at);
    }
    unsigned char end[2 * BLOCK_BYTES] = {0};
    if (left > 0) { memcpy(end, at, left); }
    end[left] = 0x80;
    size_t end_bytes = left + 1 + sizeof(uint64_t) <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    uint64_t bits = htobe64((uint64_t)bytes.len * 8);
    memcpy(end + end_bytes - sizeof bits, &bits, sizeof bits);
    for (size_t i = 0; i < end_bytes; i += BLOCK_BYTES) {
        take_block(state, end + i);
    }
    for (unsigned i = 0; i < 5; i++) {
        uint32_t word = htobe32(state[i]);
        memcpy(out + 4 * i, &word, sizeof word);
    }
}

void sha1_to_hex(const unsigned char sha[SHA1_BYTES], char out[SHA1_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < SHA1_BYTES; i++) {
        out[2 * i] = digits[sha[i] >> 4];
        out[2 * i + 1] = digits[sha[i] & 15];
    }
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    if (c >= 'a' && c <= 'f') { return c - 'a' + 10; }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sha1_from_hex(struct slice hex, unsigned char out[SHA1_BYTES])
{
    if (hex.len != SHA1_HEX) { return false; }
    for (unsigned i = 0; i < SHA1_BYTES; i++) {
        int high = digit_of(hex.data[2 * i]);
        int low = digit_of(hex.data[2 * i + 1]);
        if (high < 0 || low < 0) { return false; }
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
