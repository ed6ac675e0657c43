/* wires: where a reply (RESP) or a line with its payload (NATS) ends. No I/O, no state. */
#ifndef DATA_WIRES_H
#define DATA_WIRES_H

#include <stdbool.h>
#include <stddef.h>

/* The size of the first whole reply; 0: it is not all there. Exits on what is no RESP2. */
size_t wires_resp_size(const char *bytes, size_t size);

struct nats_frame {
    size_t size; /* 0: it is not all there */
    bool is_message;
    bool is_status; /* a message of headers alone */
    unsigned sid;
    const char *answer_to; /* not terminated; answer_to_size 0: there is none */
    size_t answer_to_size;
    const char *payload;
    size_t payload_size;
};

struct nats_frame wires_nats(const char *bytes, size_t size);

#endif
