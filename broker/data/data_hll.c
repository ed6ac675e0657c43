/* data_hll: HyperLogLog counters. */
#include "data/data_hll.h"

#include <endian.h>
#include <math.h>

enum {
    REGISTER_BITS = 14,
    VALUE_MAX = 64 - REGISTER_BITS + 1,
    ENCODING_AT = 4,
    COUNT_AT = 8,
    DENSE = 0,
    SPARSE = 1,
    ZERO_RUN_MAX = 64,     /* in one byte */
    ZEROS_RUN_MAX = 16384, /* in two */
    VALUE_RUN_MAX = 4,
    RUN_BYTES_MAX = 2,
    RUNS_JOINED = 5, /* looked at around a change */
};

static const char magic[4] = {'H', 'Y', 'L', 'L'};

/* ---- the head ---- */

bool hll_is_one(struct slice text)
{
    if (text.len < HLL_HEAD_BYTES || memcmp(text.data, magic, sizeof magic) != 0) { return false; }
    uint8_t encoding = (uint8_t)text.data[ENCODING_AT];
    return encoding == SPARSE || (encoding == DENSE && text.len == HLL_DENSE_BYTES);
}

bool hll_is_dense(struct slice text)
{
    return text.data[ENCODING_AT] == DENSE;
}

static void head_put(struct buf *hll, uint8_t encoding)
{
    char head[HLL_HEAD_BYTES] = {0};
    memcpy(head, magic, sizeof magic);
    head[ENCODING_AT] = (char)encoding;
    hll->len = 0;
    buf_append(hll, slice_of(head, sizeof head));
}

static void count_drop(struct buf *hll)
{
    hll->data[COUNT_AT + 7] |= (char)0x80;
}

bool hll_cached(struct slice text, uint64_t *count)
{
    memcpy(count, text.data + COUNT_AT, sizeof *count);
    *count = le64toh(*count);
    return *count >> 63 == 0;
}

/* ---- an element's register ---- */

/* MurmurHash64A (Austin Appleby, public domain), as Redis seeds it. */
static uint64_t hash(struct slice s)
{
    const uint64_t m = 0xc6a4a7935bd1e995;
    uint64_t h = 0xadc83b19 ^ (uint64_t)s.len * m;
    size_t at = 0;
    for (; at + 8 <= s.len; at += 8) {
        uint64_t k;
        memcpy(&k, s.data + at, sizeof k);
        k = le64toh(k) * m;
        h = (h ^ (k ^ k >> 47) * m) * m;
    }
    if (at < s.len) {
        for (size_t i = s.len; i-- > at;) {
            h ^= (uint64_t)(unsigned char)s.data[i] << (8 * (i - at));
        }
        h *= m;
    }
    h = (h ^ h >> 47) * m;
    return h ^ h >> 47;
}

/* Which register it concerns, and what it wants that to be at least. */
static uint32_t register_of(struct slice element, uint8_t *value)
{
    uint64_t h = hash(element);
    uint64_t rest = h >> REGISTER_BITS | 1ULL << (64 - REGISTER_BITS);
    *value = (uint8_t)(__builtin_ctzll(rest) + 1);
    return (uint32_t)(h & (HLL_REGISTERS - 1));
}

/* ---- dense ---- */

static uint8_t dense_get(const char *registers, uint32_t i)
{
    uint32_t bit = i * 6;
    const unsigned char *at = (const unsigned char *)registers + bit / 8;
    unsigned both = at[0];
    if (bit % 8 > 2) { both |= (unsigned)at[1] << 8; } /* it goes on in the next byte */
    return (uint8_t)(both >> (bit % 8) & 63);
}

static void dense_set(char *registers, uint32_t i, uint8_t value)
{
    uint32_t bit = i * 6;
    unsigned char *at = (unsigned char *)registers + bit / 8;
    unsigned shift = bit % 8;
    at[0] = (unsigned char)((at[0] & ~(63u << shift)) | (unsigned)value << shift);
    if (shift > 2) {
        at[1] = (unsigned char)((at[1] & ~(63u >> (8 - shift))) | (unsigned)value >> (8 - shift));
    }
}

static void dense_make(struct buf *hll, const uint8_t registers[HLL_REGISTERS])
{
    head_put(hll, DENSE);
    char *at = buf_reserve(hll, HLL_DENSE_BYTES - HLL_HEAD_BYTES);
    memset(at, 0, HLL_DENSE_BYTES - HLL_HEAD_BYTES);
    hll->len = HLL_DENSE_BYTES;
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        dense_set(at, i, registers[i]);
    }
}

/* ---- sparse ---- */

