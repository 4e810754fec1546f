#!/usr/bin/env bash
# The unit tests once more, built by the other compiler (clang++) with AddressSanitizer and UBSan.
#   scripts/test_sanitized.sh [FOLDER] [CMAKE OPTIONS...]      needs clang, libomp-dev and libclang-rt
# With -DSASLM_UNITY=OFF each file is compiled for itself, which takes five times as long and shows what one includes by way
# of another.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-build-sanitized}
[ $# -gt 0 ] && shift
scripts/build.sh "$folder" -DCMAKE_CXX_COMPILER=clang++ -DSASLM_SANITIZE=address,undefined -DSASLM_CUDA=OFF "$@"
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 KMP_BLOCKTIME=0
OMP_NUM_THREADS=1 ctest --test-dir "$folder" --output-on-failure --no-tests=error -L cpu -j "$(($(nproc) + 1))"
