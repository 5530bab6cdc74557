#!/usr/bin/env bash
# arch.sh - the program on random models of every architecture: `calibrate` makes a plan,
# `perplexity` measures it, `serve` answers with it as `complete` does.
#
#   tests/golden/arch.sh [BUILD]   BUILD: the folder of the build (build)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
program=${XQUANTD:-$build/xquantd}
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
passed=0 failed=0
export XDG_CACHE_HOME=$files/cache # plans of a user stay out of it
shape=(--d 64 --layers 3 --heads 4 --kv-heads 2 --ffn 96 --vocab 8192 --ctx 512 --type f16)

# check NAME: counts the last command
check() {
  if [ $? = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $1:"
    cat "$files/said"
  fi
}

# ask PORT MODEL: the answer's text; the server gets 10 seconds to listen
ask() {
  curl -sf --retry 20 --retry-delay 1 --retry-connrefused --retry-max-time 10 \
    "http://127.0.0.1:$1/v1/completions" -H 'content-type: application/json' \
    -d '{"model":"'"$2"'","prompt":"Once upon a time","max_tokens":8,"temperature":0}' |
    node -e 'let t="";process.stdin.on("data",d=>t+=d).on("end",()=>process.stdout.write(JSON.parse(t).choices[0].text))'
}

# serve_answers MODEL: what `serve` says is what `complete` says
serve_answers() {
  local port=$((20000 + RANDOM % 20000)) text same server
  "$program" serve --model "$1" --cache klt8 --listen "127.0.0.1:$port" --admin-listen off \
    --cache-size 64MiB >"$files/said" 2>&1 &
  server=$!
  text=$(ask "$port" "$(basename "$1" .gguf)" 2>>"$files/said")
  same=$("$program" complete --model "$1" --cache klt8 --cache-size 64MiB --temp 0 \
    --prompt 'Once upon a time' -n 8 2>>"$files/said")
  kill "$server" && wait "$server"
  printf 'serve "%s", complete "%s"\n' "$text" "$same" >>"$files/said"
  [ -n "$text" ] && [ "$text" = "$same" ]
}

while read -r arch more; do
  model=$files/$arch.gguf
  # shellcheck disable=SC2086 # a list of options
  "$build/tests/tools/random_model" "${shape[@]}" --arch "$arch" $more "$model" || exit 1
  # not through a pipe: grep would leave at the first line, and inspect says that its output is lost
  "$program" inspect "$model" >"$files/said" 2>&1 && grep -q "^architecture $arch" "$files/said"
  check "inspect $arch"
  "$program" calibrate --model "$model" --out "$files/$arch.xplan" >"$files/said" 2>&1
  check "calibrate $arch"
  "$program" perplexity --model "$model" --file README.md --ctx 256 --chunks 1 \
    --cache kv16,xq8,klt8 --json >"$files/said" 2>&1 && grep -q '"klt8"' "$files/said"
  check "perplexity $arch"
  serve_answers "$model"
  check "serve $arch"
done <<'END'
llama --rope factors
qwen2
qwen3 --head-dim 32
qwen3moe --experts 4 --used 2
phi3 --rope long --turning 12
gemma2 --head-dim 32 --window 100
gemma3 --head-dim 32 --window 70 --rope linear --massive 2
gpt-oss --experts 4 --used 2 --window 70 --rope yarn
qwen2moe --experts 4 --used 2
command-r
phi2 --turning 8
granite
olmo2
END
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
