/* cmd_data: every command on data but those that block. */
#include "cmd/caller.h"
#include "cmd/data_all.h"
#include "cmd/data_route.h"
#include "cmd/data_run.h"

void cmd_data(struct call *call)
{
    if (!data_is_served(call)) { return; }
    struct data_place place;
    struct buf why = {0};
    enum data_route route = data_route(call->caller->broker, call->command, call->argv, call->argc,
                                       call->caller->session->database, &place, &why);
    switch (route) {
    case DATA_ONE: data_run(call, place.partition); break;
    case DATA_ALL: data_all(call); break;
    case DATA_REFUSED: reply_error_slice(call->reply, buf_slice(&why)); break;
    }
    buf_fini(&why);
}
