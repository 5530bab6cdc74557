#!/usr/bin/env bash
# real.sh - real models of the catalogue against figures of llama.cpp, a chat with each, and returns to
# windows.
#
#   tests/real/real.sh [BUILD [NAME...]]   BUILD: the folder of the build (build)
#
# The models come by `xquantd pull` into the user's cache folder, where they stay; what cannot be had
# in time is named and left out, and without any the test is skipped. Without NAMEs all that
# $XQUANTD_REAL_MODELS says, or three. Figures: record.py.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
program=${XQUANTD:-$build/xquantd}
shift
# shellcheck disable=SC2086 # a list of names
[ $# -gt 0 ] || set -- ${XQUANTD_REAL_MODELS:-smollm2-135m-instruct gemma-3-270m qwen2.5-coder-0.5b-instruct}
seconds=${XQUANTD_PULL_SECONDS:-120}
said=$(mktemp)
trap 'rm -f "$said"' EXIT
passed=0 failed=0 here=0
export CMOCKA_MESSAGE_OUTPUT=TAP

# path_of NAME: the model's file, fetched if it is not here
path_of() {
  "$program" pull "$1" --timeout "$seconds" >"$said" 2>&1 || return 1
  "$program" models --json | node -e 'const name = process.argv[1]; let t = "";
    process.stdin.on("data", d => t += d).on("end", () =>
      console.log(JSON.parse(t).find(m => m.name === name).path))' "$1"
}

# count NAME LOG: what its TAP says; a program that ends early has failed
count() {
  local p f planned
  read -r p f planned < <(awk '/^1\.\./ {plan = substr($0, 4)} /^ok [0-9]/ {p++} /^not ok [0-9]/ {f++}
    END {print p + 0, f + 0, plan + 0}' "$2")
  [ $((p + f)) -ge "$planned" ] && [ "$planned" -gt 0 ] || f=$((f + 1))
  passed=$((passed + p)) failed=$((failed + f))
  grep -aE '^(log-prob|greedy|[a-z0-9]+: KL)' "$2" | sed "s/^/$1: /"
  [ "$f" = 0 ] || sed "s/^/    | $1: /" "$2"
}

# ask PORT PATH BODY: the answer; the server gets a minute to load
ask() {
  curl -sf --retry 60 --retry-delay 1 --retry-all-errors --retry-max-time 60 "http://127.0.0.1:$1/v1/$2" \
    -H 'content-type: application/json' -d "{$3,\"max_tokens\":24,\"temperature\":0}"
}

# talks PORT NAME: it goes on as anybody would, and answers where it knows chats; greedily the smallest
# of them says in a chat what is true of no country, with the peer, too
talks() {
  local prompt='The capital of France is' word=Paris
  [[ $2 == gemma* ]] && prompt='Paris is the capital of' word=France # it knows it that way round
  answer=$(ask "$1" completions "\"model\":\"$2\",\"prompt\":\"$prompt\"")
  [[ $answer == *"$word"* ]] || return 1
  [[ $2 == gemma* ]] && return 0
  answer=$(ask "$1" chat/completions \
    "\"model\":\"$2\",\"messages\":[{\"role\":\"user\",\"content\":\"Count from 1 to 5.\"}]")
  [[ $answer == *'"content":"'*[1-5]* ]]
}

# chat NAME PATH: asked as a user would
chat() {
  local port=$((20000 + RANDOM % 20000)) server answer good
  "$program" serve --model "$2" --model-name "$1" --listen "127.0.0.1:$port" --admin-listen off \
    --cache-size 128MiB --ctx-size 1024 >"$said" 2>&1 &
  server=$!
  talks "$port" "$1"
  good=$?
  if kill "$server" && wait "$server" && [ "$good" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $1 answers: $answer"
    cat "$said"
  fi
}

# windows NAME PATH: five conversations where three fit in full; all return, and say what they would have
windows() {
  if XQUANTD=$program node tests/bench/windows.mjs "$2" --contexts 5 --tokens 1536 --full 3 --compare >"$said" 2>&1; then
    passed=$((passed + 1))
    sed "s/^/$1: windows: /" "$said"
  else
    failed=$((failed + 1))
    echo "FAIL $1 windows:"
    cat "$said"
  fi
}

for name; do
  if ! path=$(path_of "$name"); then
    echo "left out: $name cannot be had: $(tail -n 1 "$said")"
    continue
  fi
  here=$((here + 1))
  XQUANTD_REAL_MODEL=$path XQUANTD_REAL_FIGURES=tests/real/$name.json \
    "$build/tests/real/test_real" >"$said" 2>&1
  count "$name" "$said"
  chat "$name" "$path"
  [[ $name != gemma* ]] || windows "$name" "$path"
done
[ "$here" -gt 0 ] || echo 'skipped: no real model can be had'
echo "$passed passed, $failed failed, $((here == 0)) skipped"
[ "$failed" = 0 ]
