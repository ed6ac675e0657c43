/* slice: compare, hash and number conversion. */
#include "base/slice.h"

#include <pthread.h>
#include <sys/random.h>

int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) { return order; }
    return (a.len > b.len) - (a.len < b.len);
}

/* The hash folds 16 bytes at a time through a 64x64 -> 128 bit multiplication keyed by two secret
 * words. */
struct hash_seed {
    uint64_t word[2];
};

static struct hash_seed hash_seed;
static pthread_once_t hash_seed_once = PTHREAD_ONCE_INIT;

static void hash_seed_draw(void)
{
    CHECK(getrandom(&hash_seed, sizeof hash_seed, 0) == (ssize_t)sizeof hash_seed);
    hash_seed.word[0] |= 1;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load64(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

uint64_t slice_hash(struct slice s)
{
    pthread_once(&hash_seed_once, hash_seed_draw);
    const uint64_t k0 = hash_seed.word[0];
    const uint64_t k1 = hash_seed.word[1];
    uint64_t h = s.len * 0x9e3779b97f4a7c15ULL + k0;
    const char *at = s.data;
    size_t left = s.len;
    for (; left >= 16; left -= 16, at += 16) {
        h = fold(load64(at) ^ k1 ^ h, load64(at + 8) ^ k0);
    }
    uint64_t tail[2] = {0, 0};
    if (left > 0) { memcpy(tail, at, left); }
    h = fold(tail[0] ^ k1 ^ h, tail[1] ^ k0 ^ left);
    return fold(h ^ k1, 0x9e3779b97f4a7c15ULL ^ k0);
}

bool slice_to_int64(struct slice s, int64_t *out)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t at = negative ? 1 : 0;
    size_t digits = s.len - at;
    if (digits == 0 || digits > 19) { return false; }
    if (s.data[at] == '0' && (digits > 1 || negative)) { return false; }
    uint64_t v = 0;
    for (; at < s.len; at++) {
        unsigned digit = (unsigned)(s.data[at] - '0');
        if (digit > 9) { return false; }
        v = v * 10 + digit; /* 19 digits fit in 64 unsigned bits */
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) { return false; }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

size_t uint64_to_text(uint64_t v, char *out)
{
    char reversed[20];
    size_t count = 0;
    do {
        reversed[count++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = reversed[count - 1 - i];
    }
    return count;
}
