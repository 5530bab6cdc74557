#!/usr/bin/env bash
# figures.sh - draws how close to exact each cache mode is against how much it saves, as SVG
# and PNG, from what `xquantd perplexity --json` wrote: figures.sh docs/perplexity-*.json
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One file of "ratio KL mode" a family (a mode's letters), best first.
split_families() {
  jq -r '.results[] | select(.kl > 0 and (.mode | startswith("kv") | not)) | [.ratio, .kl, .mode] | @tsv' "$1" | sort -g >"$work/all"
  rm -f "$work"/*.family
  while IFS=$'\t' read -r ratio kl mode; do
    printf '%s %s %s\n' "$ratio" "$kl" "$mode" >>"$work/${mode%%[0-9]*}.family"
  done <"$work/all"
}

# draw JSON TERMINAL EXTENSION
draw() {
  local out=${1%.json}.$3 plots='' family title
  out=${out/perplexity-/ratio-kl-}
  title=$(jq -r '"\(.model), \(.chunks) x \(.ctx) tokens of \(.file | split("/") | last)"' "$1")
  for family in "$work"/*.family; do
    plots+="${plots:+, }'$family' using 1:2 with linespoints lw 2 pt 7 ps 0.8 title '$(
      basename "$family" .family)', '' using 1:2:3 with labels offset character 0,0.8 font ',9' notitle"
  done
  gnuplot <<GNUPLOT
set terminal $2
set output '$out'
set title '$title' noenhanced
set logscale xy
set xlabel 'times smaller than fp16 keys and values (everything counted)'
set ylabel 'mean KL divergence from exact, nats a token'
set format y '10^{%L}'
set xtics (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60)
set grid
set key bottom right
set offsets graph 0.03, graph 0.06, graph 0.08, graph 0.05
set colorsequence classic
plot $plots
GNUPLOT
  echo "  DRAW  $out"
}

for json; do
  split_families "$json"
  draw "$json" "svg size 860,520 font 'Helvetica,12' background 'white'" svg
  draw "$json" "pngcairo size 860,520 font 'Helvetica,11'" png
done
