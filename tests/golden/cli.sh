#!/usr/bin/env bash
# cli.sh - the program's face: help, version, and what it says to a wrong command line.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
program=${1:-build}/xquantd
passed=0 failed=0

# expect STATUS TEXT ARGUMENT...: exits so, and says the text on stdout or stderr.
expect() {
  local want=$1 text=$2 out status
  shift 2
  out=$("$program" "$@" 2>&1 </dev/null)
  status=$?
  if [ "$status" = "$want" ] && grep -qF -- "$text" <<<"$out"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED xquantd %s: exit %d, wanted %d and "%s":\n%s\n' "$*" "$status" "$want" "$text" "$out"
  fi
}

# expect_served TEXT OPTION...: `serve` says the text, is ready, and ends with 0 when it is told to.
expect_served() {
  local text=$1 log server status
  shift
  log=$(mktemp)
  "$program" serve --listen 127.0.0.1:0 --admin-listen off "$@" >"$log" 2>&1 </dev/null &
  server=$!
  for _ in $(seq 200); do grep -q 'msg=ready' "$log" && break; sleep 0.05; done
  kill "$server"
  wait "$server"
  status=$?
  if [ "$status" = 0 ] && grep -qF -- "$text" "$log"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED xquantd serve %s: exit %d, wanted 0 and "%s":\n' "$*" "$status" "$text"
    cat "$log"
  fi
  rm -f "$log"
}

# OpenBLAS is told the CPU's instructions: left alone it takes a new CPU for one of 2004.
expect_core() {
  local log server core isa want
  log=$(mktemp)
  env -u OPENBLAS_CORETYPE OPENBLAS_VERBOSE=2 "$program" serve --listen 127.0.0.1:0 \
    --admin-listen off --cache-size 64MiB --log-format text >"$log" 2>&1 </dev/null &
  server=$!
  for _ in $(seq 200); do grep -q 'msg=ready' "$log" && break; sleep 0.05; done
  kill "$server"
  wait "$server"
  core=$(sed -n 's/^Core: //p' "$log" | tail -n 1)
  isa=$(sed -n 's/.*msg=ready.* isa=\([a-z0-9]*\).*/\1/p' "$log")
  case $isa in avx512) want=SkylakeX ;; avx2) want=Haswell ;; *) want=$core ;; esac
  if [ -n "$isa" ] && [ "$core" = "$want" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED OpenBLAS takes a CPU with "%s" for "%s":\n' "$isa" "$core"
    cat "$log"
  fi
  rm -f "$log"
}

expect 2 'usage: xquantd COMMAND'
expect 0 'usage: xquantd COMMAND' --help
expect 0 'usage: xquantd COMMAND' -h
expect 0 'xquantd 0.1.0' --version
for command in serve complete perplexity bench calibrate plan inspect convert pull models; do
  expect 0 "usage: xquantd $command" "$command" --help
  expect 0 'xquantd 0.1.0' "$command" --version
done
expect 0 'usage: xquantd serve' --listen 127.0.0.1:1 --help
expect 2 "unknown command 'srve'; did you mean serve?" srve
expect 2 "unknown command 'banana'" banana
expect 2 'unknown option --chache; did you mean --cache?' serve --chache xq4
expect 2 'unknown option --temperature; did you mean --temp?' complete --temperature 1
expect 2 'unknown option --chache; did you mean --cache?' --chache xq4
expect 2 '--threads: 5000 is out of range' complete --threads 5000
expect 2 'No such file or directory' serve --config /nowhere/xquantd.conf
expect 2 "unexpected argument 'b'" inspect a b
expect 0 'cache_size = 2GiB' serve --cache-size 2GiB --print-config
expect 1 '/nowhere.gguf' inspect /nowhere.gguf
expect 1 '/nowhere.gguf' complete --model /nowhere.gguf --prompt x

