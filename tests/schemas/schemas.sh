#!/usr/bin/env bash
# schemas.sh - the JSON-Schema-Test-Suite (draft 2020-12) against our grammars; see suite.mjs.
#
#   tests/schemas/schemas.sh [BUILD]
#
# The suite comes with the source package of Python's jsonschema, fetched through pip once into
# the cache folder ($XQUANTD_SCHEMAS, or xquantd-schemas in the user's cache). What cannot be had
# is skipped, and said.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
version=4.26.0
cache=${XQUANTD_SCHEMAS:-${XDG_CACHE_HOME:-$HOME/.cache}/xquantd-schemas}
suite=$cache/jsonschema-$version/json/tests/draft2020-12
node=node
[ -x tests/api/node_modules/.bin/node ] && node=tests/api/node_modules/.bin/node

skip() {
  echo "skipped: $*"
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
}

fetch() {
  timeout 120 python3 -m pip download -q --disable-pip-version-check --retries 1 --no-deps \
    --no-binary :all: -d "$cache" "jsonschema==$version" &&
    tar xzf "$cache/jsonschema-$version.tar.gz" -C "$cache"
}

command -v "$node" >/dev/null || skip 'node is not installed'
mkdir -p "$cache" 2>/dev/null || skip "$cache cannot be written"
[ -d "$suite" ] || fetch >"$cache/fetch.log" 2>&1
[ -d "$suite" ] || skip "the package jsonschema cannot be had: $(tail -n 1 "$cache/fetch.log")"
exec "$node" tests/schemas/suite.mjs "$build/tests/tools/judge" "$suite"
