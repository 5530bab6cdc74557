#!/usr/bin/env bash
# ablations_draw.sh - tables and figure of what ablations.sh measured: ablations_draw.sh OUT.json
#
# OUT.svg and OUT.png are drawn anew. In OUT.md what stands between <!-- NAME --> and
# <!-- /NAME --> is the table of that ablation; the text around it is written by hand.
set -euo pipefail
json=${1:?} base=${1%.json}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ablations=(group kept-layers rank cl-accumulator cl-base cl-loop block workspace predictor similarity)

# What tables and figure have in common. A return rebuilds the whole blocks of a context of
# .ctx tokens and computes the open one again, half full on average; one thread.
common='
  def model($n): .models[] | select(.model == $n);
  def return_ms($top): (.value | tonumber / 2) as $open | . as $row | $top | model($row.model) |
    (($top.ctx - $open) * $row.rebuild_us_per_token + $open * .prefill_us_per_token) / 1000 | round;
  def ordered: reduce .[] as $v ([]; if index([$v]) then . else . + [$v] end);
'

# --- tables ---

tables="$common"'
  def decimal: (. * 100000 | round | tostring) | "000000"[length:] + . | .[:-5] + "." + .[-5:];
  def ratio: . * 100 | round | tostring | .[:-2] + "." + .[-2:] + "x";
  def short: (. * 100 | round) / 100 + 0;
  def line: "| " + join(" | ") + " |";
  def head: line, (map("---") | "|" + join("|") + "|");
  def caption($top; $n): "`\(.model)`, \($n) x \($top.ctx) tokens of `\($top.text)`";
  def kl_at: "\(.kl | decimal) at \(.ratio | ratio)";
  def pivot(cell; $what): . as $rows | ($rows | map(.value) | ordered) as $values |
    ([$what] + $values | head),
    ($rows | map(.mode) | ordered | .[] as $mode |
      [$mode] + [$values[] as $v | $rows[] | select(.mode == $mode and .value == $v) | cell] | line);
  def cosines: (map(short | tostring) | .[0]), (.[1:] | min, add / length, max | short | tostring);
  . as $top | .models[] | . as $m |
  [$top.rows[] | select(.model == $m.model and .ablation == $ablation)] as $rows |
  if $ablation == "similarity" then
    "\(caption($top; .similarity_chunks)), cosine of a layer and the next:", "",
    (["", "layers 0, 1", "others: lowest", "mean", "highest"] | head),
    (.similarity | to_entries[] | [(.key | ascii_upcase), (.value | cosines)] | line), ""
  elif $rows == [] then empty
  else
    "\(caption($top; $rows[0].chunks)), KL at ratio:", "",
    ($rows | pivot(kl_at; {"kept-layers": "kept layers", "cl-accumulator": "accumulator",
      "cl-base": "base layer", "cl-loop": "loop"}[$ablation] // $ablation)), "",
    (if $ablation == "block" then "Time to return, ms (rebuilding, µs a token), one thread, \(.cpu) (\(.isa)):", "",
      ($rows | pivot("\(return_ms($top)) (\(.rebuild_us_per_token | round))"; "block")), ""
     elif $ablation == "predictor" then "Rebuilding, µs a token, one thread, \(.cpu) (\(.isa)):", "",
      ($rows | pivot(.rebuild_us_per_token | round | tostring; "predictor")), "" else empty end)
  end'

# write_tables: each between its marks of the page.
write_tables() {
  local ablation
  for ablation in "${ablations[@]}"; do
    jq -r --arg ablation "$ablation" "$tables" "$json" >"$work/$ablation.table"
  done
  awk -v dir="$work" '
    /^<!-- \/[a-z-]+ -->$/ {inside = 0}
    !inside {print}
    /^<!-- [a-z-]+ -->$/ {
      inside = 1; print ""
      while ((getline row < (dir "/" $2 ".table")) > 0) print row
    }' "$base.md" >"$work/page"
  cp "$work/page" "$base.md"
  echo "  WRITE $base.md"
}

# --- figure ---

# Points of the panels: files PANEL.MODE of "x KL mode value", x the place among the panel's
# values or the time of a return, in a folder a model.
points="$common"'
  . as $top |
  {"group": "group", "kept-layers": "kept", "rank": "rank", "block": "block", "workspace":
   "workspace", "predictor": "predictor", "cl-accumulator": "cl", "cl-base": "cl", "cl-loop": "cl"} as $panels |
  {"fp32": "as is", "2": "as is", "closed": "as is", "1": "base 1", "0": "base 0"} as $cl |
  ["as is", "fp16", "4bit", "base 1", "base 0", "open"] as $cl_order |
  .rows | map(. + {panel: $panels[.ablation]}) | map(if .panel == "cl" then .value = ($cl[.value] // .value) else . end) |
  group_by([.model, .panel])[] | sort_by(.ablation) | (if .[0].panel == "cl" then $cl_order else null end) as $fixed |
  ($fixed // (map(.value) | ordered)) as $values | .[] | .value as $v |
  [.model, .panel, .mode, (if .panel == "block" then return_ms($top) else $values | index([$v]) end), .kl, .value] | @tsv'

split_points() {
  jq -r "$points" "$json" | sort -u | sort -t $'\t' -k4,4g |
    while IFS=$'\t' read -r model panel mode x kl value; do
      mkdir -p "$work/$model"
      printf '%s\t%s\t%s\t%s\n' "$x" "$kl" "$mode" "$value" >>"$work/$model/$panel.$mode"
    done
  jq -r '.models[] | .model as $m | .similarity | to_entries[] | .key as $k | .value | to_entries[] |
    [$m, $k, .key, .value] | @tsv' "$json" |
    while IFS=$'\t' read -r model what layer cosine; do
      printf '%s\t%s\n' "$layer" "$cosine" >>"$work/$model/similarity.$what"
    done
}

color() { # by family, darker with fewer bits
  case $1 in
    kivi4) echo '#e6a23c' ;; kivi2) echo '#a85d00' ;;
    xq8) echo '#92c5de' ;; xq4) echo '#4393c3' ;; xq2) echo '#1f4e8c' ;;
    cl4) echo '#8fce8f' ;; cl3) echo '#3fa34d' ;; cl2) echo '#13662a' ;;
    *) echo '#c2185b' ;;
  esac
}