expect 2 'needs a text: --file FILE' perplexity
expect 2 '--window: '"'open'"' is none of: exact served' perplexity --file README.md --window open
expect 2 '--ctx: 100 is out of range' perplexity --file README.md --ctx 100
expect 1 '/nowhere.gguf' perplexity --model /nowhere.gguf --file README.md
expect 1 '/nowhere.txt: No such file or directory' perplexity --file /nowhere.txt
expect 1 'hold 0 rows of --ctx 2048; --chunks wants 4' perplexity --file LICENSE --ctx 2048
expect 1 '--greedy wants 288' perplexity --file .clang-format --ctx 256 --chunks 1 --greedy
expect 1 '--cache xq5: cache mode is not known' perplexity --file README.md --ctx 256 --chunks 1 --cache xq4,xq5
expect 1 '--cache : cache mode is not known' perplexity --file README.md --ctx 256 --chunks 1 --cache xq4,,xq2
expect 0 '32.0026   49156.0   0.50' perplexity --file README.md --ctx 256 --chunks 1 --cache kv16

expect 1 '--rank: no mode of --cache xq4,cl2 has it with this model' perplexity --file README.md --ctx 256 --chunks 1 --cache xq4,cl2 --rank 50
expect 1 '--predict: no mode of --cache xq4 has it' perplexity --file README.md --ctx 256 --chunks 1 --cache xq4 --predict none
expect 1 '--predict rank:999: is none of: full none rank:N' perplexity --file README.md --ctx 256 --chunks 1 --cache klt16 --predict rank:999
expect 2 '--group: '"'48'"' is none of: 32 64 128' perplexity --file README.md --group 48
expect 2 '--cl-accumulator: '"'int4'"' is none of: fp32 fp16 4bit' perplexity --file README.md --cl-accumulator int4
expect 2 'unknown option --group' complete --group 64
expect 0 'mean cosine of neighbouring layers' perplexity --file README.md --ctx 256 --chunks 1 --cache kv32 --similarity

expect 1 '/nowhere/x.xplan: No such file or directory' calibrate --out /nowhere/x.xplan
expect 1 'tests: Is a directory' calibrate --out tests
expect 1 '/dev/full: Operation not permitted' calibrate --out /dev/full
expect 1 '/nowhere.txt: No such file or directory' calibrate --text /nowhere.txt --out /tmp/x.xplan
expect 1 'LICENSE: too short: 83927 tokens are needed' calibrate --text LICENSE --out /tmp/x.xplan
TMPDIR=/nowhere expect 1 'cannot keep its temporary file (in $TMPDIR, or /var/tmp)' calibrate --out /tmp/x.xplan
expect 1 '--predict rank:0: is none of: full none rank:N, N up to 384' calibrate --predict rank:0
expect 2 'unknown option --ratio' calibrate --ratio 16
expect 2 'unknown option --max-kl' calibrate --max-kl 0.01

expect 2 "--tests: 'sped' is none of: speed remat attach contexts" bench --tests contexts,sped
expect 2 '--repeat: 0 is out of range' bench --repeat 0
expect 1 '--cache xq5: cache mode is not known' bench --tests contexts --cache kv16,xq5
expect 1 '/nowhere.gguf' bench --model /nowhere.gguf

# What cannot fit is refused by the sentence that says what is needed and what there is.
expect 1 ', pool 900 TiB = ' complete --prompt x --cache kv16 --cache-size 900TiB
expect 1 ': does not fit; --cache-size, --workspace-size and --ctx-size make it smaller' serve --listen 127.0.0.1:0 --admin-listen off --cache-size 900TiB
# Weights as floats are bounded by what is free before they are expanded.
with_little() { (ulimit -v 260000 && exec "$whole" "$@"); }
whole=$program program=with_little
case ${1:-build} in
  *address* | *thread*) ;; # a sanitizer maps terabytes
  *)
    expect 1 '--products exact: weights as floats take 120 MiB of ' perplexity --file README.md --ctx 256 --chunks 1 --threads 1
    expect 1 '--products exact: weights as floats take 120 MiB of ' calibrate --out "/tmp/x.xplan" --threads 1
    ;;
esac
program=$whole
# Addresses come before the model, which is not even looked for.
expect 1 'cannot listen on nowhere:1: ' serve --listen nowhere:1 --admin-listen off --model /nowhere.gguf
expect 1 '/nowhere.gguf' serve --listen 127.0.0.1:0 --admin-listen off --model /nowhere.gguf
expect_core
expect_served 'msg=memory needs="weights 31.9 MiB, pool 64 MiB = 1 context of 2k tokens, scratch ' --cache kv16 --cache-size 64MiB --log-format text

