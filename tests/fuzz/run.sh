#!/usr/bin/env bash
# run.sh - runs every fuzz target of a build for a while: tests/fuzz/run.sh BUILD SECONDS
#
# tests/fuzz/<name>/ are the seeds of fuzz_<name>; what a run finds grows below the build.
# A crash is kept there too, named in the output, and becomes a unit test.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:?} seconds=${2:?}
found=$PWD/$build/found
passed=0 failed=0
export OPENBLAS_NUM_THREADS=1

for source in tests/fuzz/fuzz_*.c; do
  name=$(basename "$source" .c)
  corpus=$found/$name seeds=tests/fuzz/${name#fuzz_}
  mkdir -p "$corpus"
  [ -d "$seeds" ] || seeds=
  if "$build/tests/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$corpus-" "$corpus" ${seeds:+"$seeds"} \
    >"$corpus.log" 2>&1 </dev/null; then
    passed=$((passed + 1))
    printf 'ok    %-24s %s runs\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$corpus.log")"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-24s\n' "$name"
    tail -n 40 "$corpus.log" | sed 's/^/    | /'
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