# Ticks of a panel: its values in order, the usual one bold.
ticks() {
  local i=0 value separator=''
  for value in "${@:2}"; do
    if [ "$value" = "$1" ]; then
      value="{/:Bold $value}"
    else
      value=${value/ /\\n}
    fi
    printf '%s"%s" %d' "$separator" "$value" $((i++))
    separator=', '
  done
}

# A range with room for the names, and wide enough for three ticks of 1, 2, 5.
kl_range() {
  cut -f 2 "$@" | sort -g | sed -n '1p;$p' | paste -sd ' ' | awk '{
    lo = $1 / 1.6; hi = $2 * 1.6; want = 8
    if (hi / lo < want) {s = sqrt(want / (hi / lo)); lo /= s; hi *= s}
    printf "[%g:%g]", lo, hi}'
}

# names FILE...: "x y mode" of each line's last point, apart enough to be read.
names() {
  local span
  span=$(kl_range "$@" | tr -d '[]' | tr : ' ')
  for file; do sort -g "$file" | tail -n 1; done | sort -k2,2g | awk -F '\t' -v span="$span" '
    BEGIN {split(span, end, " "); step = (end[2] / end[1]) ^ 0.07}
    {x[NR] = $1; mode[NR] = $3; y[NR] = $2}
    END {
      for (i = 2; i <= NR; i++) if (y[i] < y[i - 1] * step) y[i] = y[i - 1] * step
      if (y[NR] * step > end[2]) for (i = NR; i; i--) {
        top = (i == NR ? end[2] : y[i + 1]) / step
        if (y[i] > top) y[i] = top
      }
      for (i = 1; i <= NR; i++) print x[i] "\t" y[i] "\t" mode[i]
    }'
}

