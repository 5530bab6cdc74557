#!/usr/bin/env bash
# isa_test.sh - no object of BUILD asks more of a CPU than it may: isa_test.sh BUILD
#
# A flag that reaches a file too many, or a function with a target of its own, shows on no newer
# CPU: an older one dies of it, in whatever path meets it first. So the objects are read.
#
#   x86-64   the baseline is SSE2. VEX (AVX, BMI) in the twins for AVX2 and AVX-512, EVEX and
#            mask registers in those for AVX-512 only. In 64-bit code the bytes 62, c4 and c5
#            begin nothing else; 0f 38 and 0f 3a are SSSE3 to SSE4.2, f3 0f b8 is popcnt.
#   arm64    the baseline is armv8-a. Dot products in the twins for NEON only, SVE nowhere.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:?}

arch=$(uname -m)
case $arch in
  x86_64) kinds='evex vex sse4' ;;
  aarch64) kinds='dot sve' ;;
  *)
    echo "skipped: no rules for $arch"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
    ;;
esac

# "kind file instruction" of whatever is beyond the baseline.
beyond() {
  local folders=() layer
  for layer in config engine xcache server; do folders+=("$build/$layer"); done
  find "${folders[@]}" -name '*.o' -print0 | xargs -0 -r objdump -d -w |
    awk -F '\t' -v arch="$arch" -v build="$build/" '
      /file format/ {file = $0; sub(/: .*/, "", file); sub(build, "", file); next}
      NF < 3 {next}
      arch == "x86_64" {
        bytes = $2; sub(/^((64|65|67) )*/, "", bytes)
        legacy = bytes; sub(/^((66|f2|f3|4[0-9a-f]) )*/, "", legacy)
        if (bytes ~ /^62 / || $3 ~ /%(zmm|k[0-7])/) kind = "evex"
        else if (bytes ~ /^c[45] /) kind = "vex"
        else if (legacy ~ /^0f (38|3a) / || bytes ~ /^f3 (4[0-9a-f] )?0f b8 /) kind = "sse4"
        else next
        print kind, file, $3
      }
      arch == "aarch64" {
        if ($3 ~ /^[us]u?dot/) print "dot", file, $3
        else if ($0 ~ /[ \t,{][zp][0-9]+(\.[bhsdq]|\/[mz])/) print "sve", file, $3
      }'
}

may() { # may KIND FILE
  case $1 in
    evex) [[ $2 == engine/kern/kern_avx512* ]] ;;
    vex | sse4) [[ $2 == engine/kern/kern_avx* ]] ;;
    dot) [[ $2 == engine/kern/kern_neon* ]] ;;
    *) false ;;
  esac
}

passed=0 failed=0
check() { # check WHAT STATUS
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
    echo "ok     $1"
  else
    failed=$((failed + 1))
    echo "not ok $1"
  fi
}

found=$(mktemp)
trap 'rm -f "$found"' EXIT
beyond | sort | uniq -c >"$found"
for kind in $kinds; do
  wrong=0
  while read -r count k file instruction; do
    [ "$k" != "$kind" ] || may "$k" "$file" && continue
    [ $((wrong++)) -lt 10 ] && echo "       $file: $instruction ($count times)"
  done <"$found"
  check "$kind is where the CPU is asked for it" $((wrong != 0))
done
# A reader that finds nothing anywhere has not read: the twins are full of it.
grep -q " ${kinds%% *} " "$found"
check "the twins have ${kinds%% *}" $?
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
