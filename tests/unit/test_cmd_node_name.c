/* The forty digits of a node. */
#include <criterion/criterion.h>

#include "cmd/node_name.h"

Test(cmd_node_name, begins_with_the_id_and_is_the_same_everywhere)
{
    char name[NODE_NAME_BYTES];
    node_name_print(0x1234, name);
    cr_expect_str_eq(name, "0000000000001234cd4b8297120f708811c63eef");
    node_name_print(UINT64_MAX, name);
    cr_expect_eq(strlen(name), NODE_NAME_HEX);
    cr_expect_eq(strncmp(name, "ffffffffffffffff", 16), 0);
}
