/* slot: CRC16 and the hash tag rule. */
#include "base/slot.h"

/* Polynomial 0x1021, one nibble at a time: a 32-byte table instead of 512. */
static const uint16_t crc16_nibble[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
    0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
};

static uint16_t crc16(struct slice s)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte = (uint8_t)s.data[i];
        crc = (uint16_t)((crc << 4) ^ crc16_nibble[(crc >> 12) ^ (byte >> 4)]);
        crc = (uint16_t)((crc << 4) ^ crc16_nibble[(crc >> 12) ^ (byte & 15)]);
    }
    return crc;
}

static struct slice hash_tag(struct slice key)
{
    const char *open = key.len > 0 ? memchr(key.data, '{', key.len) : NULL;
    if (open == NULL) { return key; }
    struct slice after = slice_of(open + 1, key.len - (size_t)(open + 1 - key.data));
    const char *close = after.len > 0 ? memchr(after.data, '}', after.len) : NULL;
    if (close == NULL || close == after.data) { return key; }
    return slice_of(after.data, (size_t)(close - after.data));
}

uint16_t slot_of(struct slice key)
{
    return crc16(hash_tag(key)) % SLOT_COUNT;
}
