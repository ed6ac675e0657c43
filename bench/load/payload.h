/* payload: what a message carries so that its receiver can judge it alone.
 * 16 letters of stamp (publisher and sequence), 16 letters of time when there is room, then filler
 * that depends on the stamp, so that bytes of another message are noticed.
 * Thread: one. Always: a payload is printable and never shorter than STAMP_BYTES. */
#ifndef LOAD_PAYLOAD_H
#define LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STAMP_BYTES 16U
#define TIME_BYTES 16U
#define FILLER_SHIFTS 4096U

/* The publisher in the top 16 bits, its sequence on this channel below. */
#define STAMP_SEQ_BITS 48U

static inline uint64_t stamp_make(uint32_t publisher, uint64_t seq)
{
    return ((uint64_t)publisher << STAMP_SEQ_BITS) | seq;
}

static inline uint32_t stamp_publisher(uint64_t stamp)
{
    return (uint32_t)(stamp >> STAMP_SEQ_BITS);
}

static inline uint64_t stamp_seq(uint64_t stamp)
{
    return stamp & (((uint64_t)1 << STAMP_SEQ_BITS) - 1);
}

/* Eight letters a..p to the 32 bits they spell, the first letter lowest. Adds to `wrong` any bits that
 * are set only if one of them is no such letter. */
static inline uint32_t letters_read8(const char *text, uint64_t *wrong)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    word -= UINT64_C(0x6161616161616161);
    *wrong |= word & UINT64_C(0xf0f0f0f0f0f0f0f0);
    word = (word | word >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    word = (word | word >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(word | word >> 16);
}

/* The 64 bits that 16 letters spell. False: they are not the letters a..p. */
static inline bool letters_read(const char *text, uint64_t *value)
{
    uint64_t wrong = 0;
    uint64_t low = letters_read8(text, &wrong);
    uint64_t high = letters_read8(text + 8, &wrong);
    *value = low | high << 32;
    return wrong == 0;
}

static inline void letters_write(char *text, uint64_t value)
{
    for (uint32_t i = 0; i < 16; i++) {
        text[i] = (char)('a' + ((value >> (4 * i)) & 15));
    }
}

/* How many bytes precede the filler in a payload of this size. */
static inline uint32_t payload_lead_bytes(uint32_t payload_bytes)
{
    return payload_bytes >= STAMP_BYTES + TIME_BYTES ? STAMP_BYTES + TIME_BYTES : STAMP_BYTES;
}

/* A table of letters that every payload of up to `payload_bytes` takes its filler from.
 * Gives: the caller frees. */
char *filler_new(uint32_t payload_bytes);

/* Where in the table the filler of the message with this stamp begins. */
static inline const char *filler_of(const char *filler, uint64_t stamp)
{
    return filler + ((stamp * UINT64_C(0x9e3779b97f4a7c15)) >> 52);
}

/* Write a whole payload. The time is left out when there is no room for it. */
void payload_write(char *out, uint32_t payload_bytes, const char *filler, uint64_t stamp,
                   uint64_t time_ns);

#endif
