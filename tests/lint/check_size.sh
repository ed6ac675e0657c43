#!/bin/sh
# check_size.sh [ROOT]: no C function over 70 lines, no source file over 1,000.
#
# A function is counted from the first line of its signature to its closing brace. It is recognised
# by its layout (clang-format keeps it): the brace that ends it stands alone in the first column.
#
# Prints file:line for each violation and exits 1; 0 when there is none.
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$lint/../..}"

folders=
for folder in broker consensus proto tests bench deploy; do
    if [ -d "$folder" ]; then folders="$folders $folder"; fi
done
if [ -z "$folders" ]; then
    echo "check_size: no sources under $(pwd)" >&2
    exit 1
fi

# shellcheck disable=SC2086 # a list of words
files=$(find $folders -name node_modules -prune -o -type f \( -name '*.[ch]' -o -name '*.def' \
    -o -name '*.proto' -o -name '*.sh' -o -name '*.py' -o -name '*.js' -o -name '*.cmake' \) -print |
    LC_ALL=C sort)

# shellcheck disable=SC2086 # one word per file: no name in the tree holds a blank
LC_ALL=C exec awk -v function_lines_max=70 -v file_lines_max=1000 '
function fail(line, text) {
    print file ":" line ": " text
    bad = 1
}

function close_file() {
    if (lines > file_lines_max) { fail(1, lines " lines, at most " file_lines_max " in a file") }
}

FNR == 1 {
    close_file()
    file = FILENAME
    is_c = file ~ /\.[ch]$/
    signature = body = 0
}

{ lines = FNR }

!is_c { next }

# Inside a function only its end matters.
body {
    if (/^[}]/) {
        length_lines = FNR - signature + 1
        if (length_lines > function_lines_max) {
            fail(signature, length_lines " lines, at most " function_lines_max " in a function")
        }
        signature = body = 0
    }
    next
}

# Between functions: what could be a signature starts after a blank line, a directive, a comment or
# the end of another declaration. An initialiser or a struct opens its brace on the same line.
/^[ \t]*$/ || /^[ \t]*#/ || /^[ \t]*(\/?\*|\/\/)/ || /;[ \t]*(\/[*\/].*)?$/ || /^[}]/ { signature = 0; next }
!signature { signature = FNR }
/^[{]/ || /^[A-Za-z_][^=]*\)[ \t]*[{]/ { body = 1 }

END {
    close_file()
    exit bad
}
' $files
