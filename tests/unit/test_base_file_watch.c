/* Files that are read again when they have changed and rest. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file_watch.h"

enum { FILES = 3 };

struct fixture {
    char dir[64];
    char path_of[2][80];
    const char *path[FILES]; /* the last is none */
    struct file_watch watch;
};

static void put(const char *path, const char *text)
{
    char fresh[96];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(fresh, path), 0);
}

static void set_up(struct fixture *f)
{
    strcpy(f->dir, "/tmp/file-watch-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    for (unsigned i = 0; i < 2; i++) {
        snprintf(f->path_of[i], sizeof f->path_of[i], "%s/%u", f->dir, i);
        f->path[i] = f->path_of[i];
        put(f->path[i], "a");
    }
    f->path[2] = NULL;
    file_watch_begin(&f->watch, f->path, FILES);
}

static void tear_down(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        (void)unlink(f->path[i]);
    }
    cr_assert_eq(rmdir(f->dir), 0);
}

static bool is_due(struct fixture *f)
{
    return file_watch_is_due(&f->watch, f->path, FILES);
}

Test(file_watch, what_does_not_change_is_never_due)
{
    struct fixture f;
    set_up(&f);
    cr_assert(!is_due(&f));
    cr_assert(!is_due(&f));
    tear_down(&f);
}

Test(file_watch, a_change_is_due_once_and_only_when_it_rests)
{
    struct fixture f;
    set_up(&f);
    put(f.path[1], "b");
    cr_assert(!is_due(&f), "it may still be written");
    put(f.path[0], "b");
    cr_assert(!is_due(&f), "the other one is new");
    cr_assert(is_due(&f));
    cr_assert(!is_due(&f));
    tear_down(&f);
}

Test(file_watch, a_file_that_is_gone_and_back_is_two_changes)
{
    struct fixture f;
    set_up(&f);
    cr_assert_eq(unlink(f.path[0]), 0);
    cr_assert(!is_due(&f));
    cr_assert(is_due(&f));
    put(f.path[0], "a");
    cr_assert(!is_due(&f));
    cr_assert(is_due(&f));
    tear_down(&f);
}

Test(file_watch, who_has_read_them_begins_anew)
{
    struct fixture f;
    set_up(&f);
    put(f.path[0], "b");
    cr_assert(!is_due(&f));
    file_watch_begin(&f.watch, f.path, FILES);
    cr_assert(!is_due(&f));
    tear_down(&f);
}
