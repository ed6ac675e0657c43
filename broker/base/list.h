/* list: intrusive doubly linked list with a sentinel. Thread: whoever owns the list.
 * Always: an unlinked link points to itself or is zeroed; list_init makes a head empty. */
#ifndef FANFARE_BASE_LIST_H
#define FANFARE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct list {
    struct list *prev;
    struct list *next;
};

static inline void list_init(struct list *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != NULL && link->next != link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* The first link taken out, or NULL. */
static inline struct list *list_pop_front(struct list *head)
{
    if (list_is_empty(head)) { return NULL; }
    struct list *first = head->next;
    list_remove(first);
    return first;
}

/* `at` may be removed inside the loop; no other link may. */
#define LIST_EACH(at, head)                                                   \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head); \
         at = at##_next, at##_next = at->next)

#endif
