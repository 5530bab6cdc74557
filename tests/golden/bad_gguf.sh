#!/usr/bin/env bash
# bad_gguf.sh - every malformed model of tests/bad_gguf.def and bad_split.def is refused by the
# program: exit code 1, one line on stderr that names the field, little memory, no crash.
#
#   tests/golden/bad_gguf.sh [BUILD]   BUILD: the folder of the build (build)
#
# `inspect` looks at the file and its vocabulary only, so a model that merely cannot run
# passes it; `complete` refuses every one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
program=${XQUANTD:-$build/xquantd}
limit_kib=200000
[[ $build == *address* || $build == *thread* ]] && limit_kib=600000 # shadow and quarantine
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
passed=0 failed=0

# run ARGUMENT...: the program, its exit code in $code, stderr in $said
run() {
  said=$("$build/tests/tools/peak" "$limit_kib" "$program" "$@" 2>&1 >/dev/null </dev/null)
  code=$?
}

# expect CODE FIELD ARGUMENT...
expect() {
  local want=$1 field=$2 lines
  shift 2
  run "$@"
  lines=$(printf '%s' "$said" | grep -c '')
  if [ "$code" = "$want" ] &&
    { [ "$want" = 0 ] || { [ "$lines" = 1 ] && [[ $said == "xquantd: "*"$field"*": "* ]]; }; }; then
    passed=$((passed + 1))
    return
  fi
  failed=$((failed + 1))
  echo "FAIL $*: exit code $code, wanted $want and \`$field\`:"
  printf '%s\n' "$said" | head -n 40
}

"$build/tests/tools/bad_gguf" "$files" >"$files/list" || exit 1
expect 0 '' inspect "$files/good.gguf"
expect 0 '' complete --model "$files/good.gguf" --prompt x -n 1 --cache-size 64MiB
expect 0 '' inspect "$files/good-00001-of-00002.gguf"
expect 0 '' complete --model "$files/good-00001-of-00002.gguf" --prompt x -n 1 --cache-size 64MiB
expect 1 'good-00002-of-00002.gguf: split.no' inspect "$files/good-00002-of-00002.gguf"
cp "$files/good-00001-of-00002.gguf" "$files/renamed.gguf"
expect 1 'renamed.gguf: split.count' inspect "$files/renamed.gguf"
while read -r stage name field <&3; do
  code_of_inspect=1
  [ "$stage" = model ] && code_of_inspect=0
  expect "$code_of_inspect" "$field" inspect "$files/$name.gguf"
  expect 1 "$field" complete --model "$files/$name.gguf" --prompt x -n 1 --cache-size 64MiB
done 3<"$files/list"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
