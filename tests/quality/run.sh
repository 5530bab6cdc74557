#!/usr/bin/env bash
# run.sh - makes the measurements of docs/quality.md, a cell at a time, and its tables.
#
#   tests/quality/run.sh OUT [PART [MODEL | MODE]...]
#
# PART: kl domains depth generation peers peer-generation all, or render, which puts the tables of what
# OUT holds into docs/quality.md (or the page named behind it). MODEL: smollm2 qwen gemma seedling-mha
# seedling-gqa, all if none is named; MODE: only these cache modes. What OUT holds already is not measured
# again. What cannot be measured here is said and left out.
#
#   XQUANTD=build/xquantd      the program; a build of the Makefile's tools beside it, for the peer's part
#   XQUANTD_SHARED=../shared   data/wiki.test.raw, data/dialogues.jsonl, models/seedling-*-f16.gguf, tools/peers
#   MODELS=FOLDER              the three real models, and plans (FILE.xplan) of those that do not ship
#   LLAMA=FOLDER LLAMA_SRC=FOLDER   the peer's libraries and headers (peers.py)
#   THREADS=N JOBS=N MODES=4   threads of a process, processes at once, modes in one; by the cores if not given
#   ITEMS=200                  items of a task
#
# Needs bash and python3 without any package, which a machine without a network is more likely to have
# than node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export XQUANTD=${XQUANTD:-$PWD/build/xquantd} PYTHONDONTWRITEBYTECODE=1
[ -x "$XQUANTD" ] || { echo "$XQUANTD is not there: make, or XQUANTD=PROGRAM" >&2; exit 1; }
exec python3 "$here/main.py" "$@"
