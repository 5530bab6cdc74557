#!/usr/bin/env bash
# speed.sh - prefill and decode of `xquantd complete` by cache mode: tests/bench/speed.sh PROGRAM
#
# The middle of five runs of a prompt of 512 tokens with 64 generated, greedy, the embedded
# model. Further arguments go to the program: speed.sh build/xquantd --threads 1
set -euo pipefail
program=${1:?}
shift
prompt=0$(printf ',%d' $(seq 300 810))
printf '%-6s %14s %14s %14s\n' mode 'prefill tok/s' 'decode tok/s' 'cache bytes'
for mode in kv32 kv16 xq8 xq4 xq2; do
  for _ in 1 2 3 4 5; do
    "$program" complete --prompt-ids "$prompt" -n 64 --temp 0 --cache "$mode" --json "$@"
  done | jq -rs --arg mode "$mode" 'def middle: sort | .[length / 2 | floor];
    [$mode, (map(.prompt_tokens / .timings.prefill_ms * 1000) | middle | round),
     (map(.timings.tokens_per_s) | middle | round), (map(.cache_bytes) | middle)] | @tsv' |
    awk '{printf "%-6s %14s %14s %14s\n", $1, $2, $3, $4}'
done
