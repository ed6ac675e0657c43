/* trust_rig: secrets for a test. */
#ifndef FANFARE_TESTS_TRUST_RIG_H
#define FANFARE_TESTS_TRUST_RIG_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "trust/trust.h"

/* Gives: one with the lines of `text`. */
static inline struct trust *trust_of(const char *text)
{
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    cr_assert(file != NULL && fputs(text, file) >= 0);
    fclose(file);
    struct trust *trust = NULL;
    struct buf why = {0};
    const struct trust_opts opts = {.secret_file = path};
    cr_assert_eq(trust_new(&trust, &opts, &why), ERR_OK, "%.*s", (int)why.len, why.data);
    unlink(path);
    return trust;
}

#endif
