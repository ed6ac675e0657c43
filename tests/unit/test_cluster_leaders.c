/* The promises of cluster/leaders.h: what is believed is the newest that was said, and a doubt is about nobody else. */
#include "cluster/leaders.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { PARTITION = 2 };

static void expect(const struct leaders *leaders, uint32_t node, uint64_t term)
{
    struct leader leader = leaders_get(leaders, PARTITION);
    cr_assert_eq(leader.term, term);
    if (term > 0) { cr_assert_eq(leader.node, node); }
}

Test(leaders, the_newest_term_is_believed)
{
    struct leaders *leaders = calloc(1, sizeof *leaders);
    expect(leaders, 0, 0);
    cr_assert(leaders_tell(leaders, PARTITION, (struct leader){3, 7}));
    cr_assert(!leaders_tell(leaders, PARTITION, (struct leader){3, 7}), "it is known");
    cr_assert(!leaders_tell(leaders, PARTITION, (struct leader){5, 6}), "it is older");
    expect(leaders, 3, 7);
    cr_assert(leaders_tell(leaders, PARTITION, (struct leader){1, 8}));
    expect(leaders, 1, 8);
    cr_assert_eq(leaders_get(leaders, PARTITION + 1).term, 0);
    free(leaders);
}

Test(leaders, a_doubt_is_about_one_leadership)
{
    struct leaders *leaders = calloc(1, sizeof *leaders);
    cr_assert(leaders_tell(leaders, PARTITION, (struct leader){3, 7}));
    leaders_doubt(leaders, PARTITION, (struct leader){3, 6});
    leaders_doubt(leaders, PARTITION, (struct leader){2, 7});
    expect(leaders, 3, 7);
    leaders_doubt(leaders, PARTITION, (struct leader){3, 7});
    expect(leaders, 0, 0);
    cr_assert(leaders_tell(leaders, PARTITION, (struct leader){3, 7}), "and said again");
    expect(leaders, 3, 7);
    free(leaders);
}
