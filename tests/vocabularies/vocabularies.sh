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

skip() {
  echo "skipped: $*"
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
}

# The reference, in a virtual environment of its own; scikit-build-core for a source package.
prepare() {
  local venv=$cache/venv-1
  [ -e "$venv/ready" ] && return
  rm -rf "$venv"
  python3 -m venv "$venv" &&
    timeout 120 "$venv/bin/python" -m pip install -q --disable-pip-version-check --retries 1 \
      tokenizers==0.22.2 sentencepiece==0.2.3 scikit-build-core pathspec && touch "$venv/ready"
}

command -v npm >/dev/null || skip 'npm is not installed'
mkdir -p "$cache" 2>/dev/null || skip "$cache cannot be written"
prepare >"$cache/prepare.log" 2>&1 ||
  skip "the packages tokenizers and sentencepiece cannot be had: $(tail -n 1 "$cache/prepare.log")"
exec "$cache/venv-1/bin/python" tests/vocabularies/check.py "$build" "${@:-small}"
