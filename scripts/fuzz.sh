#!/usr/bin/env bash
# Runs fuzz targets under libFuzzer, one after the other, and prints a table. Stops with 1 if there is a finding.
#
#   scripts/fuzz.sh [-s SECONDS] [-j JOBS] [TARGET…]     all targets for 600 s each, one process at a time
#   scripts/fuzz.sh -r FILE TARGET                       one input again, for example a finding
#   scripts/fuzz.sh -m FILE TARGET                       a smaller input with the same effect
#
# Needs a stable Rust and a C++ compiler; the instrumentation is LLVM's own, no nightly is used. Corpora and findings are
# kept in $CAIRN_FUZZ (by default ~/.cache/cairn/fuzz), so a run goes on where the last one ended.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=600 jobs=1 file='' mode=run
while getopts 's:j:r:m:' option; do
    case $option in
        s) seconds=$OPTARG ;;
        j) jobs=$OPTARG ;;
        r) mode=replay file=$(realpath "$OPTARG") ;;
        m) mode=minimize file=$(realpath "$OPTARG") ;;
        *) sed -n '2,9p' "$0"; exit 2 ;;
    esac
done
shift $((OPTIND - 1))

command -v c++ >/dev/null || { echo "a C++ compiler is missing: scripts/setup.sh installs it" >&2; exit 1; }
home="${CAIRN_FUZZ:-$HOME/.cache/cairn/fuzz}"
mkdir -p "$home"

RUSTC_WRAPPER="$PWD/tests/fuzz/runner/rustc.sh" nice cargo build --quiet --release --locked \
    --manifest-path tests/fuzz/runner/Cargo.toml --target-dir "$home/target"
nice cargo build --quiet --release --locked -p cairn-fuzz --bin fuzz-seeds --target-dir "$home/seeds-target"
# Copies, so that a build does not change what runs.
runner="$home/runner-$$" seeds="$home/fuzz-seeds-$$"
cp "$home/target/release/cairn-fuzz-runner" "$runner"
cp "$home/seeds-target/release/fuzz-seeds" "$seeds"
trap 'rm -f "$runner" "$seeds"' EXIT

all=$("$seeds")
length() { awk -v name="$1" '$1 == name { print $2 }' <<<"$all"; }
[ $# -gt 0 ] || mapfile -t names < <(awk '{ print $1 }' <<<"$all")
[ $# -eq 0 ] || names=("$@")
for name in "${names[@]}"; do
    [ -n "$(length "$name")" ] || { echo "there is no target $name; there are:"; awk '{ print "  " $1 }' <<<"$all"; exit 2; }
done

if [ $mode != run ]; then
    [ ${#names[@]} -eq 1 ] && [ $# -eq 1 ] || { echo "name one target" >&2; exit 2; }
    export CAIRN_FUZZ_TARGET=${names[0]}
    [ $mode = replay ] && exec "$runner" "$file"
    "$runner" -minimize_crash=1 -runs=100000 -exact_artifact_path="$file.min" "$file" 2>&1 | tail -3
    echo "the smallest input found: $file.min"
    exit 0
fi

run_one() {
    local name=$1 corpus="$home/corpus/$1" found="$home/findings/$1" log="$home/$1.log"
    mkdir -p "$corpus" "$found"
    "$seeds" "$name" "$home/seeds/$name"
    local old="tests/fuzz/findings/$name"
    [ -d "$old" ] || old="$home/seeds/$name"
    local before after=0
    before=$(find "$found" -type f | wc -l)
    CAIRN_FUZZ_TARGET=$name nice -n 19 "$runner" "$corpus" "$home/seeds/$name" "$old" -max_total_time="$seconds" \
        -max_len="$(length "$name")" -timeout=60 -rss_limit_mb=1024 -artifact_prefix="$found/" -print_final_stats=1 \
        -use_value_profile=1 >"$log" 2>&1 || true
    after=$(find "$found" -type f | wc -l)
    local runs coverage inputs
    runs=$(awk '/number_of_executed_units/ { print $2 }' "$log")
    coverage=$(awk '{ for (i = 1; i < NF; i++) if ($i == "cov:") last = $(i + 1) } END { print last }' "$log")
    inputs=$(find "$corpus" -type f | wc -l)
    printf '%-20s %12s %9s %8s %9s\n' "$name" "${runs:-?}" "${coverage:-?}" "$inputs" "$((after - before))"
    if [ "$after" -gt "$before" ] || ! grep -q 'stat::number_of_executed_units' "$log"; then
        echo "  $found, $log"
        return 1
    fi
}

printf '%-20s %12s %9s %8s %9s\n' target runs coverage inputs findings
status=0
running=0
for name in "${names[@]}"; do
    run_one "$name" &
    running=$((running + 1))
    if [ $running -ge "$jobs" ]; then
        wait -n || status=1
        running=$((running - 1))
    fi
done
while [ $running -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
exit $status
