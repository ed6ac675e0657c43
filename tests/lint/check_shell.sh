#!/bin/sh
# check_shell.sh: every shell script of the tree passes shellcheck and can be run.
set -eu
cd "$(dirname "$0")/../.."

scripts=$(find .ci deploy tests bench -name node_modules -prune -o -type f -print 2>/dev/null |
    while read -r file; do
        case $(head -c 64 "$file" | head -n 1 | tr -d '\0') in
        '#!'*/sh | '#!'*bash) echo "$file" ;;
        *) case $file in *.sh) echo "$file" ;; esac ;;
        esac
    done | LC_ALL=C sort)
[ -n "$scripts" ] || { echo "check_shell: no scripts under $(pwd)" >&2 && exit 1; }

status=0
for script in $scripts; do
    if [ ! -x "$script" ]; then
        echo "$script: not executable"
        status=1
    fi
done
# shellcheck disable=SC2086 # one word per script: no name in the tree holds a blank
shellcheck $scripts || status=1
exit $status
