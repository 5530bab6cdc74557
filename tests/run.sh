#!/usr/bin/env bash
# run.sh - runs every test and counts: the last line is `N passed, N failed, N skipped`.
#
#   tests/run.sh [BUILD [WORD]]   BUILD: the folder of the build (build); WORD: only programs
#                                 whose path contains it
#   THIRD=0 tests/run.sh          every third program from that one on (0, 1 or 2)
#
# A test program is a cmocka binary below BUILD/tests, asked for TAP, or a script that is
# given BUILD as its argument and closes with such a line of its own. One that ends badly
# without having said which test failed counts as one more failure. Scripts also find
# XQUANTD (the program) and, where there is one, XQUANTD_SHARED in the environment.
#
# Programs run side by side on JOBS cores (all of them), the slow ones first; each has a log of
# its own, and they are reported in the order they were started from, whichever ends first.
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
if grep -qw avx512_vnni /proc/cpuinfo 2>/dev/null; then
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-SkylakeX}
elif grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
  export OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE:-Haswell}
fi
# No strict_string_checks: cJSON compares at every value, and each time the whole rest of a text of
# megabytes would be looked at.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$PWD/tests/tools/tsan.supp:halt_on_error=1}

# A sanitizer makes a minute a quarter of an hour.
case $build in
  *thread* | *address* | *undefined*) seconds=3600 ;;
  *) seconds=900 ;;
esac
cores=${JOBS:-$(nproc)}

# The programs that take a minute and more, longest first: one that is begun last would keep
# the other cores waiting. real.sh waits for the network, too.
slow='real.sh test_batch_crowd test_batch_copies test_purity test_invariant_embedded test_quality
  test_arch_modes test_invariant_heads test_greedy test_types'
# Those that fail when other work takes their cores, and why:
#   test_http*  deadlines of a second, met to the tenth
#   tests/api   time limits of requests, gaps between tokens, a daemon that drains in time
alone='test_http* run.sh'

# What a sanitizer cannot run: which one, the program, and why.
unfit() { # unfit PROGRAM: such a one? Says so.
  local sanitizer pattern reason
  while read -r sanitizer pattern reason; do
    [[ $build == *"$sanitizer"* && ${1##*/} == $pattern ]] || continue
    echo "not under $sanitizer: ${1#"$build"/}: $reason"
    return 0
  done <<'TABLE'
address test_memory_idle what the process takes is counted, and a sanitizer takes more
thread  test_memory_idle what the process takes is counted, and a sanitizer takes more
address test_memory_rlimit it gets no memory under a limit on addresses
TABLE
  return 1
}

passed=0 failed=0 skipped=0
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT

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

# Programs by number: path, cores, and once ended exit code and seconds.
names=() weights=() statuses=() times=()
is_in() { # is_in PROGRAM PATTERNS
  local pattern name=${1##*/}
  set -f # the patterns are for names, not for files
  for pattern in $2; do [[ $name == $pattern ]] && { set +f; return 0; }; done
  set +f
  return 1
}

# Cores that a program keeps busy: models are run by a team of two.
weight() {
  if is_in "$1" "$alone"; then
    echo "$slots"
  elif [[ $1 == *golden/* || $1 == *real/* ]]; then
    echo 2
  else
    echo 1
  fi
}
turn=0
add() { # add PROGRAM: unless it is not wanted, or not its turn
  [[ $1 == *"$only"* ]] || return 0
  unfit "$1" && return 0
  [ -z "${THIRD:-}" ] || [ $((turn++ % 3)) = "$THIRD" ] || return 0
  names+=("$1") weights+=("$(weight "$1")")
}

# Two cores have three places: a program of two threads waits for one of them often enough.
slots=$((cores > 3 ? cores : 3))
declare -A number started
begin() { # begin NUMBER
  local command=("${names[$1]}")
  [[ ${names[$1]} == "$build"/* ]] || command+=("$build")
  timeout --kill-after=10 "${TEST_TIMEOUT:-$seconds}" "${command[@]}" \
    >"$logs/$1" 2>&1 </dev/null &
  number[$!]=$1 started[$!]=$SECONDS
  used=$((used + weights[$1]))
}
await() { # await: the next that ends
  local pid status=0 which
  wait -n -p pid || status=$?
  which=${number[$pid]}
  statuses[which]=$status times[which]=$((SECONDS - started[$pid]))
  used=$((used - weights[which]))
}

report() { # report NUMBER
  local log=$logs/$1 name=${names[$1]} status=${statuses[$1]} count=count_tap p f s planned
  [[ $name == "$build"/* ]] || count=count_line
  read -r p f s planned < <("$count" "$log") || true
  : "${p:=0}" "${f:=0}" "${s:=0}" "${planned:=0}"
  if [ $((p + f + s)) -lt "$planned" ] || [ $((p + f + s)) = 0 ] ||
    { [ "$status" != 0 ] && [ "$f" = 0 ]; }; then
    f=$((f + 1)) # crashed, timed out, leaked, raced, or ran nothing
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%-5s %-44s %4d passed %3d failed %3d skipped %4ds\n' \
    "$([ "$f" = 0 ] && echo ok || echo FAIL)" "${name#"$build"/}" "$p" "$f" "$s" "${times[$1]}"
  if [ "$f" != 0 ]; then # set apart, so that no inner count is taken for the total
    echo "    exit code $status; what failed, and the end of its output:"
    { grep -a -A 25 '^ *not ok' "$log" | head -n 100; tail -n "${TEST_LINES:-60}" "$log"; } |
      sed 's/^/    | /'
  elif [ "$s" != 0 ]; then
    grep -a '^skipped: ' "$log" | sort -u | sed 's/^/    | /'
  fi
}

# Begin whatever fits, in order; report in order. Who runs alone weighs as much as there is, and
# comes last, so that nothing waits behind it.
run_all() {
  local next=0 used=0 i waiting=("${!names[@]}")
  while [ $next -lt ${#names[@]} ]; do
    for i in "${!waiting[@]}"; do
      [ $((used + weights[waiting[i]])) -le "$slots" ] || continue
      begin "${waiting[i]}"
      unset "waiting[$i]"
    done
    await
    while [ -n "${statuses[next]-}" ]; do report $((next++)); done
  done
}

all=()
for source in tests/unit/test_*.c tests/golden/test_*.c; do
  [ -e "$source" ] && all+=("$build/${source%.c}")
done
[ -e tests/kern/check_all.c ] && all+=("$build/tests/kern/check_all")
for script in tests/golden/*.sh tests/kern/*_test.sh tests/tools/*_test.sh tests/torture/torture.sh \
  tests/vocabularies/vocabularies.sh tests/schemas/schemas.sh tests/templates/templates.sh \
  tests/quality/check.sh tests/real/real.sh tests/api/run.sh; do
  [ -e "$script" ] && all+=("$script")
done
for name in $slow; do
  for program in "${all[@]}"; do [ "${program##*/}" = "$name" ] && add "$program"; done
done
for program in "${all[@]}"; do is_in "$program" "$slow $alone" || add "$program"; done
for program in "${all[@]}"; do is_in "$program" "$alone" && add "$program"; done

if [ -e tests/api/run.sh ] && [[ tests/api/run.sh == *"$only"* ]]; then
  tests/api/setup.sh || echo 'tests/api/setup.sh failed: the official client is missing' >&2
fi
[ -z "${THIRD:-}" ] || echo "a third of the programs, from number $THIRD on: ${#names[@]} of $turn"
run_all
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
