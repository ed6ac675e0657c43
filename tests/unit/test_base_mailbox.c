/* The mailbox on one thread: order, taking, waking. Races are in tests/stress. */
#include "base/mailbox.h"

#include <criterion/criterion.h>

#include "base/check.h"

struct fixture {
    struct mailbox mailbox;
    unsigned wake_count;
    unsigned ran[16]; /* ids in the order run */
    unsigned ran_count;
};

struct item {
    struct task task;
    struct fixture *f;
    unsigned id;
    unsigned posts_left; /* it posts itself so often */
};

static void on_wake(void *arg)
{
    struct fixture *f = arg;
    f->wake_count++;
}

static void on_item(struct task *task)
{
    struct item *item = CONTAINER_OF(task, struct item, task);
    struct fixture *f = item->f;
    f->ran[f->ran_count++] = item->id;
    if (item->posts_left > 0) {
        item->posts_left--;
        mailbox_post(&f->mailbox, task);
    }
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.wake_count = 0};
    mailbox_init(&f->mailbox, on_wake, f);
}

static void push(struct fixture *f, struct item *item, unsigned id)
{
    *item = (struct item){.task = {.run = on_item}, .f = f, .id = id};
    mailbox_push(&f->mailbox, &item->task);
}

Test(base_mailbox, tasks_run_in_the_order_pushed)
{
    struct fixture f;
    struct item item[8];
    fixture_init(&f);
    cr_assert(mailbox_is_empty(&f.mailbox));
    for (unsigned i = 0; i < 8; i++) {
        push(&f, &item[i], i);
    }
    cr_assert_not(mailbox_is_empty(&f.mailbox));
    cr_assert_eq(mailbox_run(&f.mailbox), 8);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(f.ran[i], i);
    }
    cr_assert(mailbox_is_empty(&f.mailbox));
    cr_assert_eq(mailbox_run(&f.mailbox), 0);
}

Test(base_mailbox, taking_gives_all_tasks_oldest_first_and_runs_none)
{
    struct fixture f;
    struct item item[3];
    fixture_init(&f);
    cr_assert_null(mailbox_take(&f.mailbox));
    for (unsigned i = 0; i < 3; i++) {
        push(&f, &item[i], i);
    }
    struct task *task = mailbox_take(&f.mailbox);
    for (unsigned i = 0; i < 3; i++, task = task->next) {
        cr_assert_eq(task, &item[i].task);
    }
    cr_assert_null(task);
    cr_assert(mailbox_is_empty(&f.mailbox));
    cr_assert_eq(f.ran_count, 0);
}

Test(base_mailbox, a_task_that_posts_itself_runs_in_the_next_round)
{
    struct fixture f;
    struct item again;
    struct item once;
    fixture_init(&f);
    push(&f, &again, 1);
    again.posts_left = 1;
    push(&f, &once, 2);
    cr_assert_eq(mailbox_run(&f.mailbox), 2);
    cr_assert_eq(mailbox_run(&f.mailbox), 1);
    cr_assert_eq(mailbox_run(&f.mailbox), 0);
    cr_assert_eq(f.ran[0], 1);
    cr_assert_eq(f.ran[1], 2);
    cr_assert_eq(f.ran[2], 1);
}

Test(base_mailbox, only_a_sleeping_consumer_is_woken_and_only_once)
{
    struct fixture f;
    struct item item[4];
    fixture_init(&f);
    push(&f, &item[0], 0);
    mailbox_wake(&f.mailbox);
    cr_assert_eq(f.wake_count, 0);
    mailbox_sleeping(&f.mailbox, true);
    push(&f, &item[1], 1);
    cr_assert_eq(f.wake_count, 0, "pushing alone does not wake");
    mailbox_wake(&f.mailbox);
    mailbox_wake(&f.mailbox);
    cr_assert_eq(f.wake_count, 1);
    mailbox_sleeping(&f.mailbox, false);
    mailbox_wake(&f.mailbox);
    cr_assert_eq(f.wake_count, 1);
    mailbox_sleeping(&f.mailbox, true);
    item[2] = (struct item){.task = {.run = on_item}, .f = &f, .id = 2};
    mailbox_post(&f.mailbox, &item[2].task);
    cr_assert_eq(f.wake_count, 2);
    cr_assert_eq(mailbox_run(&f.mailbox), 3);
}
