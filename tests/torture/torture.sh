#!/usr/bin/env bash
# torture.sh - every call that can fail does, in turn: torture.sh BUILD [sample|all [WORD]]. Closes with the
# count. `make torture` runs all of it, `make test` a sample.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
node=node
[ -x tests/api/node_modules/.bin/node ] && node=tests/api/node_modules/.bin/node
# What the program sets for itself, becoming itself once more (server/cmd/main.c).
export OPENBLAS_NUM_THREADS=1
if grep -qw avx512_vnni /proc/cpuinfo 2>/dev/null; then
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-SkylakeX}
elif grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-Haswell}
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:allocator_may_return_null=1
if [ ! -e "$build/tests/torture/xquantd" ]; then # see the Makefile
  echo 'skipped: nothing can stand before the sanitizers of clang'
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
fi
exec "$node" tests/torture/run.mjs "$build" "${@:2}"
