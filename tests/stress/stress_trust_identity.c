/* stress_trust_identity: connections are made by a node's certificate while its files change all the time.
 * Held: each handshake succeeds by one set or the other, none by half of each; what stands is judged meanwhile. Built for
 * ThreadSanitizer, run in every build. The program openssl makes the files. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "trust/seal.h"

enum { THREADS = 3, CHANGES = 10, HANDSHAKES_MIN = 20, RUN_TIMEOUT_S = 240, PATH_BYTES = 64 };

struct shared {
    struct identity *identity;
    char dir[32];
    atomic_bool is_over;
    atomic_uint handshakes[THREADS];
};

struct maker {
    struct thread thread;
    struct shared *shared;
    unsigned index;
};

/* A script, in that directory, which finds `name` in $name. */
static void run(const char *script, const char *dir, const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && name=%s && %s", dir, name, script);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
}

/* Two pairs of the node, by one authority. */
static void make_files(const char *dir)
{
    static const char *const names[] = {"one", "two"};
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "
        "/CN=$name -keyout ca.key "
        "-out ca.crt 2>/dev/null",
        dir, "authority");
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=node -addext "
            "subjectAltName=DNS:node -keyout $name.key -out $name.csr 2>/dev/null && "
            "openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 "
            "-copy_extensions copy -out $name.crt 2>/dev/null",
            dir, names[i]);
    }
    run("cp $name.crt own.crt && cp $name.key own.key", dir, "one");
}

static void meet(struct shared *shared)
{
    struct buf to[2] = {0}, plain = {0};
    uint64_t number = identity_number(shared->identity);
    struct seal *end[2] = {seal_new(shared->identity, false, NULL),
                           seal_new(shared->identity, true, &to[0])};
    for (unsigned turn = 0; to[turn % 2].len > 0; turn++) {
        struct buf *in = &to[turn % 2];
        CHECK(seal_take(end[turn % 2], buf_slice(in), &plain, &to[1 - turn % 2]) == SEAL_GOES_ON);
        in->len = 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        CHECK(seal_is_up(end[i]) && identity_is_of(seal_ssl(end[i]), "node"));
        identity_note(shared->identity, seal_ssl(end[i]), number);
        CHECK(identity_judge(shared->identity, seal_ssl(end[i]), "node") == IDENTITY_STANDS);
        seal_free(end[i]);
        buf_fini(&to[i]);
    }
    buf_fini(&plain);
}

static void make(void *arg)
{
    struct maker *maker = arg;
    while (!atomic_load(&maker->shared->is_over)) {
        meet(maker->shared);
        atomic_fetch_add(&maker->shared->handshakes[maker->index], 1);
    }
}

static void change(struct shared *shared, unsigned turn)
{
    struct buf why = {0};
    const char *name = turn % 2 == 0 ? "two" : "one";
    run("cp $name.crt own.crt", shared->dir, name);
    CHECK(identity_refresh(shared->identity, true, &why) == IDENTITY_REFUSED); /* half of it */
    run("cp $name.key own.key", shared->dir, name);
    CHECK(identity_refresh(shared->identity, true, &why) == IDENTITY_TAKEN);
    buf_fini(&why);
}

static bool are_few(struct shared *shared)
{
    for (unsigned i = 0; i < THREADS; i++) {
        if (atomic_load(&shared->handshakes[i]) < HANDSHAKES_MIN) { return true; }
    }
    return false;
}

int main(void)
{
    struct shared shared = {.dir = "/tmp/fanfare-stress-XXXXXX"};
    struct maker maker[THREADS];
    char ca[PATH_BYTES], cert[PATH_BYTES], key[PATH_BYTES];
    struct buf why = {0};
    alarm(RUN_TIMEOUT_S);
    CHECK(mkdtemp(shared.dir) != NULL);
    make_files(shared.dir);
    snprintf(ca, sizeof ca, "%s/ca.crt", shared.dir);
    snprintf(cert, sizeof cert, "%s/own.crt", shared.dir);
    snprintf(key, sizeof key, "%s/own.key", shared.dir);
    const struct identity_opts opts = {"node", ca, cert, key, 0};
    CHECK(identity_new(&shared.identity, &opts, &why) == ERR_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        maker[i] = (struct maker){.shared = &shared, .index = i};
        thread_start(&maker[i].thread, "maker", make, &maker[i]);
    }
    unsigned changes = 0;
    while (changes < CHANGES || are_few(&shared)) {
        change(&shared, changes++);
    }
    atomic_store(&shared.is_over, true);
    for (unsigned i = 0; i < THREADS; i++) {
        thread_join(&maker[i].thread);
    }
    CHECK(identity_number(shared.identity) == changes + 1);
    identity_free(shared.identity);
    run("rm -r \"$PWD\"", shared.dir, "all");
    printf("%u changes\n", changes);
    return 0;
}