# As one who may not lock more than 64 KiB, whoever runs this.
lock_little() { (ulimit -l 64 && exec setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock "$real" "$@"); }
real=$program program=lock_little
[ "$(id -u)" = 0 ] || lock_little() { (ulimit -l 64 && exec "$real" "$@"); }
if lock_little --version >/dev/null 2>&1; then
  case ${1:-build} in
    *address* | *thread*) ;; # a sanitizer makes mlock nothing
    *) expect 1 'are mapped, RLIMIT_MEMLOCK is 64 KiB (`ulimit -l ' complete --prompt x -n 1 --cache-size 8MiB --mlock ;;
  esac
fi
program=$real

# A model in several files answers as it does in one.
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
export XDG_CACHE_HOME=$parts/cache # plans of a user stay out of it
"${1:-build}/tests/tools/split_gguf" 3 models/seedling-32m-mha-q8_0.gguf "$parts/m" || exit 1
answer=$("$program" complete --prompt 'The river' -n 24 --temp 0 2>&1)
expect 0 "$answer" complete --prompt 'The river' -n 24 --temp 0 --cache-size 64MiB --prefault --mlock
expect 0 "$answer" complete --model "$parts/m-00001-of-00003.gguf" --prompt 'The river' -n 24 --temp 0
expect 1 'm-00003-of-00003.gguf: split.no: file is not the first of its split model' inspect "$parts/m-00003-of-00003.gguf"
expect 0 ' bytes in 3 files' inspect "$parts/m-00001-of-00003.gguf"
rm "$parts/m-00002-of-00003.gguf"
expect 1 'm-00001-of-00003.gguf: m-00002-of-00003.gguf: cannot open the file' complete --model "$parts/m-00001-of-00003.gguf" --prompt x

# expect_json SCRIPT ARGUMENT...: exits 0, stdout is one JSON object o of which the JavaScript holds.
expect_json() {
  local script=$1 out
  shift
  command -v node >/dev/null || { echo 'skipped: node is not here'; return; }
  out=$("$program" "$@" 2>&1 </dev/null)
  if node -e 'const o = JSON.parse(process.argv[1]); process.exit(eval(process.argv[2]) ? 0 : 1)' "$out" "$script"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED xquantd %s: wanted %s:\n%s\n' "$*" "$script" "$out"
  fi
}

expect_json 'o.model === "seedling-32m-mha-q8_0" && o.file === "README.md" && o.ctx === 256 && o.chunks === 2 &&
  o.results.map(r => r.mode).join() === "kv32,xq4,kivi2" &&
  o.results.every(r => ["ppl", "kl", "kl_p99", "kl_max", "top1", "bits_per_element", "bytes_per_token", "ratio"].every(f => Number.isFinite(r[f]))) &&
  o.results.slice(1).every(r => r.kl < r.kl_p99 && r.kl_p99 < r.kl_max) && o.products === "exact" && o.workspace === "int8" &&
  o.results[0].kl === 0 && o.results[0].top1 === 1 && o.results[1].kl > 0 && !("greedy_equal" in o.results[1])' \
  perplexity --file README.md --ctx 256 --chunks 2 --cache xq4,kv32,kivi2,xq4 --json

# kv16 is nearly exact; as served, rounded activations hide that, and the line above the table says how much.
expect_json 'o.products === "exact" && o.results[1].kl < 1e-6 && o.served_floor.mode === "kv16" && o.served_floor.kl > 1e-3' \
  perplexity --file README.md --ctx 256 --chunks 2 --cache kv16 --json
expect_json 'o.products === "served" && o.results[1].kl === o.served_floor.kl && o.workspace === "fp32"' \
  perplexity --file README.md --ctx 256 --chunks 1 --cache kv16 --products served --window exact --json
expect 0 'workspace int8, exact products' perplexity --file README.md --ctx 256 --chunks 1 --cache kv16
expect 0 'as served, kv16 has KL 0.000546 on the first row' perplexity --file models/calibration.txt --ctx 256 --chunks 1 --cache kv32

# By depth: 0..511, 512..1023; all positions but a row's last are in one of them.
expect_json 'o.results[1].kl_at.length === 2 &&
  Math.abs((512 * o.results[1].kl_at[0] + 511 * o.results[1].kl_at[1]) / 1023 / o.results[1].kl - 1) < 1e-4 &&
  o.results[1].kl_at[0] !== o.results[1].kl_at[1]' \
  perplexity --file models/calibration.txt --ctx 1024 --chunks 1 --cache xq4 --json

