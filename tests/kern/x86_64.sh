#!/usr/bin/env bash
# x86_64.sh - what BUILD does on emulated CPUs that lack AVX-512, or AVX2 as well: the last line
# counts.
#
#   tests/kern/x86_64.sh BUILD
#
# Each job runs on a core of its own: the kernels' test alone takes minutes where every fused
# multiply-add is done by software. An instruction that the CPU lacks ends the program, which
# fails.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=$1
# The program begins anew when these are not as it wants them, and what it begins is not emulated.
export OPENBLAS_NUM_THREADS=1 CMOCKA_MESSAGE_OUTPUT=TAP
unset OPENBLAS_CORETYPE
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# tap CPU PROGRAM [WORD]: the tests of a program whose names hold the word.
tap() {
  qemu-x86_64 -cpu "$1" "$build/tests/$2" ${3:+"$3"} 2>&1 || echo "not ok - $2 on $1: exit code $?"
}

# answers CPU CORE WISH: the program starts, OpenBLAS takes it for a CORE, and it answers as it does
# on this machine. WISH is what the program tells OpenBLAS there, "" for nothing: without it, it
# would begin anew.
answers() {
  local question=(complete --prompt 'The river' -n 8 --temp 0 --threads 2) cores
  [ -z "${3-}" ] || export OPENBLAS_CORETYPE=$3
  cores=$(OPENBLAS_VERBOSE=2 qemu-x86_64 -cpu "$1" "$build/xquantd" --version 2>&1 |
    sed -n 's/^Core: //p')
  [ "$cores" = "$2" ] && echo 'ok - core' || echo "not ok - OpenBLAS takes $1 for '$cores'"
  if [ "$(qemu-x86_64 -cpu "$1" "$build/xquantd" "${question[@]}" 2>/dev/null)" = \
    "$("$build/xquantd" "${question[@]}" 2>/dev/null)" ]; then
    echo 'ok - answer'
  else
    echo "not ok - $1 answers otherwise"
  fi
}

# Longest first. No CPU older than AVX2 runs the kernels' test: it would compare the plain C with
# itself.
jobs='tap Haswell kern/check_all
tap Haswell golden/test_purity every_rung
tap Nehalem golden/test_purity every_rung
answers Haswell Haswell Haswell
answers Nehalem Nehalem'

export build
export -f tap answers
passed=0 failed=0
nl -w1 -s' ' <<<"$jobs" | timeout 1200 xargs -P "${JOBS:-$(nproc)}" -L1 \
  bash -c 'log=$0/$1; shift; "$@" >"$log" 2>&1' "$logs"
while read -r n job; do
  p=$(grep -c '^ok ' "$logs/$n") f=$(grep -c '^not ok ' "$logs/$n")
  [ $((p + f)) != 0 ] || f=1
  printf '%-5s %-44s %4d passed %3d failed\n' "$([ "$f" = 0 ] && echo ok || echo FAIL)" \
    "${job#tap }" "$p" "$f"
  [ "$f" = 0 ] || grep -v '^ok \|qemu-x86_64: warning' "$logs/$n" | sed 's/^/    | /'
  passed=$((passed + p)) failed=$((failed + f))
done < <(nl -w1 -s' ' <<<"$jobs")
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
