/* import_wire: commands to a server, and its replies (RESP2). Owns: what a struct holds. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_WIRE_H
#define FANFARE_IMPORT_IMPORT_WIRE_H

#include "base/buf.h"

/* A command under construction. */
struct import_command {
    struct buf words;
    uint32_t count;
};

void import_command_begin(struct import_command *command, const char *name);
void import_command_word(struct import_command *command, struct slice word);
void import_command_str(struct import_command *command, const char *word);
void import_command_number(struct import_command *command, uint64_t v);
void import_command_id(struct import_command *command, uint64_t ms, uint64_t seq);
/* Append the whole of it. */
void import_command_append(const struct import_command *command, struct buf *out);
/* All words at once. */
void import_command_words(struct buf *out, const struct slice *word, uint32_t count);

/* The bytes of the first reply. 0: it is not whole; SIZE_MAX: these bytes are no reply. */
size_t import_reply_bytes(struct slice in);

/* What a whole reply is. */
struct import_reply {
    char kind;         /* + - : $ * */
    int64_t number;    /* of ':', elements of '*', bytes of '$'; -1: null */
    struct slice text; /* the line, or the string */
};
struct import_reply import_reply_read(struct slice reply);
/* The error that the reply is, or has in it. False: none. */
bool import_reply_error(struct slice reply, struct slice *error);
/* Would the same command, later, be executed: is nobody there who leads, a disk full, a reply lost? */
bool import_error_passes(struct slice error);

#endif
