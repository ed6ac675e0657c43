/* Both ends of the peer link over loopback: a dialling and an accepting hub, each on a worker of its own, or
 * one of them against a bare socket that the test holds. */
#include "unit/peer_rig.h"

Test(peer, requests_arrive_and_their_answers_return)
{
    struct fixture *f = set_up(false);
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_publishes);
    WAIT_UNTIL(atomic_load(&f->answer_count) == 1000);
    cr_assert_eq(atomic_load(&f->frame_count), 1000);
    cr_assert_geq(atomic_load(&f->batch_count), 1);
    cr_assert_leq(atomic_load(&f->batch_count), 1000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    tear_down(f);
}

Test(peer, ends_that_know_the_secret_carry_all_that_others_do)
{
    struct fixture *f = set_up_trusting(false, PATIENCE_MS, "the old secret of us",
                                        "one more for later\nthe old secret of us");
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_publishes);
    WAIT_UNTIL(atomic_load(&f->answer_count) == 1000);
    cr_assert_eq(atomic_load(&f->frame_count), 1000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    run_on(f, f->dialling, free_out_abruptly);
    tear_down(f);
}

Test(peer, who_does_not_know_the_secret_is_told_nothing_and_tells_nothing)
{
    static const char *const secrets[][2] = {{"the secret of others", "the secret of us all"},
                                             {"the secret of us all", NULL},
                                             {NULL, "the secret of us all"}};
    for (unsigned i = 0; i < COUNT_OF(secrets); i++) {
        struct fixture *f = set_up_trusting(i % 2 == 0, SILENCE_MS, secrets[i][0], secrets[i][1]);
        run_on(f, f->dialling, dial);
        WAIT_UNTIL(atomic_load(&f->down_count) >= 1);
        cr_assert_eq(atomic_load(&f->hello_count), 0);
        cr_assert(secrets[i][0] == NULL || atomic_load(&f->up_count) == 0);
        run_on(f, f->dialling, free_out_abruptly);
        tear_down(f);
    }
}

Test(peer, a_stranger_that_proves_nothing_costs_its_connection_and_its_time)
{
    struct fixture *f = set_up_trusting(false, PATIENCE_MS, NULL, "the secret of us all");
    int silent = bare_connect(f);
    int wrong = bare_connect(f);
    char zeros[200] = {0};
    bare_send(wrong, slice_of(zeros, sizeof zeros));
    cr_assert(bare_wait_reset(wrong));
    cr_assert(bare_wait_reset(silent));
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    close(silent);
    close(wrong);
    tear_down(f);
}

Test(peer, a_name_is_resolved_and_every_address_of_it_tried)
{
    struct fixture *f = set_up(false);
    f->host = "localhost"; /* perhaps first an address on which nobody listens */
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    tear_down(f);
}

Test(peer, a_name_that_nobody_has_is_told_once_and_tried_again)
{
    struct fixture *f = set_up(false);
    f->host = "a-label-of-more-than-sixty-three-characters-is-in-no-zone-of-the-whole-wide-world";
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert_eq(atomic_load(&f->unsent_from), 0);
    tear_down(f);
}

Test(peer, a_dialler_that_comes_first_finds_the_listener_later)
{
    struct fixture *f = set_up(true);
    uint16_t port;
    int listener = bare_bind(&port);
    f->port = port;
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert_eq(listen(listener, 8), 0);
    int fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    cr_assert_eq(atomic_load(&f->down_count), 1, "a row of failures is told once");
    close(fd);
    fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO, "it has come back");
    WAIT_UNTIL(atomic_load(&f->up_count) == 2);
    cr_assert_eq(atomic_load(&f->down_count), 2);
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, both_ways_of_a_quiet_link_ping)
{
    struct fixture *f = set_up_impatient(false);
    int fd = bare_peer(f, false);
    struct buf ping = {0};
    wire_encode(&ping, &(struct wire_frame){.type = WIRE_PING});
    for (int i = 0; i < 3 * SILENCE_MS / PEER_PING_MS;
         i++) { /* it waits for longer than silence may last */
        bare_send(fd, buf_slice(&ping));
        cr_assert_eq(bare_read(fd), WIRE_PING);
    }
    cr_assert_eq(atomic_load(&f->unclean_count) + atomic_load(&f->clean_count), 0);
    buf_fini(&ping);
    close(fd);
    tear_down(f);
}

