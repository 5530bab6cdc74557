#!/usr/bin/env bash
# sessions.sh - a crowd in one pool, dialogues turn by turn, gaps beside a long prompt:
# sessions.sh DATA
#
# DATA holds wiki.test.raw and dialogues.jsonl. One JSON object a line; fails if one run does.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
tests/api/setup.sh || exit 1
data=${1:?}
node=tests/api/node_modules/.bin/node # Debian's is too old for some
failed=0
"$node" tests/bench/crowd.mjs "$data/wiki.test.raw" klt16 150 || failed=1
"$node" tests/bench/crowd.mjs "$data/wiki.test.raw" kv16 || failed=1
"$node" tests/bench/dialogues.mjs "$data/dialogues.jsonl" 500 48 --cache klt16 || failed=1
"$node" tests/bench/latency.mjs || failed=1
exit $failed
