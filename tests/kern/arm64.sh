#!/usr/bin/env bash
# arm64.sh - runs BUILD/bare/check_all on emulated CPUs: the last line counts.
#
#   tests/kern/arm64.sh BUILD...
#
# What a CPU chooses is part of the test: with the dot product the twins, without it the plain
# C. An instruction that the CPU lacks ends the program, which fails.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# check BUILD CPU ISA
check() {
  local status p f
  qemu-aarch64 -cpu "$2" "$1/bare/check_all" >"$log" 2>&1
  status=$?
  grep -qx "# isa $3" "$log" || { echo "not ok - $2 does not choose $3" >>"$log"; }
  p=$(grep -c '^ok ' "$log") f=$(grep -c '^not ok ' "$log")
  [ "$status" = 0 ] || [ "$f" != 0 ] || f=1
  printf '%-5s %-44s %4d passed %3d failed\n' "$([ "$f" = 0 ] && echo ok || echo FAIL)" \
    "${1#build/} on $2" "$p" "$f"
  [ "$f" = 0 ] || { echo "    exit code $status"; grep -v '^ok ' "$log" | sed 's/^/    | /'; }
  passed=$((passed + p)) failed=$((failed + f))
}

for build; do
  check "$build" max neon
  check "$build" cortex-a53 c
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
