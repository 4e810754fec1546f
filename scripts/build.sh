#!/usr/bin/env bash
# Builds everything that this machine can build into build/ (or the given folder); the program is build/saslm.
# cmake/find_cuda.cmake looks for CUDA; the script prints what it found, or why the program is for CPUs only.
#   scripts/build.sh [--no-tests] [FOLDER] [CMAKE OPTIONS...]
# CUDA is used if it is found, also in a folder that was made without it (scripts/quickstart.sh); -DSASLM_CUDA=OFF leaves
# it out. A new folder compiles the files of a layer together (SASLM_UNITY): a full build takes a fifth of the time, one
# changed file up to 45 s. To change single files often, give -DSASLM_UNITY=OFF once; a folder keeps that setting.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=ON
[ "${1:-}" = --no-tests ] && { tests=OFF; shift; }
folder=${1:-build}
[ $# -gt 0 ] && shift

new=()
[ -e "$folder/CMakeCache.txt" ] || new=(-DSASLM_UNITY=ON)
mkdir -p "$folder"
cmake -S . -B "$folder" -G Ninja -DSASLM_TESTS=$tests -DSASLM_CUDA=ON "${new[@]}" "$@" >"$folder/configure.log" || { cat "$folder/configure.log"; exit 1; }
sed -n 's/^-- \(CUDA \|No nvcc\|NCCL\|No NCCL\)/\1/p' "$folder/configure.log"
cmake --build "$folder"