struct run {
    uint32_t len;
    uint8_t value;
    uint8_t bytes;
};

/* False: it is cut. */
static bool run_read(const char *at, size_t left, struct run *run)
{
    unsigned first = left > 0 ? (unsigned char)at[0] : 0;
    unsigned second = left > 1 ? (unsigned char)at[1] : 0;
    if (first & 0x80) {
        *run = (struct run){(first & 3) + 1, (uint8_t)((first >> 2 & 31) + 1), 1};
    } else if (first & 0x40) {
        *run = (struct run){((first & 63) << 8 | second) + 1, 0, 2};
    } else {
        *run = (struct run){(first & 63) + 1, 0, 1};
    }
    return left >= run->bytes;
}

/* Registers of one value; of values above 0 at most VALUE_RUN_MAX. Gives: the bytes. */
static size_t run_put(char *out, uint32_t len, uint8_t value)
{
    if (len == 0) { return 0; }
    if (value > 0) {
        out[0] = (char)(0x80 | (value - 1) << 2 | (len - 1));
        return 1;
    }
    if (len <= ZERO_RUN_MAX) {
        out[0] = (char)(len - 1);
        return 1;
    }
    out[0] = (char)(0x40 | (len - 1) >> 8);
    out[1] = (char)(len - 1);
    return 2;
}

/* The run that holds a register. Gives: where it begins in the text, and where the one before it does (or at the same
 * place); *first is its first register. False: there is none: the text is damaged. */
struct run_place {
    size_t at;
    size_t before;
    uint32_t first;
    struct run run;
};
static bool run_find(struct slice text, uint32_t i, struct run_place *place)
{
    size_t at = HLL_HEAD_BYTES;
    size_t before = at;
    uint32_t first = 0;
    struct run run;
    while (run_read(text.data + at, text.len - at, &run)) {
        if (i < first + run.len) {
            *place = (struct run_place){at, before, first, run};
            return true;
        }
        first += run.len;
        if (first >= HLL_REGISTERS) { break; }
        before = at;
        at += run.bytes;
    }
    return false;
}

/* Runs of one value above 0 that follow each other become one where that is allowed. */
static void runs_join(struct buf *hll, size_t at)
{
    struct run run;
    struct run next;
    for (int i = 0; i < RUNS_JOINED && run_read(hll->data + at, hll->len - at, &run); i++) {
        size_t then = at + run.bytes;
        bool fits = run.value > 0 && run_read(hll->data + then, hll->len - then, &next) &&
                    next.value == run.value && run.len + next.len <= VALUE_RUN_MAX;
        if (fits) {
            (void)run_put(hll->data + then, run.len + next.len, run.value);
            memmove(hll->data + at, hll->data + then, hll->len - then);
            hll->len -= run.bytes;
        } else {
            at = then;
        }
    }
}

static void to_dense(struct buf *hll, uint8_t registers[HLL_REGISTERS])
{
    struct buf dense = {0};
    dense_make(&dense, registers);
    memcpy(dense.data + COUNT_AT, hll->data + COUNT_AT, HLL_HEAD_BYTES - COUNT_AT);
    hll->len = 0;
    buf_append(hll, buf_slice(&dense));
    buf_fini(&dense);
}

static bool make_dense(struct buf *hll, uint32_t i, uint8_t value)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_merge(buf_slice(hll), registers)) { return false; }
    registers[i] = value;
    to_dense(hll, registers);
    return true;
}

/* The run is cut in up to three, the one in the middle being the register's own. False: damaged. */
static bool sparse_set(struct buf *hll, uint32_t i, uint8_t value, bool *is_changed)
{
    struct run_place place;
    if (!run_find(buf_slice(hll), i, &place)) { return false; }
    if (place.run.value >= value) { return true; }
    *is_changed = true;
    char runs[3 * RUN_BYTES_MAX];
    uint32_t left = i - place.first;
    size_t len = run_put(runs, left, place.run.value);
    if (value <= HLL_SPARSE_VALUE_MAX) { len += run_put(runs + len, 1, value); }
    len += run_put(runs + len, place.run.len - left - 1, place.run.value);
    size_t grown = hll->len + len - place.run.bytes;
    if (value > HLL_SPARSE_VALUE_MAX || (len > place.run.bytes && grown > HLL_SPARSE_BYTES_MAX)) {
        return make_dense(hll, i, value);
    }
    (void)buf_reserve(hll, sizeof runs);
    size_t rest = place.at + place.run.bytes;
    memmove(hll->data + place.at + len, hll->data + rest, hll->len - rest);
    memcpy(hll->data + place.at, runs, len);
    hll->len = grown;
    runs_join(hll, place.before);
    return true;
}

