/* names: the file of numbers and its reverse. */
#include "names.h"

#include <stdbool.h>

#include "fatal.h"

static void add_name(struct names *names, const char *path, uint32_t channel, const char *line)
{
    char *end = NULL;
    unsigned long number = strtoul(line, &end, 10);
    bool is_number = end != line && (*end == '\n' || *end == '\0');
    if (!is_number || number >= NAMES_COUNT || names->channel[number] != NAMES_UNKNOWN) {
        fatal("%s: line %u is no number below %u that is new", path, channel + 1, NAMES_COUNT);
    }
    names->number[channel] = (uint32_t)number;
    names->channel[number] = channel;
}

const struct names *names_read(const char *path, uint32_t channel_count)
{
    char line[32];
    struct names *names = alloc_or_die(1, sizeof *names);
    names->number = alloc_or_die(channel_count, sizeof *names->number);
    names->channel = alloc_or_die(NAMES_COUNT, sizeof *names->channel);
    for (uint32_t number = 0; number < NAMES_COUNT; number++) {
        names->channel[number] = NAMES_UNKNOWN;
    }
    FILE *stream = fopen(path, "re");
    if (stream == NULL) { fatal("%s: %s", path, strerror(errno)); }
    for (uint32_t channel = 0; channel < channel_count; channel++) {
        if (fgets(line, sizeof line, stream) == NULL) {
            fatal("%s: fewer than %u lines", path, channel_count);
        }
        add_name(names, path, channel, line);
    }
    fclose(stream);
    return names;
}
