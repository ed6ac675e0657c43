#!/bin/sh
# check_format.sh: every C file is laid out as .clang-format says. Skipped (exit 77) without clang-format
# 14, the version of Debian 12: others lay out the same code a little differently.
set -eu
cd "$(dirname "$0")/../.."

clang_format=
for name in clang-format-14 clang-format; do
    case $($name --version 2>/dev/null) in *' version 14.'*) clang_format=$name && break ;; esac
done
if [ -z "$clang_format" ]; then
    echo "check_format: skipped, no clang-format 14 here"
    exit 77
fi
find broker consensus tests bench -name node_modules -prune -o -name '*.[ch]' -print0 2>/dev/null |
    LC_ALL=C sort -z | xargs -0 -r "$clang_format" --dry-run --Werror --ferror-limit=1
