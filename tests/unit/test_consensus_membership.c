/* The promises of consensus/membership_file.h and membership_note.h, and of membership.h for a node
 * alone. What several nodes do is in tests/sim/sim_membership.c and tests/cluster/membership.py. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "consensus/membership/membership.h"
#include "consensus/membership/membership_file.h"
#include "consensus/membership/membership_note.h"
#include "unit/wait_until.h"

static char *new_dir(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/fanfare-test-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    return path;
}

static void remove_dir(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    cr_assert_eq(system(command), 0);
}

/* ---- the cluster file ---- */

Test(membership_file, no_file_is_no_cluster)
{
    const char *dir = new_dir();
    struct cluster_file file;
    cr_assert_eq(cluster_file_load(dir, &file), ERR_OK);
    cr_assert_eq(file.state, CLUSTER_NONE);
    remove_dir(dir);
}

Test(membership_file, every_state_is_read_as_it_was_written)
{
    const char *dir = new_dir();
    for (int state = CLUSTER_NONE; state <= CLUSTER_MEMBER; state++) {
        struct cluster_file out = {.state = (enum cluster_state)state};
        struct cluster_file in;
        if (state != CLUSTER_NONE) { out.cluster_id = 0x8123456789abcdef; }
        if (state == CLUSTER_PROMISED) {
            out.founder_id = UINT64_MAX;
            snprintf(out.founder, sizeof out.founder, "broker-0");
        }
        out.peer_count = 2;
        out.peer[0] = (struct pmap_address){"broker-1.brokers.svc", 16380};
        out.peer[1] = (struct pmap_address){"fd00::1", 65535};
        cr_assert_eq(cluster_file_save(dir, &out), ERR_OK);
        cr_assert_eq(cluster_file_load(dir, &in), ERR_OK);
        cr_assert_eq(memcmp(&in, &out, sizeof in), 0, "state %d", state);
    }
    remove_dir(dir);
}

Test(membership_file, any_cut_or_damaged_file_is_refused)
{
    const char *dir = new_dir();
    char path[128];
    char text[512];
    struct cluster_file file = {.state = CLUSTER_MEMBER, .cluster_id = 7};
    cr_assert_eq(cluster_file_save(dir, &file), ERR_OK);
    snprintf(path, sizeof path, "%s/cluster", dir);
    int fd = open(path, O_RDWR);
    ssize_t len = read(fd, text, sizeof text);
    cr_assert_gt(len, 0);
    for (ssize_t cut = len - 2; cut >= 0; cut--) {
        cr_assert_eq(ftruncate(fd, cut), 0);
        cr_assert_eq(cluster_file_load(dir, &file), ERR_CORRUPT, "cut at %zd", cut);
    }
    close(fd);
    remove_dir(dir);
}

/* ---- notes ---- */

static void check_round_trip(const struct note *note)
{
    struct note again;
    struct buf once = {0};
    struct buf twice = {0};
    note_encode(&once, note);
    cr_assert(note_decode(buf_slice(&once), &again), "kind %d", (int)note->kind);
    cr_assert_eq(again.kind, note->kind);
    cr_assert(note_is_of(buf_slice(&once), note->name) && !note_is_of(buf_slice(&once), "n3"));
    note_encode(&twice, &again);
    cr_assert(slice_equal(buf_slice(&once), buf_slice(&twice)), "kind %d", (int)note->kind);
    note_fini(&again);
    cr_assert_not(note_decode(slice_of(once.data, once.len - 1), &again), "a part is no note");
    note_fini(&again);
    buf_fini(&once);
    buf_fini(&twice);
}