/* ---- whole counters ---- */

void hll_new(struct buf *hll)
{
    char run[RUN_BYTES_MAX];
    head_put(hll, SPARSE);
    buf_append(hll, slice_of(run, run_put(run, ZEROS_RUN_MAX, 0)));
}

bool hll_add(struct buf *hll, struct slice element, bool *is_changed)
{
    uint8_t value;
    uint32_t i = register_of(element, &value);
    *is_changed = false;
    if (!hll_is_dense(buf_slice(hll))) {
        if (!sparse_set(hll, i, value, is_changed)) { return false; }
    } else if (dense_get(hll->data + HLL_HEAD_BYTES, i) < value) {
        dense_set(hll->data + HLL_HEAD_BYTES, i, value);
        *is_changed = true;
    }
    if (*is_changed) { count_drop(hll); }
    return true;
}

/* Visit the runs of a sparse one. False: they are not of all registers, or of more. */
static bool runs_visit(struct slice text, void (*visit)(void *arg, uint32_t first, struct run run),
                       void *arg)
{
    uint32_t first = 0;
    struct run run;
    for (size_t at = HLL_HEAD_BYTES; at < text.len; at += run.bytes) {
        if (!run_read(text.data + at, text.len - at, &run)) { return false; }
        if (first + run.len > HLL_REGISTERS) { return false; }
        visit(arg, first, run);
        first += run.len;
    }
    return first == HLL_REGISTERS;
}

static void run_merge(void *arg, uint32_t first, struct run run)
{
    uint8_t *registers = arg;
    for (uint32_t i = first; run.value > 0 && i < first + run.len; i++) {
        if (registers[i] < run.value) { registers[i] = run.value; }
    }
}

bool hll_merge(struct slice text, uint8_t registers[HLL_REGISTERS])
{
    if (!hll_is_dense(text)) { return runs_visit(text, run_merge, registers); }
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        uint8_t value = dense_get(text.data + HLL_HEAD_BYTES, i);
        if (registers[i] < value) { registers[i] = value; }
    }
    return true;
}

/* False: it would be too long, or a value too high. */
static bool sparse_make(struct buf *hll, const uint8_t registers[HLL_REGISTERS])
{
    head_put(hll, SPARSE);
    for (uint32_t i = 0; i < HLL_REGISTERS;) {
        uint32_t max = registers[i] == 0 ? ZEROS_RUN_MAX : VALUE_RUN_MAX;
        uint32_t len = 1;
        while (i + len < HLL_REGISTERS && len < max && registers[i + len] == registers[i]) {
            len++;
        }
        if (registers[i] > HLL_SPARSE_VALUE_MAX) { return false; }
        char *at = buf_reserve(hll, RUN_BYTES_MAX);
        hll->len += run_put(at, len, registers[i]);
        if (hll->len > HLL_SPARSE_BYTES_MAX) { return false; }
        i += len;
    }
    return true;
}

void hll_make(struct buf *hll, const uint8_t registers[HLL_REGISTERS], bool is_dense)
{
    if (is_dense || !sparse_make(hll, registers)) { dense_make(hll, registers); }
    count_drop(hll);
}

static void run_text(void *arg, uint32_t first, struct run run)
{
    (void)first;
    struct buf *out = arg;
    if (out->len > 0) { buf_append_str(out, " "); }
    if (run.value > 0) {
        buf_appendf(out, "v:%u,%u", run.value, run.len);
    } else {
        buf_appendf(out, run.bytes == 1 ? "z:%u" : "Z:%u", run.len);
    }
}

bool hll_runs_text(struct slice text, struct buf *out)
{
    return runs_visit(text, run_text, out);
}

/* ---- the estimate ---- */

static double sigma(double x)
{
    if (x == 1.) { return INFINITY; }
    double y = 1;
    double z = x;
    double before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

static double tau(double x)
{
    if (x == 0. || x == 1.) { return 0.; }
    double y = 1;
    double z = 1 - x;
    double before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (before != z);
    return z / 3;
}

uint64_t hll_estimate(const uint8_t registers[HLL_REGISTERS])
{
    const double m = HLL_REGISTERS;
    const double alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
    uint32_t count[64] = {0};                     /* of registers of each value */
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        count[registers[i] & 63]++;
    }
    double z = m * tau((m - count[VALUE_MAX]) / m);
    for (int value = VALUE_MAX - 1; value >= 1; value--) {
        z = (z + count[value]) * 0.5;
    }
    z += m * sigma(count[0] / m);
    return (uint64_t)llroundl((long double)(alpha * m * m / z));
}
