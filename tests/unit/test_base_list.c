/* Intrusive lists. */
#include "base/list.h"

#include <criterion/criterion.h>

struct item {
    int id;
    struct list link;
};

static struct item *item_of(struct list *link)
{
    return CONTAINER_OF(link, struct item, link);
}

/* The ids in the list, as the digits of a number. */
static int ids(struct list *head)
{
    int all = 0;
    LIST_EACH (at, head) {
        all = all * 10 + item_of(at)->id;
    }
    return all;
}

Test(base_list, links_come_out_in_the_order_they_went_in)
{
    struct list head;
    struct item item[3] = {{.id = 1}, {.id = 2}, {.id = 3}};
    list_init(&head);
    cr_assert(list_is_empty(&head));
    cr_assert_null(list_pop_front(&head));
    for (int i = 0; i < 3; i++) {
        cr_assert_not(list_is_linked(&item[i].link));
        list_push_back(&head, &item[i].link);
        cr_assert(list_is_linked(&item[i].link));
    }
    cr_assert_eq(ids(&head), 123);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(item_of(list_pop_front(&head)), &item[i]);
        cr_assert_not(list_is_linked(&item[i].link));
    }
    cr_assert(list_is_empty(&head));
}

Test(base_list, a_link_can_be_removed_from_anywhere_and_pushed_again)
{
    struct list head;
    struct item item[4] = {{.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}};
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        list_push_back(&head, &item[i].link);
    }
    list_remove(&item[1].link);
    cr_assert_eq(ids(&head), 134);
    list_remove(&item[0].link);
    list_remove(&item[3].link);
    cr_assert_eq(ids(&head), 3);
    list_push_back(&head, &item[0].link);
    cr_assert_eq(ids(&head), 31);
    list_remove(&item[1].link); /* not linked: nothing happens */
    cr_assert_eq(ids(&head), 31);
}

Test(base_list, a_walk_may_remove_the_link_it_is_at)
{
    struct list head;
    struct item item[6] = {{.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}, {.id = 5}, {.id = 6}};
    list_init(&head);
    for (int i = 0; i < 6; i++) {
        list_push_back(&head, &item[i].link);
    }
    LIST_EACH (at, &head) {
        if (item_of(at)->id % 2 == 1) { list_remove(at); }
    }
    cr_assert_eq(ids(&head), 246);
    LIST_EACH (at, &head) {
        list_remove(at);
    }
    cr_assert(list_is_empty(&head));
}
