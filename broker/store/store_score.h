/* store_score: doubles as big-endian numbers whose order is theirs. Inside the store. No score is NaN. */
#ifndef FANFARE_STORE_STORE_SCORE_H
#define FANFARE_STORE_STORE_SCORE_H

#include <stdint.h>
#include <string.h>

enum { STORE_SCORE_BYTES = 8 };

static inline uint64_t score_encode(double score)
{
    uint64_t bits;
    score += 0.0; /* -0 and 0 are one score */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 63 != 0 ? ~bits : bits | 1ULL << 63;
}

static inline double score_decode(uint64_t bits)
{
    double score;
    bits = bits >> 63 != 0 ? bits & ~(1ULL << 63) : ~bits;
    memcpy(&score, &bits, sizeof score);
    return score;
}

#endif
