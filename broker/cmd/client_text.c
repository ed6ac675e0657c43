/* client_text: the check and the copy. */
#include "cmd/client_text.h"

#include "base/mem.h"

bool client_text_is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '!' || text.data[i] > '~') { return false; }
    }
    return true;
}

void client_text_set(char **at, struct slice text)
{
    mem_free(*at);
    *at = NULL;
    if (text.len > 0) {
        *at = mem_new(text.len + 1);
        memcpy(*at, text.data, text.len);
        (*at)[text.len] = '\0';
    }
}
