#!/usr/bin/env bash
# run.sh: installs what is missing, builds every variant, runs every test. Ends with ctest's summary.
#
#   build-asan   gcc, AddressSanitizer and UndefinedBehaviorSanitizer: all tests
#   build-tsan   gcc, ThreadSanitizer: the stress programs, the process and cluster tests
#   build        gcc, Release, what people install: unit tests, simulation, clusters, commands beside redis-server, benchmark
#                self-test, the deploy scripts
#   build-fuzz   clang, libFuzzer: each entry searches for a while, from its corpus
#   build-mutations   with --mutations: copies of the sources, each with a fault that the simulator or a unit test must find
#
# One ctest runs them all, out of build-check; a test's name starts with the tree it came from.
# Works from a fresh clone as root or with sudo, without a terminal; build trees are reused.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: tests/run.sh [--quick] [--soak MINUTES] [--mutations] [--keep] [-R REGEX]
  --quick         only build-asan, without the client tests and the search for new fuzz inputs
  --soak MINUTES  first repeat the stress, process and cluster tests for that long, and fuzz for that long
  --mutations     also put each fault of tests/sim/mutations_table.py into a copy of the sources: the simulator must find it;
                  and each of mutations_data.py, the data path's: the unit test that it names must find it
  --keep          keep the tests' scratch directory (logs, sockets) and say where it is
  -R REGEX        only tests whose name matches, as in `ctest -R`
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
check=$root/build-check
jobs=$(nproc)
quick=false
keep=false
mutations=false
soak_minutes=0
fuzz_seconds=8
ctest_options=(--test-dir "$check" --output-on-failure -j "$jobs" --no-tests=error)

# Which tests of a tree run: a regular expression over its test names.
declare -A selected=(
    [asan]='^(lint|unit|stress|fuzz|process|compat|sim|cluster|deploy|bench)[._]'
    [tsan]='^(stress|process)[._]|^cluster[.]((data_)?storm[.]three|pubsub|consensus|membership)'
    [release]='^(unit|bench|deploy|sim|differential)[._]|^cluster[.](storm|data_storm[.]three|power_cut|consensus)'
    [clang]='^fuzz[._]'
)

# And which of these do not: `fanfare import` is a program of one thread.
declare -A left_out=(
    [tsan]='^process[.]import[^a-z_]'
)

fail() {
    echo "run: $*" >&2
    exit 1
}

parse_options() {
    while (($# > 0)); do
        case $1 in
        --quick) quick=true ;;
        --keep) keep=true ;;
        --mutations) mutations=true ;;
        --soak | -R)
            (($# > 1)) || { usage >&2 && exit 64; }
            if [[ $1 == -R ]]; then ctest_options+=(-R "$2"); else soak_minutes=$2; fi
            shift
            ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 64 ;;
        esac
        shift
    done
    [[ $soak_minutes =~ ^[0-9]+$ ]] || { usage >&2 && exit 64; }
    if $quick; then selected[asan]='^(lint|unit|stress|fuzz|process|bench)[._]'; fi
    if ((soak_minutes > 0)); then
        fuzz_seconds=$((soak_minutes * 60))
        selected[asan]='.'
    fi
}

tree_folder() {
    case $1 in
    release) echo "$root/build" ;;
    clang) echo "$root/build-fuzz" ;;
    *) echo "$root/build-$1" ;;
    esac
}

# build TREE OPTION...: configures and builds the tree; its output is shown if it fails.
build() {
    local tree=$1 folder log generator=()
    shift
    folder=$(tree_folder "$tree")
    log=$check/build-$tree.log
    if [[ ! -e $folder/CMakeCache.txt ]]; then generator=(-G Ninja); fi
    # Configuring writes the lists of tests anew: none is left of a folder that is no more.
    mkdir -p "$folder"
    find "$folder" -name CTestTestfile.cmake -delete
    echo "run: build $tree"
    if ! { cmake -S "$root" -B "$folder" "${generator[@]}" -DTESTS=ON -DBENCH=ON "$@" &&
        cmake --build "$folder" -j "$jobs"; } >"$log" 2>&1; then
        { grep -m 1 -A 40 -E '^FAILED:|CMake Error' "$log" || tail -n 40 "$log"; } >&2
        fail "the $tree build failed; all of its output: $log"
    fi
}

