#!/usr/bin/env bash
# ablations.sh - measures what the paper leaves open, and writes one JSON object of it.
#
#   tests/bench/ablations.sh PROGRAM OUT.json [MODEL...]
#
# Each ablation changes one option of `xquantd perplexity` and leaves the others as usual.
# Runs that ask for the same options are one process. Its answer stays in build/ablations as
# long as it is newer than the program, so a run that was broken off goes on where it was.
#   TEXT=FILE   text to measure on; WikiText-2's test text of the shared folder, or one of
#               those that plans are calibrated on, where KL of klt is flattered
#   CHUNKS=4    rows of the ablations of cl; the others have half of them
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:?} out=${2:?}
shift 2
shared=${XQUANTD_SHARED:-../shared}
chunks=${CHUNKS:-4} ctx=2048
text=${TEXT:-$shared/data/wiki.test.raw}
[ -n "${TEXT-}" ] || [ -e "$text" ] || text=models/calibration.txt
models=("$@")
[ $# -gt 0 ] || mapfile -t models < <(ls "$shared"/models/seedling-*-f16.gguf 2>/dev/null)
[ ${#models[@]} -gt 0 ] || models=(models/seedling-32m-mha-q8_0.gguf)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- what is asked ---

# change OPTION VALUE USUAL: the option, unless that is what it would be anyway.
change() {
  [ "$2" = "$3" ] || echo "$1 $2"
}

# ask ABLATION VALUE ROWS MODES [OPTION...]: a line of the plan.
ask() {
  printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${*:5}"
}

# The plan of a model with heads of a kind, mha or gqa. Words of one option are split on purpose.
# shellcheck disable=SC2046
list_runs() {
  local all=$chunks half=$(((chunks + 1) / 2)) klt=klt16 v
  [ "$1" = mha ] || klt=klt7.5
  for v in 32 64 128; do
    ask group $v "$half" 'kivi4 xq4 xq2 cl3' $(change --group $v 128)
  done
  for v in 0 1 2 3; do
    ask kept-layers $v "$half" 'xq2 cl2 kivi2' $(change --kept-layers $v 3)
  done
  [ "$1" = mha ] || for v in 25 50 75 100; do
    ask rank $v "$half" 'xq4 xq8' $(change --rank $v 100)
  done
  for v in fp32 fp16 4bit; do
    ask cl-accumulator $v "$all" 'cl2 cl3 cl4' $(change --cl-accumulator $v fp32)
  done
  for v in 0 1 2; do
    ask cl-base $v "$all" 'cl2 cl3 cl4' $(change --cl-base $v 2)
  done
  ask cl-loop closed "$all" 'cl2 cl3 cl4'
  ask cl-loop open "$all" 'cl2 cl3 cl4' --cl-open-loop
  for v in 64 128 256 512; do
    ask block $v "$half" "$klt xq4" $(change --block-tokens $v 128)
  done
  ask workspace exact "$half" "$klt xq4 kivi4"
  for v in fp32 fp16 int8; do
    ask workspace $v "$half" "$klt xq4 kivi4" --window served $(change --workspace-format $v int8)
  done
  ask predictor full "$half" "$klt" # what there is by default up to a width of 512
  for v in rank:64 none; do
    ask predictor $v "$half" "$klt" --predict $v
  done
  ask similarity all "$half" kv32 --similarity
}

# --- the answers ---

# answers FILE MODES: it is whole, of this text and this program.
answers() {
  [ "$1" -nt "$program" ] && jq -e --arg text "$text" --arg modes "$2" \
    '.file == $text and ($modes | split(" ")) - [.results[].mode] == []' "$1" >/dev/null
}

# measure FILE MODEL ROWS MODES [OPTION...]
measure() {
  answers "$1" "$4" && return
  echo "  RUN   ${2##*/}: $3 rows, $4${5:+, ${*:5}}" >&2
  mkdir -p "${1%/*}"
  nice -n 10 "$program" perplexity --model "$2" --file "$text" --ctx $ctx --chunks "$3" \
    --window exact --cache "${4// /,}" "${@:5}" --json >"$1.part"
  mv "$1.part" "$1"
}

# What one thread needs to compute a token again: the other half of a return.
measure_prefill() {
  [ "$1" -nt "$program" ] && return
  mkdir -p "${1%/*}"
  nice -n 10 "$program" bench --model "$2" --threads 1 --tests attach --cache kv16 --json >"$1.part"
  mv "$1.part" "$1"
}

# run_model MODEL: every run of its plan; rows and the model's own line to $work.
run_model() {
  local name kind dir ablation value rows modes options key
  local -A wanted=()
  name=$(basename "$1" .gguf)
  dir=build/ablations/${text##*/}/$name
  kind=$("$program" inspect --json "$1" | jq -r '.keys | if (."llama.attention.head_count_kv" //
    ."llama.attention.head_count") == ."llama.attention.head_count" then "mha" else "gqa" end')
  list_runs "$kind" >"$work/plan"
  while IFS=$'\t' read -r _ _ rows modes options; do
    wanted["$rows $options"]+="$modes "
  done <"$work/plan"
  for key in "${!wanted[@]}"; do
    modes=$(tr ' ' '\n' <<<"${wanted[$key]}" | sed '/^$/d' | sort -u | paste -sd ' ')
    # shellcheck disable=SC2086 # options are words
    measure "$dir/${key//[ :]/_}.json" "$1" ${key%% *} "$modes" ${key#* }
  done
  measure_prefill "$dir/prefill.json" "$1"
  while IFS=$'\t' read -r ablation value rows modes options; do
    key="$rows $options"
    jq -c --arg ablation "$ablation" --arg value "$value" --arg modes "$modes" '
      .model as $model | .chunks as $chunks | .results[] |
      select(.mode as $m | $m != "kv32" and ($modes | split(" ") | index($m))) |
      {model: $model, ablation: $ablation, value: $value, chunks: $chunks} + .' \
      "$dir/${key//[ :]/_}.json" >>"$work/rows"
    [ "$ablation" != similarity ] || jq -c --arg kind "$kind" --slurpfile bench "$dir/prefill.json" '
      {model, heads: $kind, cpu: $bench[0].cpu, isa: $bench[0].isa,
       prefill_us_per_token: ($bench[0].attach[0] | .prefill_ms * 1000 / .tokens | round),
       similarity_chunks: .chunks, similarity}' \
      "$dir/${key//[ :]/_}.json" >>"$work/models"
  done <"$work/plan"
}

for model in "${models[@]}"; do
  run_model "$model"
done
# One row a line: so that a change shows.
{
  printf '{"text":"%s","ctx":%s,"chunks":%s,\n"models":[\n' "${text##*/}" "$ctx" "$chunks"
  sed '$!s/$/,/' "$work/models"
  printf '],\n"rows":[\n'
  sed '$!s/$/,/' "$work/rows"
  printf ']}\n'
} >"$work/out"
jq -e . "$work/out" >/dev/null
cp "$work/out" "$out"
echo "  WRITE $out" >&2