# panel MODEL NAME STYLE TITLE USUAL VALUES...: KL over the values of one option.
panel() {
  local files=("$work/$1/$2".*) plots='' file x y mode style=$3 n=$(($# - 5))
  [ -e "${files[0]}" ] || { explain; return; }
  for file in "${files[@]}"; do
    mode=${file##*/"$2".}
    plots+="${plots:+, }'$file' using 1:2 with $style lw 2 pt 7 lc rgb '$(color "$mode")' notitle"
  done
  [ "$2" = group ] || echo 'unset label' # it is the first, and stands below the heading
  while read -r x y mode; do
    echo "set label '$mode' at $x, $y left offset 1,0 tc rgb '$(color "$mode")'"
  done < <(names "${files[@]}")
  cat <<GNUPLOT
set title '$4'
set xtics nomirror ($(ticks "${@:5}"))
set xrange [-0.3:$((n - 1)) + 0.1 + 0.2 * $n]
$(axis "${files[@]}")
plot $plots
GNUPLOT
}

# KL over the time of a return, a point a block size.
panel_block() {
  local files=("$work/$1/block".*) plots='' file mode hue
  for file in "${files[@]}"; do
    mode=${file##*/block.}
    hue=$(color "$mode")
    plots+="${plots:+, }'$file' using 1:2 with linespoints lw 2 pt 7 lc rgb '$hue' notitle"
    plots+=", '' using 1:2:(sprintf(strcol(4) eq '128' ? '{/:Bold %s}' : '%s', strcol(4))) with labels left offset 0.6,0.6 tc rgb '$hue' notitle"
    plots+=", '' using (strcol(4) eq '512' ? \$1 : NaN):2:('$mode') with labels right offset -0.6,-0.8 tc rgb '$hue' notitle"
  done
  cat <<GNUPLOT
unset label
set title 'tokens of a block: KL over ms to return'
set xtics auto nomirror
set xrange [*:*]
set offsets graph 0.12, graph 0.12, 0, 0
$(axis "${files[@]}")
plot $plots
set offsets 0, 0, 0, 0
GNUPLOT
}

panel_similarity() {
  local plots='' what hue=('#c2185b' '#4393c3' '#e6a23c') i=0
  for what in x k v; do
    plots+="${plots:+, }'$work/$1/similarity.$what' with linespoints lw 2 pt 7 lc rgb '${hue[i++]}' title '${what^^}'"
  done
  cat <<GNUPLOT
unset label
set title 'cosine of layers l and l+1'
set xtics 0, 2 nomirror
set xrange [-0.5:*]
unset logscale y
set yrange [-0.25:1.1]
set ytics nomirror 0.25
set format y '%.2f'
set key at graph 0.97, 0.62 right
plot $plots
set key off
$axis_kl
GNUPLOT
}

explain() {
  cat <<'GNUPLOT'
unset border; unset xtics; unset ytics; unset grid
set title ' '
set xrange [0:1]; unset logscale y; set yrange [0:1]
unset label
set label 1 "Mean KL from exact keys and\nvalues, nats a token.\n\nBold: the usual value.\n\nms to return: one thread rebuilds\nthe whole blocks of a context and\ncomputes half a block again.\n\ncl as is: fp32 accumulator,\nbase layer 2, closed loop." at graph 0.05, 0.85 left
plot NaN notitle
GNUPLOT
  printf 'set border 3\nset grid\nset tics nomirror scale 0.5\n%s\n' "$axis_kl"
}

# What the panels of KL share.
axis_kl="set logscale y
set format y '%g'"

# axis FILE...: the range of KL, with ticks at 1, 2, 5 or, over many decades, at 1.
axis() {
  local range
  range=$(kl_range "$@")
  tr -d '[]' <<<"$range" | awk -F : -v range="$range" '{
    few = $2 / $1 > 2000
    printf "set yrange %s\nset ytics nomirror (", range
    for (e = -7; e < 2; e++) printf few ? "%s1e%d" : "%s1e%d, 2e%d, 5e%d", (e > -7 ? ", " : ""), e, e, e
    print ")"}'
}

panels() {
  local model=$1
  panel "$model" group linespoints 'group: values that share a scale' 128 32 64 128
  panel "$model" kept linespoints 'first layers kept at 4 bits' 3 0 1 2 3
  panel "$model" rank linespoints 'width kept of latents, %' 100 25 50 75 100
  panel "$model" cl points 'cl: accumulator, base layer, loop' 'as is' 'as is' fp16 4bit 'base 1' 'base 0' open
  panel_block "$model"
  panel "$model" workspace points 'workspace, beside exact own block' int8 exact fp32 fp16 int8
  panel "$model" predictor linespoints 'predictor of klt' full full rank:64 none
  panel_similarity "$model"
}

# heading MODEL Y: drawn with the next panel.
heading() {
  jq -r --arg model "$1" --arg y "$2" '. as $top |
    [.rows[] | select(.model == $model) | .chunks] | unique | map(tostring) | join(" or ") |
    "unset label\nset label 1 \"\($model): \(.) x \($top.ctx) tokens of \($top.text)\" at screen 0.045, \($y) font \",15\" noenhanced"' "$json"
}

# draw TERMINAL OUT: two rows of four panels a model.
draw() {
  local model i=0 n
  n=$(jq '.models | length' "$json")
  {
    cat <<GNUPLOT
set terminal $1 size 1480, $((700 * n))
set output '$2'
set multiplot layout $((2 * n)), 4 margins 0.045, 0.99, $(awk "BEGIN {print 0.05 / $n}"), $(awk "BEGIN {print 1 - 0.14 / $n}") spacing 0.05, $(awk "BEGIN {print 0.16 / $n}")
set border 3
set tics nomirror scale 0.5
set grid lc rgb '#dddddd' lt 1
set key off
set pointsize 0.9
$axis_kl
GNUPLOT
    while read -r model; do
      heading "$model" "$(awk "BEGIN {print 1 - ($i + 0.035) / $n}")"
      panels "$model"
      i=$((i + 1))
    done < <(jq -r '.models[].model' "$json")
    echo 'unset multiplot'
  } >"$work/gnuplot"
  gnuplot "$work/gnuplot"
  echo "  DRAW  $2"
}

write_tables
split_points
draw "svg font 'Helvetica,12' background 'white'" "$base.svg"
draw "pngcairo font 'Helvetica,11'" "$base.png"
