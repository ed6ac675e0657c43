/* data_hll: HyperLogLog counters as strings, in Redis's form, so that one moves between servers as its bytes.
 *
 * "HYLL", encoding1 (0 dense, 1 sparse), 3 bytes of zero, the last count in 8 bytes, lowest first, whose highest bit says
 * that it holds no more, and 16,384 registers of 6 bits. Dense: one behind the other, lowest bits first. Sparse: runs,
 * 00nnnnnn n+1 registers of 0; 01nnnnnn nnnnnnnn the same, longer; 1vvvvvnn n+1 registers of v+1.
 * The estimate is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017). Inside this module. */
#ifndef FANFARE_DATA_DATA_HLL_H
#define FANFARE_DATA_DATA_HLL_H

#include "base/buf.h"
#include "base/slice.h"

enum {
    HLL_REGISTERS = 1 << 14,
    HLL_HEAD_BYTES = 16,
    HLL_DENSE_BYTES = HLL_HEAD_BYTES + HLL_REGISTERS * 6 / 8,
    HLL_SPARSE_BYTES_MAX =
        HLL_HEAD_BYTES + 3000, /* what would be longer is made dense; the same on all replicas */
    HLL_SPARSE_VALUE_MAX = 32,
};

/* Is the text a counter, by its head? Its runs may still be damaged. */
bool hll_is_one(struct slice text);
bool hll_is_dense(struct slice text);

/* An empty one. */
void hll_new(struct buf *hll);

/* Count an element. *is_changed: a register rose. False: it is damaged, and as it was. */
MUST_USE bool hll_add(struct buf *hll, struct slice element, bool *is_changed);

/* Raise each register to the text's. False: the text is damaged. */
MUST_USE bool hll_merge(struct slice text, uint8_t registers[HLL_REGISTERS]);
/* One with these registers: dense, or sparse if it may be and fits. */
void hll_make(struct buf *hll, const uint8_t registers[HLL_REGISTERS], bool is_dense);

/* How many different elements were counted, about. */
uint64_t hll_estimate(const uint8_t registers[HLL_REGISTERS]);
/* The count in the head. False: it holds no more. */
bool hll_cached(struct slice text, uint64_t *count);

/* The runs of a sparse one for people: "Z:16384", "v:1,2". False: it is damaged. */
MUST_USE bool hll_runs_text(struct slice text, struct buf *out);

#endif
