/* err: the texts of the table. */
#include "base/err.h"

const char *err_word(enum err err)
{
    static const char *const word[] = {
#define ERROR(name, word, wire) [ERR_##name] = word,
#include "base/err.def"
#undef ERROR
    };
    return word[err];
}

const char *err_wire(enum err err)
{
    static const char *const wire[] = {
#define ERROR(name, word, wire) [ERR_##name] = wire,
#include "base/err.def"
#undef ERROR
    };
    return wire[err];
}
