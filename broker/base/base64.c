/* base64: six bits at a time. */
#include "base/base64.h"

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') { return c - 'A'; }
    if (c >= 'a' && c <= 'z') { return c - 'a' + 26; }
    if (c >= '0' && c <= '9') { return c - '0' + 52; }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct slice text, struct buf *out)
{
    enum { DIGITS = 4, PADDING_MAX = 2 };
    for (unsigned i = 0; i < PADDING_MAX && text.len > 0 && text.data[text.len - 1] == '='; i++) {
        text.len--;
    }
    uint32_t bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0) { return false; }
        bits = (bits << 6 | (uint32_t)digit) & 0xffffff;
        if (i % DIGITS == 0) { continue; }
        char byte = (char)(bits >> (6 - 2 * (i % DIGITS)));
        buf_append(out, slice_of(&byte, 1));
    }
    return text.len % DIGITS != 1;
}