# Dialogues are read as chats, not as the lines of JSON that they stand in, which are easier.
cp models/dialogues.jsonl "$parts/lines"
lines=$("$program" perplexity --file "$parts/lines" --ctx 512 --chunks 1 --cache kv32 --json)
expect_json "o.results[0].ppl > 1 && Math.abs(o.results[0].ppl / $lines.results[0].ppl - 1) > .2" \
  perplexity --file models/dialogues.jsonl --ctx 512 --chunks 1 --cache kv32 --json
echo '{"messages": 3}' >"$parts/none.jsonl"
expect 1 "none.jsonl: " perplexity --file "$parts/none.jsonl" --ctx 256 --chunks 1 --cache kv32

# Rows begin alike, with BOS: of a text that repeats itself, one is like the other.
printf ' the%.0s' {1..600} >"$parts/the"
one=$("$program" perplexity --file "$parts/the" --ctx 256 --chunks 1 --cache kv32 --json)
expect_json "Math.abs(o.results[0].ppl / $one.results[0].ppl - 1) < 1e-8" \
  perplexity --file "$parts/the" --ctx 256 --chunks 2 --cache kv32 --json

expect_json 'o.model === "seedling-32m-mha-q8_0" && o.threads === 2 && o.cpu && !o.speed.length && !o.remat.length && !o.attach.length &&
  o.contexts.map(r => r.mode + r.tokens).join() === "kv162048,kv161500,xq22048,xq21500" &&
  o.contexts.every(r => r.per_gib * r.bytes_per_context <= 2 ** 30 && r.per_gib * r.bytes_per_context > .97 * 2 ** 30)' \
  bench --tests contexts --cache kv16,xq2 --threads 2 --json

expect_json 'o.tuning.group === 64 && o.tuning.cl_base === 1 && o.tuning.cl_open_loop && o.predict === "full" &&
  ["x", "k", "v"].every(n => o.similarity[n].length === 15 && o.similarity[n].every(c => c > -1 && c < 1))' \
  perplexity --file README.md --ctx 256 --chunks 1 --cache cl3 --group 64 --cl-base 1 --cl-open-loop --similarity --json

# klt has a row for each ratio that its plan has measured; `auto` is the densest of them within 0.005,
# the choice the nearest to exact that holds all.
rows='const klt = o.modes.filter(m => m.mode.startsWith("klt")), near = klt.filter(m => m.kl <= .005), holds = near.filter(m => m.contexts >= o.users);'
expect_json "$rows"'o.ram_bytes === 2 ** 30 && o.users === 100 && o.tokens === 2048 && o.fits && near.length > 1 && klt.every(m => m.kl > 0) &&
  o.modes.map(m => m.mode).join() === "kv16,kivi8,kivi4,xq4,cl3,klt5,klt7.5,klt10,klt12,klt14,klt16,klt20,klt24,klt30,klt40" &&
  o.auto === near.at(-1).mode && o.choice === holds[0].mode && o.max_kl === .005 && o.modes[0].attach_ms === 0 && o.modes.slice(1).every(m => m.attach_ms > 0) &&
  klt.every((m, i) => !i || (m.bytes_per_context < klt[i - 1].bytes_per_context && m.kl >= klt[i - 1].kl)) &&
  o.modes.every(m => m.contexts === Math.floor(m.pool_bytes / m.bytes_per_context) &&
    o.weight_bytes + m.pool_bytes + m.workspace_bytes + m.scratch_bytes + m.plan_bytes + m.factor_bytes <= o.ram_bytes &&
    o.weight_bytes + m.pool_bytes + m.workspace_bytes + m.scratch_bytes + m.plan_bytes + m.factor_bytes > .98 * o.ram_bytes) &&
  new RegExp(`^xquantd serve --cache ${o.choice} --cache-size [0-9]+MiB --ctx-size 2048 --max-running 8$`).test(o.command)' \
  plan --users 100 --tokens 2048 --ram 1GiB --threads 2 --json
