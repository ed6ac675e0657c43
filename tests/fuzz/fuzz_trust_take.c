/* The proof of the cluster's secret, on bytes of any kind and any cut: both ends take them, none is proved, nothing but a nonce and
 * MACs comes back. The first byte says how many come at once. */
#include <stdlib.h>
#include <unistd.h>

#include "trust/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct trust *trust_once(void)
{
    static struct trust *trust;
    if (trust != NULL) { return trust; }
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    int fd = mkstemp(path);
    struct buf why = {0};
    CHECK(write(fd, "a secret of sixteen bytes\n", 26) == 26);
    CHECK(close(fd) == 0);
    const struct trust_opts opts = {.secret_file = path};
    CHECK(trust_new(&trust, &opts, &why) == ERR_OK);
    CHECK(unlink(path) == 0);
    return trust;
}

static void feed(struct trust_proof *proof, struct slice bytes, size_t at_once)
{
    struct buf in = {0};
    struct buf out = {0};
    enum trust_step step = TRUST_GOES_ON;
    while (step == TRUST_GOES_ON && bytes.len > 0) {
        size_t len = at_once < bytes.len ? at_once : bytes.len;
        buf_append(&in, slice_of(bytes.data, len));
        bytes = slice_of(bytes.data + len, bytes.len - len);
        struct slice rest = buf_slice(&in);
        step = trust_take(proof, &rest, &out);
        CHECK(rest.len <= in.len);
        buf_consume(&in, in.len - rest.len);
    }
    CHECK(step != TRUST_PROVEN); /* it would have guessed 256 bits */
    CHECK(out.len <= TRUST_STEP_BYTES_MAX);
    buf_fini(&in);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) { return 0; }
    struct slice bytes = slice_of((const char *)data + 1, size - 1);
    struct trust_proof proof;
    struct buf out = {0};
    CHECK(trust_accept(&proof, trust_once(), TRUST_PEER, NULL, &out) == TRUST_GOES_ON);
    feed(&proof, bytes, (size_t)data[0] + 1);
    trust_dial(&proof, trust_once(), TRUST_RAFT, NULL);
    feed(&proof, bytes, (size_t)data[0] + 1);
    buf_fini(&out);
    return 0;
}