Test(peer, a_lane_pings_one_way_and_needs_no_word_back)
{
    struct fixture *f = set_up_impatient(true);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    for (int i = 0; i < 3 * SILENCE_MS / PEER_PING_MS; i++) {
        cr_assert_eq(bare_read(fd), WIRE_PING);
    }
    cr_assert_eq(atomic_load(&f->down_count), 0);
    bare_send(fd, slice_of("\0\0\0\2\x12\0", 6)); /* a ping, even: nothing comes back on a lane */
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert(bare_wait_reset(fd));
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, silence_ends_a_connection_at_who_waits_for_a_word)
{
    struct fixture *f = set_up_impatient(false);
    int fd = bare_peer(f, false);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 1);
    close(fd);
    fd = bare_peer(f, true);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 2);
    close(fd);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert(bare_wait_reset(fd));
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, a_connection_that_never_says_hello_is_closed)
{
    struct fixture *f = set_up(false);
    int fd = bare_connect(f);
    bare_send(fd, slice_of("\0\0\0\x20", 4));
    cr_assert(bare_wait_reset(fd));
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    close(fd);
    tear_down(f);
}

Test(peer, the_oldest_stranger_makes_room_for_who_comes_and_a_member_is_not_locked_out)
{
    enum { FLOOD = PEER_STRANGERS_MAX + 20 };
    struct fixture *f = set_up(false);
    int stranger[FLOOD];
    for (int i = 0; i < FLOOD; i++) {
        stranger[i] = bare_connect(f);
    }
    int member = bare_peer(f, false);
    cr_assert(bare_wait_reset(stranger[0]));
    run_on(f, f->accepting, check_few_are_left);
    for (int i = 0; i < FLOOD; i++) {
        close(stranger[i]);
    }
    cr_assert_eq(atomic_load(&f->unclean_count), 0, "the member stays");
    close(member);
    tear_down(f);
}

static void hold_up(struct fixture *f)
{
    (void)f;
    uint64_t until_ns = clock_mono_ns() + 3 * SILENCE_MS * NS_PER_MS;
    while (clock_mono_ns() < until_ns) {
        poll(NULL, 0, 10);
    }
}

Test(peer, time_in_which_the_own_loop_was_held_up_is_no_silence_of_the_peer)
{
    struct fixture *f = set_up_impatient(false);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, hold_up);
    struct buf ping = {0};
    wire_encode(&ping, &(struct wire_frame){.type = WIRE_PING});
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    for (int i = 0; i < 3; i++) { /* it goes on as if nothing had been */
        cr_assert_eq(bare_read(fd), WIRE_PING);
        bare_send(fd, buf_slice(&ping));
    }
    cr_assert_eq(atomic_load(&f->down_count), 0);
    buf_fini(&ping);
    close(fd);
    close(listener);
    tear_down(f);
}

/* ---- how it ends ---- */

Test(peer, fin_behind_a_whole_frame_is_clean_and_comes_after_all_frames)
{
    struct fixture *f = set_up(true);
    struct buf bytes = {0};
    for (uint64_t seq = 0; seq < 20000; seq++) {
        add_run(&bytes, WIRE_DELIVER, seq);
    }
    int fd = bare_peer(f, true);
    bare_send(fd, buf_slice(&bytes));
    close(fd);
    WAIT_UNTIL(atomic_load(&f->clean_count) == 1);
    cr_assert_eq(atomic_load(&f->frame_count), 20000);
    buf_fini(&bytes);
    tear_down(f);
}

Test(peer, every_other_end_is_unclean)
{
    struct fixture *f = set_up(true);
    struct buf frame = {0};
    add_run(&frame, WIRE_DELIVER, 0);
    for (size_t cut = 1; cut < frame.len; cut += 7) {
        int fd = bare_peer(f, true);
        bare_send(fd, slice_of(frame.data, cut));
        uint64_t before = atomic_load(&f->unclean_count);
        close(fd);
        WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    }
    uint64_t before = atomic_load(&f->unclean_count);
    bare_reset(bare_peer(f, true));
    WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    cr_assert_eq(atomic_load(&f->clean_count), 0);
    buf_fini(&frame);
    tear_down(f);
}

static void expect_refusal(struct fixture *f, bool is_lane, struct slice bytes)
{
    uint64_t before = atomic_load(&f->unclean_count);
    int fd = bare_peer(f, is_lane);
    bare_send(fd, bytes);
    cr_assert(bare_wait_reset(fd));
    WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    close(fd);
}

Test(peer, garbage_and_frames_out_of_place_end_the_connection)
{
    struct fixture *f = set_up(true);
    struct buf bytes = {0};
    expect_refusal(f, true, slice_of("\xff\xff\xff\xff", 4));
    expect_refusal(f, false, SLICE("PUBLISH news hi\r\n and so on"));
    add_run(&bytes, WIRE_PUBLISH, 1);
    expect_refusal(f, true, buf_slice(&bytes));
    bytes.len = 0;
    add_run(&bytes, WIRE_DELIVER, 0);
    expect_refusal(f, false, buf_slice(&bytes));
    bytes.len = 0;
    struct wire_frame hello = hello_frame(true);
    wire_encode(&bytes, &hello);
    expect_refusal(f, true, buf_slice(&bytes));
    bytes.len = 0;
    wire_encode(&bytes, &(struct wire_frame){.type = WIRE_END}); /* which the owner does not like */
    expect_refusal(f, true, buf_slice(&bytes));
    cr_assert_eq(atomic_load(&f->clean_count) + atomic_load(&f->frame_count), 0);
    buf_fini(&bytes);
    tear_down(f);
}