expect_json 'o.choice === "kv16" && o.fits' plan --users 19 --tokens 2048 --ram 1GiB --json
expect_json "$rows"'o.choice === o.auto && !o.fits && near.at(-1).contexts < 1000' plan --users 1000 --ram 1GiB --json
expect 0 'No mode holds 1,000 users in 1 GiB; klt' plan --users 1000 --ram 1GiB
# What is over the limit or unknown is left out, and said so, not passed off as not fitting.
expect 0 'No mode that is known to be within KL 1e-05 holds 100 users in 1 GiB; kv16 holds 19' plan --users 100 --tokens 2048 --ram 1GiB --max-kl 0.00001
expect 0 'klt40 (KL 0.' plan --users 100 --tokens 2048 --ram 1GiB
expect 0 ') left out: over KL 1e-05 (--max-kl)' plan --users 100 --tokens 2048 --ram 1GiB --max-kl 0.00001
expect 0 'kivi4 (KL 0.' plan --users 1 --tokens 2048 --ram 1GiB
expect_json 'o.max_kl === 0.00001 && o.auto === "xq8" && o.choice === "kv16" && !o.fits && o.modes.at(-1).fits &&
  o.modes.every(m => m.within_max_kl === (m.kl <= 0.00001) && (m.kl > 0 || m.mode === "kv16")) &&
  o.modes.every(m => m.mode.startsWith("klt") ? m.plan_bytes > 0 && m.factor_bytes === 0 : m.plan_bytes === 0)' \
  plan --users 100 --tokens 2048 --ram 1GiB --max-kl 0.00001 --json
expect_served 'msg="auto takes no mode of the plan: none is known to be within --max-kl" plan="klt5 (KL ' --cache-size 64MiB --max-kl 0.00001 --log-format text
expect_served 'max_kl=1e-05 cache=xq8 kl=' --cache-size 64MiB --max-kl 0.00001 --log-format text
expect 0 'xquantd serve --cache kv16 --cache-size ' plan --users 1 --tokens 100 --max-kl 0.00001 --ram 512MiB
# The plan that ships is the same model's under any name, and no namesake's.
cp models/seedling-32m-mha-q8_0.gguf "$parts/other.gguf"
expect 0 "$("$program" complete --prompt 'The river' -n 8 --temp 0 --cache klt16)" complete --model "$parts/other.gguf" --prompt 'The river' -n 8 --temp 0 --cache klt16
expect_json "$rows"'near.length && o.auto === near.at(-1).mode' plan --model "$parts/other.gguf" --users 100 --tokens 2048 --ram 1GiB --threads 2 --json
expect 0 '' complete --model "$parts/other.gguf" --prompt x -n 1 --cache klt9.5

# Without a plan the command that makes it is named, and a file of version 1 is none: neither for a
# mode, nor for `auto`, which goes on without it and says so.
"${1:-build}/tests/tools/random_model" --d 64 --layers 3 --heads 2 --kv-heads 2 --ffn 128 --vocab 8192 --ctx 512 "$parts/small.gguf" || exit 1
expect 1 '--cache klt8 (`xquantd calibrate --model ' complete --model "$parts/small.gguf" --prompt x --cache klt8
expect 0 'kivi8, kivi4, xq4, cl3 left out: KL with this model unknown' plan --model "$parts/small.gguf" --ram 512MiB
expect 0 'makes a plan, which holds more' plan --model "$parts/small.gguf" --ram 512MiB
expect_served 'msg="a calibrated plan would hold more contexts' --model "$parts/small.gguf" --cache-size 64MiB --log-format text
printf 'XPLN\1\0\0\0' >"$parts/small.klt8.xplan"
again='is of an older version: calibrate again (`xquantd calibrate`)'
expect 1 "--cache klt8: small.klt8.xplan: $again" complete --model "$parts/small.gguf" --prompt x --cache klt8
expect 0 "small.klt8.xplan: $again" plan --model "$parts/small.gguf" --ram 512MiB
expect_served "msg=\"a plan does not count\" file=small.klt8.xplan why=\"$again\"" --model "$parts/small.gguf" --cache-size 64MiB --log-format text
cp models/seedling-32m-mha-q8_0.xplan "$parts/small.xplan"
expect 1 '--cache klt8: small.xplan: model: plan was made for another model' complete --model "$parts/small.gguf" --prompt x --cache klt8
rm "$parts/small.xplan"

