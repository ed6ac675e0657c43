/* acl_password: passwords, of which only SHA-256 hashes are kept, in Redis's form. Thread: any. */
#ifndef FANFARE_ACL_ACL_PASSWORD_H
#define FANFARE_ACL_ACL_PASSWORD_H

#include "acl/acl_user.h"

/* The hash in ACL_HASH_HEX lower-case digits, and a NUL. */
void acl_password_hash(struct slice password, char hex[ACL_HASH_HEX + 1]);

/* Do two hashes agree? In a time that tells nothing. */
MUST_USE bool acl_password_equal(const char *a, const char *b);

/* So many random hexadecimal digits, and a NUL; at most 1,024. */
void acl_password_generate(char *hex, size_t digits);

#endif
