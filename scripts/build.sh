#!/usr/bin/env bash
# Builds all that this machine can build into build/ (or the folder given); the program is build/saslm.
#   scripts/build.sh [--no-tests] [FOLDER] [CMAKE OPTIONS...]
set -euo pipefail
cd "$(dirname "$0")/.."

tests=ON
[ "${1:-}" = --no-tests ] && { tests=OFF; shift; }
folder=${1:-build}
[ $# -gt 0 ] && shift

cmake -S . -B "$folder" -G Ninja -DSASLM_TESTS=$tests "$@" >/dev/null
cmake --build "$folder"
