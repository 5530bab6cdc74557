#!/usr/bin/env bash
# check.sh - the small part of the measurements that runs among the tests: check.py.
#
#   tests/quality/check.sh [BUILD]   BUILD: the folder of the build (build)
set -euo pipefail
cd "$(dirname "$0")/../.."
export XQUANTD=${XQUANTD:-$PWD/${1:-build}/xquantd} PYTHONDONTWRITEBYTECODE=1
exec python3 tests/quality/check.py
