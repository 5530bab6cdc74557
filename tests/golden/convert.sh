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

# A folder of many small tensors, so that there is much to go on from.
"$build/tests/tools/random_model" --arch llama --d 128 --ffn 256 --layers 30 --heads 4 --kv-heads 4 \
  --vocab 8192 --tokens models/seedling-32m-mha-q8_0.gguf --type F16 "$files/many.gguf"
"$build/tests/tools/to_hf" "$files/many.gguf" "$files/many"
many=$files/many

# begun COUNT: a conversion of its own goes on until COUNT tensors are whole; its pid in $pid
begun() {
  rm -f "$files"/out.gguf*
  "$program" convert "$many" --threads 1 --type Q4_0 --out "$files/out.gguf" 2>"$files/err" >/dev/null &
  pid=$!
  until [ "$(whole)" -ge "$1" ]; do kill -0 "$pid" 2>/dev/null || break; done
}
# Tensors that are whole in the part file: bytes 4 to 7.
whole() {
  od -An -tu4 -j4 -N4 "$files/out.gguf.part" 2>/dev/null | tr -d ' ' | grep . || echo 0
}
# went_on PATTERN: the same command ends well, says that, and the file is what one go makes
went_on() {
  local said
  said=$("$program" convert "$many" --threads 2 --type Q4_0 --out "$files/out.gguf" 2>&1 >/dev/null)
  [[ $said =~ $1 ]] && cmp "$files/out.gguf" "$files/whole.gguf" &&
    [ ! -e "$files/out.gguf.part" ] && return
  echo "  $said"
  return 1
}
"$program" convert "$many" --type Q4_0 --out "$files/whole.gguf" >/dev/null 2>&1

# An interrupt ends it at once. What is whole stays, and is no model.
interrupted() {
  begun 3
  kill -TERM "$pid"
  wait "$pid"
  local code=$? said
  said=$(cat "$files/err")
  [ "$code" = 1 ] && [[ $said == *': interrupted; what is done stays in its .part file'* ]] &&
    [ ! -e "$files/out.gguf" ] && [ "$(whole)" -ge 3 ] &&
    ! "$program" inspect "$files/out.gguf.part" >/dev/null 2>&1 && return
  echo "  exit code $code: $said"
  return 1
}
check 'an interrupt keeps what is whole' interrupted
check 'an interrupted conversion goes on' went_on '[0-9]+ of 273 tensors were there from before'

killed() {
  begun 20
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  [ ! -e "$files/out.gguf" ] && [ "$(whole)" -ge 20 ] && went_on '[2-9][0-9] of 273 tensors were there'
}
check 'a killed conversion goes on from the last whole tensor' killed

# A folder that is not what it was, or another type: from the start, and it says nothing of before.
changed() {
  begun 5
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  touch "$many/model.safetensors"
  ! went_on 'from before' >/dev/null && cmp "$files/out.gguf" "$files/whole.gguf"
}
check 'a folder that has changed is begun anew' changed

# One writes a part at a time; the other says so.
crowded() {
  begun 1
  local said code
  kill -STOP "$pid"
  said=$("$program" convert "$many" --type Q4_0 --out "$files/out.gguf" 2>&1)
  code=$?
  kill -CONT "$pid"
  wait "$pid" && [ "$code" = 1 ] && [[ $said == *'out.gguf.part: another conversion writes it' ]] &&
    cmp "$files/out.gguf" "$files/whole.gguf"
}
check 'two conversions of one file' crowded

# Room for some of the file: what is whole stays, and goes on when there is more.
full() {
  local said
  rm -f "$files"/out.gguf*
  said=$(
    trap '' XFSZ
    ulimit -f 3000
    "$program" convert "$many" --type Q4_0 --out "$files/out.gguf" 2>&1
  )
  [[ $said == *'out.gguf: File too large'* ]] && [ ! -e "$files/out.gguf" ] && went_on ''
}
check 'a disk that is full' full

# Memory is bounded by a tensor, not by the folder: which is four times the bound.
bounded() {
  "$build/tests/tools/random_model" --arch llama --d 512 --ffn 8192 --layers 4 --heads 8 --kv-heads 8 \
    --vocab 8192 --tokens models/seedling-32m-mha-q8_0.gguf --type F32 "$files/large.gguf" &&
    "$build/tests/tools/to_hf" --shards 2 "$files/large.gguf" "$files/large" && rm "$files/large.gguf" &&
    [ "$(du -sk "$files/large" | cut -f 1)" -gt 200000 ] &&
    "$build/tests/tools/peak" 65000 "$program" convert "$files/large" --threads 2 --type F16 \
      --out "$files/large.gguf" >/dev/null
}
check 'memory' bounded

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