Test(membership_note, every_kind_is_read_as_it_was_written)
{
    struct note note = {.cluster_id = 1, .node_id = 2, .name = "n2", .raft = {"host", 1}};
    note.kind = NOTE_DISCOVERY;
    note.discovery =
        (struct note_discovery){.expect = 3, .attempt = 9, .seen_count = 1, .seen = {7}};
    note.discovery.member_count = PMAP_NODES_MAX;
    for (uint32_t i = 0; i < PMAP_NODES_MAX; i++) {
        note.discovery.member[i] = (struct pmap_address){"member", (uint16_t)(i + 1)};
    }
    check_round_trip(&note);
    note.kind = NOTE_RELEASE;
    note.release = 9;
    check_round_trip(&note);
    note.kind = NOTE_JOIN;
    note.join = (struct note_join){1, 2, "zone", {"client", 6379}, {"peer", 16379}, 1};
    check_round_trip(&note);
    note.kind = NOTE_JOIN_REPLY;
    note.join_reply = (struct note_join_reply){1, true, 2, 3, 4, {"leader", 5}, "why not"};
    check_round_trip(&note);
    note.kind = NOTE_PING;
    note.ping = (struct note_ping){1, 2, 3, 4, 5, 6, 7, true, true, 1, 8};
    check_round_trip(&note);
    note.kind = NOTE_ECHO;
    note.echo = (struct note_echo){1, 2, 3};
    check_round_trip(&note);
    note.kind = NOTE_SUSPECT;
    note.suspect = (struct note_suspect){1, 2};
    check_round_trip(&note);
    note.kind = NOTE_SETTLED;
    note.settled = (struct note_settled){.count = NOTE_SETTLED_MAX};
    for (uint32_t i = 0; i < NOTE_SETTLED_MAX; i++) {
        note.settled.at[i] = (struct pmap_settled){i, UINT64_MAX - i};
    }
    check_round_trip(&note);
    note.kind = NOTE_FORGET;
    note.forget = (struct note_forget){1, "n3"};
    check_round_trip(&note);
    note.kind = NOTE_FORGET_REPLY;
    note.forget_reply = (struct note_forget_reply){1, true, "ERR Unknown node n3"};
    check_round_trip(&note);
    note.kind = NOTE_CHANGE_USERS;
    note.change_users = (struct note_change_users){1, SLICE("a command")};
    check_round_trip(&note);
    note.kind = NOTE_USERS_REPLY;
    note.users_reply = (struct note_users_reply){1, 2, 3, "n3"};
    check_round_trip(&note);
}

Test(membership_note, names_with_blanks_and_nodes_without_id_are_refused)
{
    struct note again;
    struct note note = {.kind = NOTE_ECHO, .node_id = 1, .name = "a b"};
    struct buf bytes = {0};
    note_encode(&bytes, &note);
    cr_assert_not(note_decode(buf_slice(&bytes), &again));
    bytes.len = 0;
    note = (struct note){.kind = NOTE_ECHO, .node_id = 0, .name = "a"};
    note_encode(&bytes, &note);
    cr_assert_not(note_decode(buf_slice(&bytes), &again));
    buf_fini(&bytes);
}

/* ---- a node alone ---- */

struct seen {
    atomic_uint owned;
    atomic_uint_fast64_t incarnation;
    atomic_uint_fast64_t cluster_id;
};

static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    struct seen *seen = arg;
    uint32_t owned = 0;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        owned += self != PMAP_NOBODY && map->partition[p].owner == self;
    }
    atomic_store(&seen->cluster_id, map->cluster_id);
    atomic_store(&seen->incarnation, self != PMAP_NOBODY ? map->node[self].incarnation : 0);
    atomic_store(&seen->owned, owned);
}

static struct membership *start(const char *dir, struct seen *seen)
{
    struct membership *m;
    struct membership_opts opts = {
        .dir = dir,
        .node_id = 5,
        .name = "n1",
        .zone = "",
        .client = {"127.0.0.1", 6379},
        .peer = {"127.0.0.1", 16379},
        .raft = {"127.0.0.1", 0}, /* as it turns out */
        .raft_listen_host = "127.0.0.1",
        .expect = 1,
        .partition_count = 8,
        .election_ms = 1000,
        .heartbeat_ms = 100,
        .node_timeout_ms = 1000,
        .on_map = on_map,
        .arg = seen,
    };
    cr_assert_eq(membership_start(&m, &opts), ERR_OK);
    return m;
}

static bool owns_all(struct membership *m, struct seen *seen)
{
    return atomic_load(&seen->owned) == 8 &&
           membership_has_lease(m, atomic_load(&seen->incarnation));
}

struct outcomes {
    atomic_uint of[8]; /* by enum users_outcome */
};

static void on_changed(void *arg, enum users_outcome outcome, const char *text)
{
    (void)text;
    atomic_fetch_add(&((struct outcomes *)arg)->of[outcome], 1);
}

