#!/usr/bin/env bash
# Fuzzes all parsers, or those named, with libFuzzer, AddressSanitizer and UBSan.
#   scripts/fuzz.sh [--seconds N | --runs N] [PARSER...]      each; 30 seconds without either
# Needs clang and its runtimes (libclang-rt). The next run starts from build-fuzz/corpus/PARSER; an input that finds a
# bug is left in build-fuzz/found/PARSER; copy it to tests/fuzz/found/PARSER together with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=-max_total_time=30
case "${1:-}" in
  --seconds) limit=-max_total_time=$2; shift 2 ;;
  --runs) limit=-runs=$2; shift 2 ;;
esac
folder=$PWD/build-fuzz
scripts/build.sh --no-tests "$folder" -DSASLM_FUZZ=ON -DSASLM_CUDA=OFF -DCMAKE_CXX_COMPILER=clang++
parsers=("$@")
[ $# -gt 0 ] || mapfile -t parsers < <(cd tests/fuzz && ls fuzz_*.cpp | sed 's/fuzz_\(.*\).cpp/\1/')

memory=/dev/shm  # what parsers read from files should not wait for a disk
[ -d $memory ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/saslm_fuzz_XXXXXX")
trap 'rm -rf "$TMPDIR"' EXIT
export TMPDIR UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=2
"$folder/tests/fuzz/write_seeds" "$folder/seeds"

broken=0
printf '%-12s %12s %8s %8s %9s  %s\n' parser executions exec/s edges 'peak MiB' result
for parser in "${parsers[@]}"; do
  corpus=$folder/corpus/$parser found=$folder/found/$parser log=$folder/$parser.log result=sound
  mkdir -p "$corpus" "$found"
  # A parser that asks for more than 1 GiB at once, or for longer than 10 s, has broken a promise too.
  "$folder/tests/fuzz/fuzz_$parser" "$corpus" "$folder/seeds/$parser" -dict="$folder/seeds/$parser.dict" $limit \
    -max_len=2048 -entropic=0 -timeout=10 -malloc_limit_mb=1024 -rss_limit_mb=2048 -artifact_prefix="$found/" \
    -print_final_stats=1 >"$log" 2>&1 || { result="BROKEN: $log"; broken=1; }
  number() { grep -oE "$1 *[0-9]+" "$log" | tail -1 | grep -oE '[0-9]+$' || echo '?'; }
  printf '%-12s %12s %8s %8s %9s  %s\n' "$parser" "$(number number_of_executed_units:)" "$(number average_exec_per_sec:)" \
    "$(number 'cov:')" "$(number peak_rss_mb:)" "$result"
done
exit $broken
