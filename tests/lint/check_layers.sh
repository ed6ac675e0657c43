#!/bin/sh
# check_layers.sh [ROOT]: every #include must point down a floor of layers.txt.
#
# layers.txt has one line per module, lowest floor first: the module, a colon, the modules it may
# include. A line may name only lines above it, so the file cannot describe a cycle. A line that
# starts with "<" is a library: the start of its include, a colon, the only modules that may use it.
#
# Prints file:line for each include that is not allowed and exits 1; 0 when the house is in order.
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$lint/../..}"

# The tree itself, not git's index: a file counts from the moment it exists.
files=$(find broker consensus proto -type f -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
if [ -z "$files" ]; then
    echo "check_layers: no C files under $(pwd)/{broker,consensus,proto}" >&2
    exit 1
fi

# shellcheck disable=SC2086 # one word per file: no name in the tree holds a blank
LC_ALL=C exec awk '
function fail(text) {
    print text
    bad = 1
}

function refuse(what) {
    fail(FILENAME ":" FNR ": " module " may not include " what)
}

# A room of the consensus engine is a module where layers.txt has a line for it; else it belongs to the engine.
function module_of(path,    part, count) {
    count = split(path, part, "/")
    if (part[1] == "broker") { return count == 2 ? "app" : part[2] }
    return count >= 3 && (part[1] "/" part[2]) in is_module ? part[1] "/" part[2] : part[1]
}

# One row of layers.txt.
FNR == NR {
    row = $1
    sub(/:$/, "", row)
    is_library = row ~ /^</
    for (i = 2; i <= NF; i++) {
        if (!($i in is_module)) { fail(FILENAME ":" FNR ": " row " names " $i ", no line above it") }
        may[row, $i] = 1
    }
    if (is_library) {
        library[row] = 1
    } else {
        is_module[row] = 1
        may[row, row] = 1
    }
    next
}

FNR == 1 {
    module = module_of(FILENAME)
    if (!(module in is_module)) { fail(FILENAME ":1: module " module " is not in layers.txt") }
    if (FILENAME ~ /\/(common|utils?|helpers?|misc)\.[ch]$/) {
        fail(FILENAME ":1: a file is named after what it owns")
    }
}

/^[ \t]*#[ \t]*include[ \t]*["<]/ {
    name = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
    if (name ~ /^</) {
        sub(/>.*/, ">", name)
        for (start in library) {
            if (index(name, start) == 1 && !((start, module) in may)) { refuse(name) }
        }
        next
    }
    sub(/^"/, "", name)
    sub(/".*/, "", name)
    from = module_of(name ~ /^(consensus|proto)\// ? name : "broker/" name)
    if (!((module, from) in may) || (name ~ /_int\.h$/ && from != module)) { refuse("\"" name "\"") }
}

END { exit bad }
' "$lint/layers.txt" $files
