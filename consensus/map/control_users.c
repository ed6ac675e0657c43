/* control_users: the command about the cluster's users, and their bytes.
 * Owns: nothing. Thread: the raft thread; bytes of commands: any.
 * Always: what was decoded is within the limits, by rising name, none twice. */
#include "base/mem.h"
#include "base/unconst.h"
#include "consensus/map/control_int.h"

/* ---- the command ---- */

struct pmap *control_change_users(struct control *control, const struct control_command *c)
{
    struct roster *roster;
    if (control->map->level < PMAP_LEVEL_USERS ||
        roster_next(control->map->roster, c->users, control->applied, &roster) != ROSTER_DONE) {
        return NULL;
    }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    roster_unref(next->roster);
    next->roster = roster;
    return next;
}

/* ---- out ---- */

static ProtobufCBinaryData fill_text(struct slice text)
{
    return (ProtobufCBinaryData){.len = text.len, .data = unconst(text.data)};
}

void control_fill_change(Fanfare__Control__ChangeUsers *wire, const struct roster_change *change)
{
    Fanfare__Control__UserEdit *edit = mem_new((change->count + 1) * sizeof *edit);
    fanfare__control__change_users__init(wire);
    wire->id = change->id;
    wire->is_first = change->is_first;
    wire->is_all = change->is_all;
    wire->n_edits = change->count;
    wire->edits = mem_new((change->count + 1) * sizeof *wire->edits);
    wire->edits[0] = edit; /* control_free_change finds it there */
    for (uint32_t i = 0; i < change->count; i++) {
        fanfare__control__user_edit__init(&edit[i]);
        edit[i].name = fill_text(change->edit[i].name);
        edit[i].rules = fill_text(change->edit[i].rules);
        edit[i].made_of = change->edit[i].base;
        edit[i].is_removal = change->edit[i].is_removal;
        wire->edits[i] = &edit[i];
    }
}

void control_free_change(Fanfare__Control__ChangeUsers *wire)
{
    mem_free(wire->edits[0]);
    mem_free(wire->edits);
}

void control_fill_roster(Fanfare__Control__State *wire, const struct roster *roster)
{
    Fanfare__Control__User *user = mem_new((roster->count + 1) * sizeof *user);
    wire->users = mem_new((roster->count + 1) * sizeof *wire->users);
    wire->users[0] = user; /* control_free_roster finds it there */
    wire->n_users = roster->count;
    for (uint32_t i = 0; i < roster->count; i++) {
        fanfare__control__user__init(&user[i]);
        user[i].name = fill_text(roster->user[i].name);
        user[i].rules = fill_text(roster->user[i].rules);
        user[i].version = roster->user[i].version;
        wire->users[i] = &user[i];
    }
    wire->users_version = roster->version;
    wire->n_users_done = roster->done_count;
    wire->users_done = unconst(roster->done);
}

void control_free_roster(Fanfare__Control__State *wire)
{
    mem_free(wire->users[0]);
    mem_free(wire->users);
}

/* ---- in ---- */

static struct slice take_text(ProtobufCBinaryData wire)
{
    return slice_of(wire.data != NULL ? (const char *)wire.data : "", wire.len);
}

struct roster_change *control_take_change(const Fanfare__Control__ChangeUsers *wire)
{
    struct roster_change *change = roster_change_new(wire->id);
    change->is_first = wire->is_first;
    change->is_all = wire->is_all;
    bool is_good = wire->id != 0 && wire->n_edits <= ROSTER_USERS_MAX;
    struct slice last = slice_of("", 0);
    for (size_t i = 0; is_good && i < wire->n_edits; i++) {
        const Fanfare__Control__UserEdit *edit = wire->edits[i];
        const struct roster_edit own = {.name = take_text(edit->name),
                                        .rules = take_text(edit->rules),
                                        .base = edit->made_of,
                                        .is_removal = edit->is_removal};
        is_good = slice_compare(last, own.name) < 0 && own.name.len <= ROSTER_NAME_BYTES_MAX &&
                  own.rules.len <= ROSTER_RULES_BYTES_MAX;
        if (is_good) { roster_change_add(change, &own); }
        last = own.name;
    }
    if (is_good) { return change; }
    roster_change_free(change);
    return NULL;
}

static bool take_users(struct roster *roster, const Fanfare__Control__State *wire)
{
    for (size_t i = 0; i < wire->n_users; i++) {
        const struct roster_user user = {.name = take_text(wire->users[i]->name),
                                         .rules = take_text(wire->users[i]->rules),
                                         .version = wire->users[i]->version};
        bool is_version = user.version > 0 && user.version <= roster->version;
        if (!is_version || !roster_add(roster, &user)) { return false; }
    }
    return true;
}

bool control_take_roster(struct roster **out, const Fanfare__Control__State *wire)
{
    *out = NULL;
    if (wire->users_version == 0) { return wire->n_users == 0 && wire->n_users_done == 0; }
    if (wire->n_users > ROSTER_USERS_MAX || wire->n_users_done > ROSTER_DONE_MAX) { return false; }
    size_t bytes = 0;
    for (size_t i = 0; i < wire->n_users; i++) {
        bytes += wire->users[i]->name.len + wire->users[i]->rules.len;
    }
    if (bytes > ROSTER_BYTES_MAX) { return false; }
    struct roster *roster = roster_new((uint32_t)wire->n_users, bytes);
    roster->version = wire->users_version;
    for (size_t i = 0; i < wire->n_users_done; i++) {
        roster->done[roster->done_count++] = wire->users_done[i];
    }
    if (!take_users(roster, wire)) {
        roster_unref(roster);
        return false;
    }
    *out = roster;
    return true;
}
