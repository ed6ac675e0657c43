#!/bin/sh
# check_lint.sh: the lint itself. Builds a small tree that obeys every rule, then plants one violation
# at a time: each must be named with its file and line, and a clean tree must pass.
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree
failures=0
checks=0

# write FILE: the file of the tree, from standard input.
write() {
    mkdir -p "$tree/$(dirname "$1")"
    cat >"$tree/$1"
}

# A tree in which each module includes what its row allows and each library has its user.
plant_clean_tree() {
    rm -rf "$tree"
    mkdir -p "$tree/tests/lint"
    cp "$lint/check_layers.sh" "$lint/check_size.sh" "$lint/check_rings.sh" "$lint/layers.txt" "$tree/tests/lint/"
    awk '!/^</ { sub(/:/, " "); print }' "$lint/layers.txt" | while read -r module allowed; do
        name=${module##*/}
        case $module in
        app) folder=broker ;;
        consensus* | proto) folder=$module ;;
        *) folder=broker/$module ;;
        esac
        mkdir -p "$tree/$folder"
        for dep in $allowed; do echo "#include \"$dep/${dep##*/}.h\""; done >"$tree/$folder/$name.c"
        if [ "$module" = app ]; then own=app.h; else own=$module/${name}_int.h; fi
        printf '#include "%s"\n#include <stdio.h>\n' "$own" >>"$tree/$folder/$name.c"
    done
    sed -n 's/^\(<[^:]*\): *\([a-z]*\).*/\1 \2/p' "$lint/layers.txt" | while read -r start module; do
        case $module in
        consensus | proto) file=$module/$module.c ;;
        *) file=broker/$module/$module.c ;;
        esac
        case $start in
        *'>') echo "#include $start" ;;
        *) echo "#include ${start}x.h>" ;;
        esac >>"$tree/$file"
    done
    c_function 70 | write broker/base/long.c
    awk 'BEGIN { for (i = 0; i < 1000; i++) print "/* line */" }' | write broker/base/big.c
}

# c_function LINES: a function of that many lines, signature and braces included.
c_function() {
    printf '/* Adds. */\nstatic int add(int a,\n               int b) /* both */\n{\n'
    awk -v lines="$1" 'BEGIN { for (i = 0; i < lines - 4; i++) print (i % 9 ? "    a += b;" : "") }'
    printf '}\n'
}

# expect CHECK TEXT: the check must fail and print a line that starts with TEXT; empty: it must pass.
expect() {
    checks=$((checks + 1))
    status=0
    output=$("$tree/tests/lint/$1" "$tree" 2>&1) || status=$?
    if [ -z "$2" ]; then
        [ $status = 0 ] && [ -z "$output" ] && return
    else
        [ $status = 1 ] && [ "$(printf '%s\n' "$output" | wc -l)" = 1 ] &&
            case $output in "$2"*) return ;; esac
    fi
    echo "$1: expected '${2:-nothing}', got status $status and: $output" >&2
    failures=$((failures + 1))
}

# layer FILE INCLUDE TEXT: the include, planted as line 1 of a new file, must be refused.
layer() {
    plant_clean_tree
    printf '%s\n' "$2" | write "$1"
    expect check_layers.sh "$1:1: $3"
}

plant_clean_tree
expect check_layers.sh ''
expect check_size.sh ''

layer broker/base/up.c '#include "net/conn.h"' 'base may not include "net/conn.h"'
layer broker/net/side.c '#include "resp/resp.h"' 'net may not include "resp/resp.h"'
layer broker/pubsub/up.h '  #  include "cmd/session.h"' 'pubsub may not include "cmd/session.h"'
layer broker/cluster/up.c '#include "server.h" /* app */' 'cluster may not include "server.h"'
layer broker/cmd/private.c '#include "net/conn_int.h"' 'cmd may not include "net/conn_int.h"'
layer broker/private.c '#include "net/conn_int.h"' 'app may not include "net/conn_int.h"'
layer broker/cmd/lib.c '#include <lmdb.h>' 'cmd may not include <lmdb.h>'
layer broker/cluster/lib.c '#include <raft/uv.h> // io' 'cluster may not include <raft/uv.h>'
layer broker/resp/lib.c '#include <event2/event.h>' 'resp may not include <event2/event.h>'
layer broker/net/thread.c '#include <pthread.h>' 'net may not include <pthread.h>'
layer consensus/up.c '#include "cluster/peer.h"' 'consensus may not include "cluster/peer.h"'
layer consensus/log/up.c '#include "consensus/engine.h"' 'consensus/log may not include "consensus/engine.h"'
layer consensus/group/up.c '#include "consensus/engine_int.h"' 'consensus/group may not include "consensus/engine_int.h"'
layer consensus/bare.c '#include "group.h"' 'consensus may not include "group.h"'
layer broker/extra/new.c '#include <stdio.h>' 'module extra is not in layers.txt'
layer broker/base/utils.c '#include <stdio.h>' 'a file is named after what it owns'

plant_clean_tree
sed -i 's/^config: base$/config: base net/' "$tree/tests/lint/layers.txt"
expect check_layers.sh "$tree/tests/lint/layers.txt:3: config names net, no line above it"

plant_clean_tree
c_function 71 | write broker/base/long.c
expect check_size.sh 'broker/base/long.c:2: 71 lines, at most 70 in a function'
{ echo 'int f(void) {' && awk 'BEGIN { for (i = 0; i < 69; i++) print "    g();" }' && echo '}'; } |
    write tests/unit/test_base_long.c
rm "$tree/broker/base/long.c"
expect check_size.sh 'tests/unit/test_base_long.c:1: 71 lines, at most 70 in a function'

for file in broker/base/big.c broker/net/big.h tests/big.py deploy/big.sh; do
    plant_clean_tree
    awk 'BEGIN { for (i = 0; i < 1001; i++) print "# line" }' | write "$file"
    expect check_size.sh "$file:1: 1001 lines, at most 1000 in a file"
done

# A long table is not a long function.
plant_clean_tree
{ echo 'static const int table[] = {' && awk 'BEGIN { for (i = 0; i < 200; i++) print "    1," }' &&
    echo '};'; } | write broker/base/table.c
expect check_size.sh ''

# ring COUNT: so many headers of one module, each of which includes the next.
ring() {
    for at in $(seq "$1"); do
        printf '#include "net/r%d.h"\n' $((at % $1 + 1)) | write "broker/net/r$at.h"
    done
}
plant_clean_tree
ring 3
expect check_rings.sh ''
ring 4
expect check_rings.sh 'a ring of 4, at most 3: broker/net/r1, '

# Across folders, too.
plant_clean_tree
ring 2
echo '#include "consensus/far.h"' | write broker/net/r3.h
printf '#include "net/r%d.h"\n' 1 3 | write consensus/far.h
printf '#include "net/r%d.h"\n' 2 3 | write broker/net/r1.h
echo '#include "net/r1.h"' | write broker/net/r2.h
expect check_rings.sh 'a ring of 4, at most 3: broker/net/r1, '

# An empty tree is a mistake of the caller, not a clean one.
rm -rf "${tree:?}/broker" "$tree/consensus" "$tree/proto"
expect check_layers.sh 'check_layers: no C files'

echo "$checks checks, $failures failures"
[ "$failures" = 0 ]
