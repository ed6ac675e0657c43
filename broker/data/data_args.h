/* data_args: arguments as numbers and words, with Redis's errors where they are not. Inside this module. */
#ifndef FANFARE_DATA_DATA_ARGS_H
#define FANFARE_DATA_DATA_ARGS_H

#include "data/data_call.h"

enum { FLOAT_TEXT_MAX = 5120 }; /* of a long double written out */

extern const char data_not_an_integer[];
extern const char data_not_a_float[];
extern const char data_syntax_error[];

/* Is argument `i`, if there is one, this word, whatever its case? */
bool arg_is(const struct data_call *call, uint32_t i, const char *word);
/* The same, and is there another one behind it? */
bool arg_is_with_value(const struct data_call *call, uint32_t i, const char *word);

/* False: the argument is none, and the reply says so. */
MUST_USE bool arg_int(const struct data_call *call, uint32_t i, int64_t *out);
/* The same with an error text of its own, and bounds. */
MUST_USE bool arg_int_in(const struct data_call *call, uint32_t i, int64_t low, int64_t high,
                         const char *error, int64_t *out);
/* A count, if there is such an argument: 0 or more. *out stays as it is if there is none. */
MUST_USE bool arg_count(const struct data_call *call, uint32_t i, int64_t *out);
MUST_USE bool arg_double(const struct data_call *call, uint32_t i, double *out);

/* A number of the whole text; infinities, no NaN. False: it is none. */
bool text_to_double(struct slice text, double *out);
bool text_to_long_double(struct slice text, long double *out);

/* The number as INCRBYFLOAT writes it: 17 digits behind the point, without zeros at the end. `out` has FLOAT_TEXT_MAX
 * bytes. Gives: the length. */
size_t long_double_to_text(long double v, char *out);

/* A timeout of a blocking command, in seconds: *ms is 0 for none. False: it is no good, and the reply says so. */
MUST_USE bool arg_timeout(const struct data_call *call, uint32_t i, uint64_t *ms);

/* The subcommands of a container, and how many words each has at least and at most (0: any). */
struct subcommand {
    const char *name; /* lower case */
    uint32_t argc_min;
    uint32_t argc_max;
};
/* Which one argument 1 names. -1: none, or not with so many words, and the reply says so. */
MUST_USE int subcommand_find(const struct data_call *call, const char *container,
                             const struct subcommand *subcommands, size_t count);

/* numkeys key [key ...] <first | second> [COUNT count], as LMPOP and ZMPOP have it, from argument `at` to the end. False: it is
 * no good, and the reply says so. */
struct pop_of_many {
    uint32_t keys_at;
    uint32_t keys_end;
    bool is_second;
    uint64_t count;
};
MUST_USE bool arg_pop_of_many(const struct data_call *call, uint32_t at, const char *const words[2],
                              struct pop_of_many *out);

/* Redis's indexes: below 0 they count from the end. Gives: false if start..end is empty within `count`. */
bool range_clamp(int64_t *start, int64_t *end, uint64_t count);

#endif
