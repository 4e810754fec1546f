#!/usr/bin/env bash
# Builds all that this machine can build into build/ (or the folder given); the program is build/saslm. CUDA is looked for
# by cmake/find_cuda.cmake; what of it was found, or why the program is for CPUs alone, is printed.
#   scripts/build.sh [--no-tests] [FOLDER] [CMAKE OPTIONS...]
# CUDA is taken where it is found, also in a folder that was made without (scripts/quickstart.sh); -DSASLM_CUDA=OFF leaves
# it out. A new folder compiles the files of a layer together (SASLM_UNITY), all in a fifth of the time, one changed file in up to
# 45 s. Who changes single files more often gives -DSASLM_UNITY=OFF once; a folder keeps what it was made with.
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