build_trees() {
    build asan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DASAN=ON
    if $quick; then return; fi
    build tsan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTSAN=ON
    build release -DCMAKE_BUILD_TYPE=Release
    build clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang -DFUZZ=ON -DASAN=ON
}

# tests_of TREE: prints the tree's selected tests as ctest reads them, the tree's name before theirs.
tests_of() {
    # shellcheck disable=SC2016 # the program is awk's
    find "$(tree_folder "$1")" -name CTestTestfile.cmake -print0 | sort -z |
        xargs -0 awk -v tree="$1" -v selected="${selected[$1]}" -v left_out="${left_out[$1]:-^$}" '
        /^(add_test|set_tests_properties)\(/ {
            start = index($0, "(") + 1
            if (match($0, /\(\[=*\[/)) { start = RSTART + RLENGTH }
            name = substr($0, start)
            if (name ~ selected && name !~ left_out) { print substr($0, 1, start - 1) tree "." name }
        }'
}

# search_tests: prints a test for each fuzz program that lets it search for new inputs.
search_tests() {
    local program name folder corpus
    folder=$(tree_folder clang)
    for program in "$folder"/fuzz_*; do
        [[ -x $program && -f $program ]] || continue
        name=$(basename "$program")
        mkdir -p "$folder/corpus/$name" "$folder/findings"
        # What it finds goes to the first folder; the corpus of the tree is only read.
        corpus="\"$folder/corpus/$name\""
        if [[ -d $root/tests/fuzz/corpus/$name ]]; then
            corpus+=" \"$root/tests/fuzz/corpus/$name\""
        fi
        echo "add_test(clang.search.$name \"$program\" -max_total_time=$fuzz_seconds -timeout=10" \
            "-rss_limit_mb=2048 \"-artifact_prefix=$folder/findings/$name-\" $corpus)"
        echo "set_tests_properties(clang.search.$name PROPERTIES LABELS search" \
            "TIMEOUT $((fuzz_seconds + 120)))"
    done
}

mutation_tests() {
    echo "add_test(mutations /usr/bin/python3 \"$root/tests/sim/mutations.py\" --work \"$root/build-mutations\" --jobs $jobs)"
    echo "set_tests_properties(mutations PROPERTIES LABELS sim TIMEOUT 3600 RUN_SERIAL TRUE)"
}

collect_tests() {
    {
        tests_of asan
        if ! $quick; then
            tests_of tsan
            tests_of release
            tests_of clang
            search_tests
        fi
        if $mutations; then mutation_tests; fi
    } >"$check/CTestTestfile.cmake"
}

# soak: the tests that depend on timing, again and again until the time is over or one fails.
soak() {
    local deadline=$((SECONDS + soak_minutes * 60)) round=0
    while ((SECONDS < deadline)); do
        round=$((round + 1))
        echo "run: soak, round $round, $(((deadline - SECONDS + 59) / 60)) minutes to go"
        ctest "${ctest_options[@]}" -L '^(stress|process|cluster)$' -Q ||
            fail "failed in round $round of the soak: $check/Testing/Temporary/LastTest.log"
    done
}

prepare() {
    "$root/deploy/setup.sh" run demo build package test
    mkdir -p "$check"
    TMPDIR=$(mktemp -d /tmp/fanfare-test.XXXXXX) # short: unix sockets live in it
    export TMPDIR
    if $keep; then
        echo "run: the tests' scratch directory is $TMPDIR"
    else
        trap 'rm -rf "$TMPDIR"' EXIT
    fi
    ulimit -n "$(ulimit -Hn)"
}

parse_options "$@"
exec </dev/null
# The interpreters that the packages of setup.sh belong to.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
prepare
build_trees
collect_tests
if ((soak_minutes > 0)); then soak; fi
echo "run: builds done after $SECONDS s"
ctest "${ctest_options[@]}"