static void expect_no_hello(struct fixture *f, const struct wire_frame *frame)
{
    int fd = bare_connect(f);
    struct buf bytes = {0};
    wire_encode(&bytes, frame);
    bare_send(fd, buf_slice(&bytes));
    cr_assert(bare_wait_reset(fd));
    close(fd);
    buf_fini(&bytes);
}

Test(peer, who_is_refused_is_closed_and_nothing_else_is_told)
{
    struct fixture *f = set_up(true);
    struct wire_frame frame = hello_frame(true);
    frame.hello.version++;
    expect_no_hello(f, &frame);
    frame = hello_frame(true);
    frame.hello.worker = 1;
    expect_no_hello(f, &frame);
    frame = (struct wire_frame){.type = WIRE_PING};
    expect_no_hello(f, &frame);
    frame = (struct wire_frame){.type = WIRE_INTEREST,
                                .interest = {.name = slice_of(mem_new0(9000), 9000)}};
    expect_no_hello(f, &frame);
    union {
        const char *in;
        char *out;
    } name = {frame.interest.name.data};
    mem_free(name.out);
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    uint64_t begin_ns = clock_mono_ns();
    int fd = bare_connect(f);
    bare_send(fd, slice_of("\0\0\x20\0", 4)); /* the length alone tells that it is no hello */
    cr_assert(bare_wait_reset(fd));
    cr_assert_lt(clock_mono_ns() - begin_ns, PEER_HELLO_MS_MAX * NS_PER_MS);
    close(fd);
    atomic_store(&f->refuses, true);
    frame = hello_frame(false);
    expect_no_hello(f, &frame);
    cr_assert_eq(atomic_load(&f->clean_count) + atomic_load(&f->unclean_count), 0);
    tear_down(f);
}

static void resume(struct fixture *f)
{
    atomic_store(&f->pauses, false);
    peer_in_resume(f->in);
}

Test(peer, what_came_before_a_pause_and_the_end_is_seen_after_it)
{
    struct fixture *f = set_up_impatient(true);
    struct buf bytes = {0};
    for (uint64_t seq = 0; seq < 100; seq++) {
        add_run(&bytes, WIRE_DELIVER, seq);
    }
    atomic_store(&f->pauses, true);
    int fd = bare_peer(f, true);
    bare_send(fd, buf_slice(&bytes));
    close(fd);
    WAIT_UNTIL(atomic_load(&f->frame_count) == 1);
    uint64_t paused_ns = clock_mono_ns();
    WAIT_UNTIL(clock_mono_ns() - paused_ns > 2 * SILENCE_MS * NS_PER_MS); /* no silence meanwhile */
    cr_assert_eq(atomic_load(&f->frame_count), 1);
    cr_assert_eq(atomic_load(&f->unclean_count), 0);
    run_on(f, f->accepting, resume);
    WAIT_UNTIL(atomic_load(&f->clean_count) == 1);
    cr_assert_eq(atomic_load(&f->frame_count), 100);
    buf_fini(&bytes);
    tear_down(f);
}

/* ---- much ---- */

Test(peer, a_lane_that_takes_nothing_is_given_up)
{
    struct fixture *f = set_up_impatient(true);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much); /* far more than a socket takes, and nobody reads */
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, a_hundred_megabytes_arrive_whole_before_an_orderly_end)
{
    struct fixture *f = set_up(true);
    much_arrives(f);
    cr_assert_eq(atomic_load(&f->down_count), 0, "no callback after free");
    tear_down(f);
}

Test(peer, an_abrupt_end_is_unclean)
{
    struct fixture *f = set_up(true);
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->hello_count) == 1);
    run_on(f, f->dialling, free_out_abruptly);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 1);
    cr_assert_eq(atomic_load(&f->clean_count), 0);
    tear_down(f);
}

Test(peer, what_no_socket_took_is_told_by_its_offset)
{
    struct fixture *f = set_up(false);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much); /* more than a socket's buffers hold */
    bare_reset(fd);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    uint64_t unsent_from = atomic_load(&f->unsent_from);
    uint64_t queued = atomic_load(&f->queued_at_down);
    cr_assert_gt(queued, 100 << 20);
    cr_assert_gt(unsent_from, 0);
    cr_assert_lt(unsent_from, queued);
    fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO, "nothing of the old connection is sent on the new one");
    cr_assert_eq(bare_read(fd), WIRE_PING);
    close(fd);
    close(listener);
    tear_down(f);
}
