#!/usr/bin/env bash
# vocabularies.sh - ids of vocabularies that packages hold, against the reference; see check.py.
#
#   tests/vocabularies/vocabularies.sh [BUILD [all|WORD...]]   BUILD: the folder of the build (build)
#
# Without a word the few that are quick to fetch: seconds once they are in the cache folder
# ($XQUANTD_VOCABULARIES, or xquantd-vocabularies in the user's cache). What cannot be had is
# skipped, and said.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
shift
cache=${XQUANTD_VOCABULARIES:-${XDG_CACHE_HOME:-$HOME/.cache}/xquantd-vocabularies}
export XQUANTD_VOCABULARIES=$cache
site=$cache/site-1

skip() {
  echo "skipped: $*"
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
}

# The reference, in a folder of its own: a virtual environment would take one more package of
# Debian's. scikit-build-core is for a source package.
prepare() {
  [ -e "$site/ready" ] && return
  rm -rf "$site"
  timeout 120 python3 -m pip install -q --disable-pip-version-check --retries 1 --target "$site" \
    tokenizers==0.22.2 sentencepiece==0.2.3 scikit-build-core pathspec && touch "$site/ready"
}

command -v npm >/dev/null || skip 'npm is not installed'
mkdir -p "$cache" 2>/dev/null || skip "$cache cannot be written"
prepare >"$cache/prepare.log" 2>&1 ||
  skip "the packages tokenizers and sentencepiece cannot be had: $(tail -n 1 "$cache/prepare.log")"
PYTHONPATH=$site exec python3 tests/vocabularies/check.py "$build" "${@:-small}"
