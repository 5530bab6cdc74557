#!/usr/bin/env bash
# figures.sh - draws how close to exact each cache mode is against how much it saves, as SVG
# and PNG, from what `xquantd perplexity --json` wrote: figures.sh docs/perplexity-*.json
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One file of "ratio KL mode" a family (a mode's letters), best first.
split_families() {
  jq -r '.results[] | select(.kl > 0) | [.ratio, .kl, .mode] | @tsv' "$1" | sort -g >"$work/all"
  rm -f "$work"/*.family
  while IFS=$'\t' read -r ratio kl mode; do
    printf '%s %s %s\n' "$ratio" "$kl" "$mode" >>"$work/${mode%%[0-9]*}.family"
  done <"$work/all"
}

# Colour of a family, and where its labels stand beside the points: `look FAMILY`.
look() {
  case $1 in
    kivi) echo '#d98200 -3.2 0.2' ;;
    xq) echo '#1f4e8c 2.4 -0.3' ;;
    cl) echo '#1a6b2f 0 0.9' ;;
    klt) echo '#c2185b 2.6 -0.6' ;;
    *) echo '#555555 2.2 0.8' ;;
  esac
}

# draw JSON TERMINAL EXTENSION
draw() {
  local out=${1%.json}.$3 plots='' family name title colour x y
  out=${out/perplexity-/ratio-kl-}
  title=$(jq -r '"\(.model), \(.chunks) x \(.ctx) tokens of \(.file | split("/") | last)"' "$1")
  for family in "$work"/*.family; do
    name=$(basename "$family" .family)
    read -r colour x y < <(look "$name")
    plots+="${plots:+, }'$family' using 1:2 with linespoints lc rgb '$colour' lw 2 pt 7 ps 0.8 title '$name', '' using 1:2:3 with labels offset character $x,$y font ',9' tc rgb '$colour' notitle"
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
set xrange [0.9:60]
set grid lc rgb '#dddddd'
set border 3
set tics nomirror
set key bottom right
set offsets 0, 0, graph 0.08, graph 0.05
plot $plots
GNUPLOT
  echo "  DRAW  $out"
}

for json; do
  split_families "$json"
  draw "$json" "svg size 860,520 font 'Helvetica,12' background 'white'" svg
  draw "$json" "pngcairo size 860,520 font 'Helvetica,11'" png
done
