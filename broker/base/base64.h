/* base64: RFC 4648's, with or without its padding. Thread: any. */
#ifndef FANFARE_BASE_BASE64_H
#define FANFARE_BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

/* Append what `text` stands for. False: it is no base64; what is appended has no meaning then. */
MUST_USE bool base64_decode(struct slice text, struct buf *out);

#endif
