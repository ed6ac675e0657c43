/* acl_password: OpenSSL's SHA-256 and random numbers. */
#include "acl/acl_password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

static void print_hex(const unsigned char *bytes, size_t digits, char *hex)
{
    for (size_t i = 0; i < digits; i++) {
        unsigned nibble = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
        hex[i] = "0123456789abcdef"[nibble];
    }
    hex[digits] = '\0';
}

void acl_password_hash(struct slice password, char hex[ACL_HASH_HEX + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int done = EVP_Digest(password.data, password.len, digest, &len, EVP_sha256(), NULL);
    CHECK(done == 1 && len * 2 == ACL_HASH_HEX);
    print_hex(digest, ACL_HASH_HEX, hex);
}

bool acl_password_equal(const char *a, const char *b)
{
    return CRYPTO_memcmp(a, b, ACL_HASH_HEX) == 0;
}

void acl_password_generate(char *hex, size_t digits)
{
    unsigned char bytes[512];
    CHECK(digits <= 2 * sizeof bytes);
    int done = RAND_bytes(bytes, (int)((digits + 1) / 2));
    CHECK(done == 1);
    print_hex(bytes, digits, hex);
}
