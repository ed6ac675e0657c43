#!/bin/sh
# check_rings.sh [ROOT]: files include each other one way.
#
# A unit is x.c with x.h. Units that reach each other by their includes are a ring; who has large rings has not found
# their parts. A ring has at most three units.
#
# Prints each ring that is too large and exits 1; 0 when there is none.
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$lint/../..}"

files=$(find broker consensus -type f -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
if [ -z "$files" ]; then
    echo "check_rings: no C files under $(pwd)/{broker,consensus}" >&2
    exit 1
fi

# shellcheck disable=SC2086 # one word per file: no name in the tree holds a blank
LC_ALL=C exec awk -v units_max=3 '
function unit_of(path) {
    sub(/\.[ch]$/, "", path)
    return path
}

# Mark what `from` reaches, in reaches[from, ...].
function walk(from, at,    count, next_unit, i) {
    count = split(includes[at], next_unit, " ")
    for (i = 1; i <= count; i++) {
        if (!((from, next_unit[i]) in reaches)) {
            reaches[from, next_unit[i]] = 1
            walk(from, next_unit[i])
        }
    }
}

FNR == 1 {
    unit = unit_of(FILENAME)
    if (!(unit in is_unit)) {
        is_unit[unit] = 1
        order[++unit_count] = unit
    }
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    name = $0
    sub(/^[^"]*"/, "", name)
    sub(/".*/, "", name)
    name = unit_of(name)
    if (name !~ /^consensus\//) { name = "broker/" name }
    if (name != unit) { includes[unit] = includes[unit] " " name }
}

END {
    for (i = 1; i <= unit_count; i++) { walk(order[i], order[i]) }
    for (i = 1; i <= unit_count; i++) {
        unit = order[i]
        if (unit in is_seen) { continue }
        size = 1
        text = unit
        for (j = i + 1; j <= unit_count; j++) {
            other = order[j]
            if (((unit, other) in reaches) && ((other, unit) in reaches)) {
                is_seen[other] = 1
                size++
                text = text ", " other
            }
        }
        if (size > units_max) {
            print "a ring of " size ", at most " units_max ": " text
            bad = 1
        }
    }
    exit bad
}
' $files