/* While nobody leads they wait; this one's cluster then has no users in common. */
Test(membership, only_so_many_changes_of_users_wait_on_a_node)
{
    enum { WAIT_AT_MOST = 64, TOO_MANY = 3 };
    const char *dir = new_dir();
    struct seen seen = {0};
    struct outcomes outcomes = {0};
    struct membership *m = start(dir, &seen);
    for (uint64_t id = 1; id <= WAIT_AT_MOST + TOO_MANY; id++) {
        struct roster_change *change = roster_change_new(id);
        roster_change_add(change, &(struct roster_edit){.name = SLICE("u"), .rules = SLICE("on")});
        membership_change_users(m, change, WAIT_MS, on_changed, &outcomes);
    }
    WAIT_UNTIL(atomic_load(&outcomes.of[USERS_REFUSED]) == TOO_MANY);
    WAIT_UNTIL(atomic_load(&outcomes.of[USERS_OWN]) == WAIT_AT_MOST);
    membership_stop(m);
    remove_dir(dir);
}

Test(membership, one_that_expects_nobody_else_founds_and_goes_on_with_its_cluster)
{
    const char *dir = new_dir();
    struct seen seen = {0};
    struct membership *m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen));
    uint64_t cluster_id = atomic_load(&seen.cluster_id);
    uint64_t incarnation = atomic_load(&seen.incarnation);
    cr_assert_not(membership_has_lease(m, incarnation + 1), "the lease is of one life");
    struct membership_status status;
    membership_status(m, &status);
    cr_assert_eq(status.cluster_id, cluster_id);
    cr_assert_str_eq(status.leader, "n1");
    membership_stop(m);

    seen = (struct seen){0};
    m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen));
    cr_assert_eq(atomic_load(&seen.cluster_id), cluster_id);
    cr_assert_gt(atomic_load(&seen.incarnation), incarnation);
    membership_leave(m);
    WAIT_UNTIL(
        !membership_has_lease(m, atomic_load(&seen.incarnation))); /* and orders nothing more */
    membership_stop(m);
    remove_dir(dir);
}

Test(membership, a_log_whose_cluster_file_is_gone_is_refused)
{
    const char *dir = new_dir();
    char path[128];
    struct seen seen = {0};
    struct membership *m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen));
    membership_stop(m);
    snprintf(path, sizeof path, "%s/cluster", dir);
    cr_assert_eq(unlink(path), 0);
    struct membership_opts opts = {.dir = dir,
                                   .node_id = 5,
                                   .name = "n1",
                                   .zone = "",
                                   .raft_listen_host = "127.0.0.1",
                                   .expect = 1,
                                   .election_ms = 1000,
                                   .heartbeat_ms = 100,
                                   .node_timeout_ms = 1000};
    cr_assert_eq(membership_start(&m, &opts), ERR_CORRUPT);
    remove_dir(dir);
}

/* A file in the way of the cluster file's next version: it cannot be created. */
static void block_saving(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/cluster.tmp", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
}

Test(membership, a_cluster_file_that_cannot_be_written_stops_the_process, .exit_code = 70)
{
    const char *dir = new_dir();
    struct seen seen = {0};
    block_saving(dir);
    struct membership *m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen)); /* it never does */
}

Test(membership, a_cluster_file_is_written_anew_before_a_start_relies_on_it)
{
    const char *dir = new_dir();
    struct seen seen = {0};
    struct membership *m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen));
    membership_stop(m);
    block_saving(dir);
    struct membership_opts opts = {.dir = dir,
                                   .node_id = 5,
                                   .name = "n1",
                                   .zone = "",
                                   .raft_listen_host = "127.0.0.1",
                                   .expect = 1,
                                   .election_ms = 1000,
                                   .heartbeat_ms = 100,
                                   .node_timeout_ms = 1000};
    cr_assert_eq(membership_start(&m, &opts), ERR_SYSTEM);
    remove_dir(dir);
}

/* The file's writer hangs in the opening of a pipe that nobody reads, as over a dead disk. */
Test(membership, a_disk_that_hangs_under_a_members_file_holds_nothing_else_up)
{
    const char *dir = new_dir();
    char path[128];
    struct seen seen = {0};
    struct membership *m = start(dir, &seen);
    WAIT_UNTIL(owns_all(m, &seen));
    membership_stop(m);
    struct cluster_file file;
    cr_assert_eq(cluster_file_load(dir, &file), ERR_OK);
    file.peer_count = 1; /* which the map will not know */
    file.peer[0] = (struct pmap_address){"127.0.0.1", 1};
    cr_assert_eq(cluster_file_save(dir, &file), ERR_OK);
    struct seen again = {0};
    m = start(dir, &again);
    snprintf(path, sizeof path, "%s/cluster.tmp", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    WAIT_UNTIL(owns_all(m, &again));
    /* It cannot be stopped, and would miss a directory that goes before it does: rm takes the process's place. */
    execlp("rm", "rm", "-rf", dir, (char *)NULL);
    _Exit(1);
}
