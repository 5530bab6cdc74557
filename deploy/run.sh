#!/usr/bin/env bash
# run.sh - serves the model that a first start should answer with: run.sh PROGRAM [OPTION...]
#
# SmolLM2-135M-Instruct where it is in the cache folder or can be had within a minute; else the
# model that ships, which always can, and why is said. What has come by then is kept, and the next
# start goes on from there. A model that the options or the environment name is served as it is.
set -uo pipefail
program=$1
shift
name=${RUN_MODEL:-smollm2-135m-instruct} seconds=${RUN_SECONDS:-60}

[ -z "${XQUANTD_MODEL:-}${XQUANTD_CONFIG:-}" ] || exec "$program" serve "$@"
for option; do
  case $option in
    -m* | --model | --model=* | --config | --config=* | --help | --version | --print-config | --healthcheck)
      exec "$program" serve "$@" ;;
  esac
done
if why=$("$program" pull --timeout "$seconds" "$name" 2>&1 >/dev/null); then
  echo "serving $name (\`xquantd models\` lists others)" >&2
  exec "$program" serve --model "$name" "$@"
fi
echo "$why" >&2
echo "serving the model that ships instead, which knows little: seedling-32m-mha" >&2
exec "$program" serve "$@"
