/* data_type: types by the words that TYPE answers with. Inside this module. */
#ifndef FANFARE_DATA_DATA_TYPE_H
#define FANFARE_DATA_DATA_TYPE_H

#include "data/data_call.h"

const char *type_word(enum store_type type);
/* STORE_NONE: there is no such type. */
enum store_type type_of_word(struct slice word);

#endif
