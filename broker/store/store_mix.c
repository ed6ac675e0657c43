/* store_mix: SipHash-2-4 (Aumasson and Bernstein, 2012), keyed by the store's seed, so that clients cannot aim at one
 * place of a key's order. Its 128-bit form stands for the rest of a name that is too long for a key. */
#include "store/store_int.h"

struct sip {
    uint64_t v[4];
};

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void rounds(struct sip *s, int count)
{
    for (int i = 0; i < count; i++) {
        s->v[0] += s->v[1];
        s->v[1] = rotate(s->v[1], 13) ^ s->v[0];
        s->v[0] = rotate(s->v[0], 32);
        s->v[2] += s->v[3];
        s->v[3] = rotate(s->v[3], 16) ^ s->v[2];
        s->v[0] += s->v[3];
        s->v[3] = rotate(s->v[3], 21) ^ s->v[0];
        s->v[2] += s->v[1];
        s->v[1] = rotate(s->v[1], 17) ^ s->v[2];
        s->v[2] = rotate(s->v[2], 32);
    }
}

static inline void absorb(struct sip *s, uint64_t word)
{
    s->v[3] ^= word;
    rounds(s, 2);
    s->v[0] ^= word;
}

static void absorb_all(struct sip *s, const uint64_t seed[2], struct slice bytes)
{
    s->v[0] = seed[0] ^ 0x736f6d6570736575;
    s->v[1] ^= seed[1] ^ 0x646f72616e646f6d;
    s->v[2] = seed[0] ^ 0x6c7967656e657261;
    s->v[3] = seed[1] ^ 0x7465646279746573;
    size_t at = 0;
    for (; at + 8 <= bytes.len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes.data + at, sizeof word);
        absorb(s, le64toh(word));
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    for (size_t i = 0; at + i < bytes.len; i++) {
        last |= (uint64_t)(unsigned char)bytes.data[at + i] << (8 * i);
    }
    absorb(s, last);
}

static uint64_t squeeze(struct sip *s)
{
    rounds(s, 4);
    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

uint64_t store_hash64(const struct store *store, struct slice bytes)
{
    struct sip s = {{0}};
    absorb_all(&s, store->hash_seed, bytes);
    s.v[2] ^= 0xff;
    return squeeze(&s);
}

void store_hash128(const struct store *store, struct slice bytes, uint64_t out[2])
{
    struct sip s = {{0, 0xee}};
    absorb_all(&s, store->hash_seed, bytes);
    s.v[2] ^= 0xee;
    out[0] = squeeze(&s);
    s.v[1] ^= 0xdd;
    out[1] = squeeze(&s);
}
