#!/usr/bin/env bash
# templates.sh - chat templates against jinja2; see check.py.
#
#   tests/templates/templates.sh [BUILD [FOLDER|FILE.json...]]   BUILD: the folder of the build (build)
#
# Besides the families here, templates of real models are compared where npm can bring the
# package that lists them, which is kept in a cache folder ($XQUANTD_TEMPLATES, or
# xquantd-templates in the user's cache). Without it the rest runs.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
shift
cache=${XQUANTD_TEMPLATES:-${XDG_CACHE_HOME:-$HOME/.cache}/xquantd-templates}
list=$cache/ollama-utils-0.0.18.json

python=
for p in python3 /usr/bin/python3; do
  "$p" -c 'import jinja2' 2>/dev/null && python=$p && break
done
if [ -z "$python" ]; then
  echo 'skipped: python3-jinja2 is not installed'
  echo '0 passed, 0 failed, 1 skipped'
  exit 0
fi

# The package's list is TypeScript: an array of objects, whose member gguf is a template.
fetch() {
  local folder
  [ -s "$list" ] && return
  command -v npm >/dev/null && mkdir -p "$cache" && folder=$(mktemp -d) || return
  (cd "$folder" && npm init -y && timeout 60 npm install --ignore-scripts \
    @huggingface/ollama-utils@0.0.18) >"$cache/fetch.log" 2>&1 &&
    node tests/templates/list.mjs \
      "$folder/node_modules/@huggingface/ollama-utils/src/chat-template-automap.ts" >"$list.new" &&
    mv "$list.new" "$list"
  rm -rf "$folder"
}
fetch
others=("$@")
[ -s "$list" ] && others+=("$list")
exec "$python" tests/templates/check.py "$build/tests/tools/render_template" "${others[@]}"
