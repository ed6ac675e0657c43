/* data_text_if: conditions on a string's text: IFEQ, IFNE, and by its digest IFDEQ, IFDNE. Inside this module. */
#ifndef FANFARE_DATA_DATA_TEXT_IF_H
#define FANFARE_DATA_DATA_TEXT_IF_H

#include "data/data_text.h"

struct text_condition {
    bool is_given;
    bool is_digest;
    bool is_not;
    struct slice text; /* to compare with */
};

/* Is argument `i` such a word, with a value behind it? */
bool arg_is_condition(const struct data_call *call, uint32_t i, struct text_condition *condition);
/* Argument `i` is its value. False: it is no digest, and the reply says so. */
MUST_USE bool text_condition_is_good(const struct data_call *call, uint32_t i,
                                     struct text_condition *condition);
/* Does it hold for the key, a string or none? What is not there differs from all. */
bool text_condition_holds(const struct text_condition *condition, const struct data_key *key);

#endif
