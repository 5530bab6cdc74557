#!/usr/bin/env bash
# run.sh - every API test against the daemon of a build: run.sh BUILD. Closes with the count.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
export XQUANTD=${XQUANTD:-$build/xquantd}
node=node
[ -x tests/api/node_modules/.bin/node ] && node=tests/api/node_modules/.bin/node
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$node" --test --test-force-exit --test-concurrency=1 --test-reporter=tap tests/api/*.test.mjs tests/api/{abuse,canaries}/*.test.mjs 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
count() { sed -n "s/^# $1 \([0-9]*\)$/\1/p" "$log" | tail -n 1; }
failed=$(count fail)
[ "$status" != 0 ] && [ "${failed:-0}" = 0 ] && failed=1
echo "$(count pass) passed, ${failed:-1} failed, $(count skipped) skipped"
[ "$failed" = 0 ]
