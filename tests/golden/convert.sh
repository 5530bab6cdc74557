#!/usr/bin/env bash
# convert.sh - `xquantd convert` on the command line: what it makes answers as the model it
# came from, and what goes wrong ends with one line, exit code 1 and no file.
#
#   tests/golden/convert.sh [BUILD]   BUILD: the folder of the build (build)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
program=${XQUANTD:-$build/xquantd}
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
passed=0 failed=0 skipped=0
prompt='<|im_start|>user
What is the capital of France?<|im_end|>
<|im_start|>assistant
'

check() { # check WHAT COMMAND...: the command must succeed
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED $what"
  fi
}

answer() {
  "$program" complete --model "$1" --prompt "$prompt" --temp 0 -n 48 --json |
    jq -c '.ids, .prompt_ids'
}

# same MODEL TYPE SHARDS: through a folder and back, it gives the same greedy ids
same() {
  local dir=$files/hf-$3
  "$build/tests/tools/to_hf" --shards "$3" "$1" "$dir" &&
    "$program" convert "$dir" --type "$2" >"$files/said" &&
    [ "$(head -n 1 "$files/said")" = "$dir/hf-$3-$2.gguf" ] &&
    [ -n "$(answer "$1")" ] && [ "$(answer "$1")" = "$(answer "$dir/hf-$3-$2.gguf")" ]
}
check 'the embedded model gives the same ids' same models/seedling-32m-mha-q8_0.gguf Q8_0 1
if [ -d "${XQUANTD_SHARED:-../shared}/models" ]; then
  check 'the F16 model gives the same ids' \
    same "${XQUANTD_SHARED:-../shared}/models/seedling-38m-gqa-f16.gguf" F16 2
else
  skipped=$((skipped + 1))
fi
dir=$files/hf-1

# says CODE TEXT ARGUMENT...: ends so with one line on stderr that has the text, and no file
says() {
  local want=$1 text=$2 said code
  shift 2
  said=$("$program" convert --out "$files/out.gguf" "$@" 2>&1 >/dev/null)
  code=$?
  [ "$code" = "$want" ] && [ "$(wc -l <<<"$said")" = 1 ] && [[ $said == *"$text"* ]] &&
    [ -z "$(find "$files" -maxdepth 1 -name 'out.gguf*')" ] && return
  echo "  exit code $code: $said"
  return 1
}
check 'no folder' says 2 'convert needs a folder'
check 'a folder that is not there' says 1 '/nowhere: No such file or directory' /nowhere
check 'an empty folder' says 1 'config.json: No such file or directory' "$build/tests/tools"
json() {
  "$program" convert "$dir" --type BF16 --json --out "$files/b.gguf" |
    jq -e --arg at "$files/b.gguf" '.model == $at and .type == "BF16" and .tensors == 146' >/dev/null
}
check 'JSON' json
check 'a file system without room' bash -c \
  'trap "" XFSZ; ulimit -f 1000; '"$(declare -f says)"'; program=$1 files=$2; says 1 "File too large" "$3"' \
  - "$program" "$files" "$dir"

# An interrupt ends it at once and leaves no file. It is sent when the file is being written.
interrupted() {
  local pid said code
  "$program" convert "$dir" --threads 1 --type Q4_K --out "$files/out.gguf" 2>"$files/err" &
  pid=$!
  until [ -n "$(find "$files" -maxdepth 1 -name 'out.gguf.*')" ]; do
    kill -0 "$pid" 2>/dev/null || break
  done
  kill -TERM "$pid"
  wait "$pid"
  code=$?
  said=$(cat "$files/err")
  [ "$code" = 1 ] && [[ $said == *': interrupted' ]] &&
    [ -z "$(find "$files" -maxdepth 1 -name 'out.gguf*')" ] && return
  echo "  exit code $code: $said"
  return 1
}
check 'an interrupt' interrupted

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
