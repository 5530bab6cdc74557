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

expect 2 'usage: xquantd COMMAND'
expect 0 'usage: xquantd COMMAND' --help
expect 0 'usage: xquantd COMMAND' -h
expect 0 'xquantd 0.1.0' --version
for command in serve complete inspect; do
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


echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