# It is made for every ratio at once, from texts that ship, and says what it measured.
quiet() { "$real" "$@" 2>/dev/null; } # without the line that says how long it takes
program=quiet
expect_json 'o.plan.endsWith("/small.xplan") && o.predictor === "full" && o.bytes > 0 && o.model_share > 0 && o.seconds > 0 && o.memory_bytes > 0 &&
  o.measured.map(m => m.cache).join() === "klt5,klt7.5,klt10,klt12,klt14,klt16,klt20,klt24,klt30,klt40,kivi8,xq8,kivi4,xq4,cl4,cl3" && o.kl_tokens > 500 &&
  o.measured.every(m => ["prose", "dialogue", "code"].every(t => m[t].kl > 0 && m[t].p99 >= m[t].kl && m[t].top1 <= 1))' \
  calibrate --model "$parts/small.gguf" --json
expect_json 'o.measured[0].prose.kl > 0 && !("dialogue" in o.measured[0]) && !("code" in o.measured[0])' \
  calibrate --model "$parts/small.gguf" --text models/calibration.txt --out "$parts/prose.xplan" --json
program=$real
expect 0 '' complete --model "$parts/small.gguf" --prompt x -n 1 --cache klt8
# No ratio is near enough: said, with how near the plan's nearest is, also to those who do not serve.
expect_served 'msg="auto takes no mode of the plan: none is known to be within --max-kl" plan="klt5 (KL ' --model "$parts/small.gguf" --max-kl 1e-12 --cache-size 64MiB --log-format text
expect 0 'plan="klt5 (KL ' complete --model "$parts/small.gguf" --max-kl 1e-12 --prompt x -n 1
expect 1 'weights take 31.9 MiB: does not fit' plan --ram 20MiB
expect 1 '/nowhere.gguf' plan --model /nowhere.gguf
expect 2 '--users: 0 is out of range' plan --users 0

# Files that never end.
expect 2 '/dev/zero: a configuration file holds at most 1 MiB' serve --config /dev/zero --print-config
expect 1 '/dev/zero: a prompt file holds at most 256 MiB' complete --prompt-file /dev/zero
expect 0 'cache_size = 2GiB' serve --config /dev/null --cache-size 2GiB --print-config

# Further than trained: said in one line, and done.
expect 0 'msg="--ctx-size is beyond the context the model was trained on" ctx_size=3000 trained=2048' complete --prompt x -n 1 --ctx-size 3000
[ "$("$program" complete --prompt x -n 1 --ctx-size 2048 2>&1 | grep -c trained)" = 0 ] || { failed=$((failed + 1)); echo 'FAILED: warns of the trained context'; }

# What is closed below 3 stays free of the program's own files.
no_stdout() { "$real" "$@" >&-; }
none_open() { "$real" "$@" <&- >&- 2>&-; }
program=no_stdout
expect 1 'output is lost: ' complete --prompt 'The river' -n 2
expect 1 'output is lost: ' --help
program=none_open
expect 2 '' banana
expect 1 '' inspect /nowhere.gguf
program=$real
"$program" serve --listen 127.0.0.1:0 --admin-listen off --cache-size 900TiB --log-file "$parts/log" --log-format json 2>&-
if [ -s "$parts/log" ] && ! grep -v '^{' "$parts/log"; then
  passed=$((passed + 1))
else
  failed=$((failed + 1))
  echo 'FAILED: with stderr closed, what goes there is in the log file'
fi

# What is printed to a full disk is lost, and that is an error which names the disk.
to_full() { "$real" "$@" >/dev/full; }
program=to_full
for command in serve complete perplexity bench calibrate plan inspect convert pull models; do
  expect 1 '/dev/full: output is lost: ' "$command" --help
done
expect 1 '/dev/full: output is lost: ' --help
expect 1 '/dev/full: output is lost: ' --version
expect 1 '/dev/full: output is lost: ' serve --print-config
expect 1 '/dev/full: output is lost: ' complete --prompt 'The river' -n 4
expect 1 '/dev/full: output is lost: ' complete --prompt 'The river' -n 4 --json
expect 1 '/dev/full: output is lost: ' inspect models/seedling-32m-mha-q8_0.gguf
expect 1 '/dev/full: output is lost: ' plan --users 1 --tokens 100 --ram 512MiB
expect 1 '/dev/full: output is lost: ' bench --tests contexts --cache kv16 --json
expect 1 '/dev/full: output is lost: ' perplexity --file README.md --ctx 256 --chunks 1 --cache kv32 --json
expect 2 "unknown command 'banana'" banana
program=$real

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
