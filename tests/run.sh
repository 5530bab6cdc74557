#!/usr/bin/env bash
# run.sh - runs every test and counts: the last line is `N passed, N failed, N skipped`.
#
#   tests/run.sh [BUILD [WORD]]   BUILD: the folder of the build (build); WORD: only programs
#                                 whose path contains it
#
# A test program is a cmocka binary below BUILD/tests, asked for TAP, or a script that is
# given BUILD as its argument and closes with such a line of its own. One that ends badly
# without having said which test failed counts as one more failure. Scripts also find
# XQUANTD (the program) and, where there is one, XQUANTD_SHARED in the environment.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
only=${2:-}

# ThreadSanitizer maps its shadow where a randomised address space may lie.
if [[ $build == *thread* && -z ${XQUANTD_FIXED_ADDRESSES:-} ]] && setarch -R true 2>/dev/null; then
  XQUANTD_FIXED_ADDRESSES=1 exec setarch -R "$0" "$@"
fi
shared=${XQUANTD_SHARED:-../shared}
[ -d "$shared" ] && XQUANTD_SHARED=$(cd "$shared" && pwd) && export XQUANTD_SHARED
export BUILD=$build XQUANTD=$build/xquantd
export PATH=$PWD/build/tools:$PATH
export CMOCKA_MESSAGE_OUTPUT=TAP
# What the program sets for itself before OpenBLAS loads (server/cmd/main.c).
export OPENBLAS_NUM_THREADS=1
grep -qw avx512_vnni /proc/cpuinfo 2>/dev/null &&
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-SkylakeX}
export ASAN_OPTIONS=${ASAN_OPTIONS:-strict_string_checks=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$PWD/tests/tools/tsan.supp:halt_on_error=1}

# A sanitizer makes a minute a quarter of an hour.
case $build in
  *thread* | *address* | *undefined*) seconds=3600 ;;
  *) seconds=900 ;;
esac
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Counts of a log, "passed failed skipped planned".
count_tap() {
  awk '/^1\.\.[0-9]+$/ {plan = substr($0, 4)}
    /^ok [0-9]/ {p++}
    /^not ok [0-9]+ # SKIP/ {s++; next}
    /^not ok [0-9]/ {f++}
    END {print p + 0, f + 0, s + 0, plan + 0}' "$1"
}
count_line() {
  sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$1" |
    tail -n 1 | awk '{print $1, $2, $3, $1 + $2 + $3}'
}

# run COUNT_FUNCTION COMMAND...
run() {
  local count=$1 name=$2 started=$SECONDS status p f s planned
  shift
  [[ $name == *"$only"* ]] || return 0
  timeout --kill-after=10 "${TEST_TIMEOUT:-$seconds}" "$@" >"$log" 2>&1 </dev/null
  status=$?
  read -r p f s planned < <("$count" "$log") || true
  : "${p:=0}" "${f:=0}" "${s:=0}" "${planned:=0}"
  if [ $((p + f + s)) -lt "$planned" ] || [ $((p + f + s)) = 0 ] ||
    { [ $status != 0 ] && [ "$f" = 0 ]; }; then
    f=$((f + 1)) # crashed, timed out, leaked, raced, or ran nothing
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%-5s %-44s %4d passed %3d failed %3d skipped %4ds\n' \
    "$([ "$f" = 0 ] && echo ok || echo FAIL)" "${name#"$build"/}" "$p" "$f" "$s" \
    $((SECONDS - started))
  if [ "$f" != 0 ]; then # set apart, so that no inner count is taken for the total
    echo "    exit code $status; what failed, and the end of its output:"
    { grep -a -A 25 '^not ok' "$log" | head -n 100 && tail -n "${TEST_LINES:-60}" "$log"; } |
      sed 's/^/    | /'
  elif [ "$s" != 0 ]; then
    grep -a '^skipped: ' "$log" | sort -u | sed 's/^/    | /'
  fi
}

for source in tests/unit/test_*.c tests/golden/test_*.c; do
  [ -e "$source" ] && run count_tap "$build/${source%.c}"
done
[ -e tests/kern/check_all.c ] && run count_tap "$build/tests/kern/check_all"
if [ -e tests/api/run.sh ] && [[ tests/api/run.sh == *"$only"* ]]; then
  tests/api/setup.sh || echo 'tests/api/setup.sh failed: the official client is missing' >&2
fi
for script in tests/golden/*.sh tests/tools/*_test.sh tests/api/run.sh; do
  [ -e "$script" ] && run count_line "$script" "$build"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
