#!/bin/sh
# install.sh DIR: puts the Node.js clients that the tests drive into DIR/node_modules, at the locked versions.
# Safe to run again: does nothing when they are there. Needs node and npm, and a package registry the first time.
set -eu
dir=${1:?usage: install.sh DIR}
source=$(dirname "$0")/node

mkdir -p "$dir"
if cmp -s "$source/package-lock.json" "$dir/.installed"; then
    exit 0
fi
rm -f "$dir/.installed"
cp "$source/package.json" "$source/package-lock.json" "$dir/"
npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error
cp "$source/package-lock.json" "$dir/.installed"
