#!/usr/bin/env bash
# Installs what is needed, builds the program and its tests, and runs every test this machine can run.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh build
[ -d build/CMakeFiles/saslm_cuda_kernels.dir ] && scripts/kernel_resources.py build  # registers; fails on spills
# One more at a time than there are cores: tests of ranks wait rather than compute.
OMP_NUM_THREADS=1 ctest --test-dir build --parallel "$(($(nproc) + 1))" --output-on-failure --no-tests=error
tables=build/tests/ptx/results/tables.md  # kernels and whole runs as PTX, how far from the CPU: docs/ptx.md
[ ! -e $tables ] || cat $tables
# Fuzzes every parser briefly; for longer runs: scripts/fuzz.sh
if [ -e "$(clang++ --print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer-$(uname -m).a" ]; then
  scripts/fuzz.sh --seconds 2
fi
