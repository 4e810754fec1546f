#!/usr/bin/env bash
# The unit tests once more, built by the other compiler (clang++) with AddressSanitizer and UBSan.
#   scripts/test_sanitized.sh [FOLDER]      needs clang, libomp-dev and libclang-rt
# Each file is compiled for itself: that shows what one includes by way of another.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-build-sanitized}
scripts/build.sh "$folder" -DCMAKE_CXX_COMPILER=clang++ -DSASLM_SANITIZE=address,undefined -DSASLM_UNITY=OFF
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 KMP_BLOCKTIME=0
ctest --test-dir "$folder" --output-on-failure --no-tests=error -L cpu -j2
