/* SHA-1 against the examples of FIPS 180 and what redis-server names scripts. */
#include "base/sha1.h"

#include <criterion/criterion.h>

static void expect(struct slice text, const char *hex)
{
    unsigned char sha[SHA1_BYTES];
    unsigned char back[SHA1_BYTES];
    char out[SHA1_HEX];
    sha1(text, sha);
    sha1_to_hex(sha, out);
    cr_expect(memcmp(out, hex, SHA1_HEX) == 0, "%.40s, not %s", out, hex);
    cr_expect(sha1_from_hex(slice_of_str(hex), back) && memcmp(sha, back, SHA1_BYTES) == 0);
}

Test(base_sha1, known_texts_have_their_digests)
{
    expect(SLICE(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    expect(SLICE("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
           "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    expect(SLICE("return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
}

Test(base_sha1, every_length_around_a_block_is_taken_whole)
{
    char text[200];
    memset(text, 'a', sizeof text);
    expect(slice_of(text, 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    expect(slice_of(text, 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    expect(slice_of(text, 63), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
    expect(slice_of(text, 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    expect(slice_of(text, 120), "f34c1488385346a55709ba056ddd08280dd4c6d6");
}

Test(base_sha1, hex_is_read_in_any_case_and_nothing_else_is)
{
    unsigned char sha[SHA1_BYTES];
    cr_expect(sha1_from_hex(SLICE("E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), sha));
    cr_expect_eq(sha[0], 0xe0);
    cr_expect_not(sha1_from_hex(SLICE("e0e1f9fabfc9d4800c877a703b823ac0578ff8d"), sha));
    cr_expect_not(sha1_from_hex(SLICE("e0e1f9fabfc9d4800c877a703b823ac0578ff8dg"), sha));
}
