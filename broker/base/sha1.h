/* sha1: the digest by which scripts are named. No protection against anybody who looks for collisions. Thread: any. */
#ifndef FANFARE_BASE_SHA1_H
#define FANFARE_BASE_SHA1_H

#include <stdbool.h>

#include "base/slice.h"

enum { SHA1_BYTES = 20, SHA1_HEX = 40 };

void sha1(struct slice bytes, unsigned char out[SHA1_BYTES]);

/* In lower case; no NUL. */
void sha1_to_hex(const unsigned char sha[SHA1_BYTES], char out[SHA1_HEX]);
/* In any case. False: it is none. */
MUST_USE bool sha1_from_hex(struct slice hex, unsigned char out[SHA1_BYTES]);

#endif
