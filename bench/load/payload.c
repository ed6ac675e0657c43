/* payload: the filler table and the writing of a message. */
#include "payload.h"

#include "fatal.h"

_Static_assert(FILLER_SHIFTS == 1U << (64 - 52), "filler_of reaches exactly the shifts that exist");

char *filler_new(uint32_t payload_bytes)
{
    size_t filler_bytes = (size_t)payload_bytes + FILLER_SHIFTS;
    char *filler = alloc_or_die(filler_bytes, 1);
    uint64_t state = 1;
    for (size_t i = 0; i < filler_bytes; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        filler[i] = (char)('a' + (state >> 59) % 26);
    }
    return filler;
}

void payload_write(char *out, uint32_t payload_bytes, const char *filler, uint64_t stamp,
                   uint64_t time_ns)
{
    uint32_t lead_bytes = payload_lead_bytes(payload_bytes);
    letters_write(out, stamp);
    if (lead_bytes > STAMP_BYTES) { letters_write(out + STAMP_BYTES, time_ns); }
    memcpy(out + lead_bytes, filler_of(filler, stamp), payload_bytes - lead_bytes);
}
