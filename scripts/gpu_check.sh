#!/usr/bin/env bash
# Builds saslm for this machine's GPU and checks it there: scripts/gpu_check.py says what, and takes the same options.
# Needs CUDA (nvcc, cuBLASLt), CMake and Python. The other libraries come from the system (scripts/setup.sh) or, where
# nothing can be installed, from a folder made by scripts/stage_deps.sh on another machine:
#   scripts/gpu_check.sh [--deps FOLDER] [--build FOLDER] [options of gpu_check.py]
set -euo pipefail
cd "$(dirname "$0")/.."

deps='' build=build_gpu
while [ $# -gt 0 ]; do
  case $1 in
    --deps) deps=$(realpath "$2"); shift 2 ;;
    --build) build=$2; shift 2 ;;
    *) break ;;
  esac
done

options=(-DSASLM_CUDA=ON)
if [ -n "$deps" ]; then
  root=$(realpath -m "$build/deps")
  mkdir -p "$root"
  for package in "$deps"/packages/*.deb; do
    if command -v dpkg >/dev/null; then dpkg -x "$package" "$root"; else ar p "$package" data.tar.xz | tar -xJ -C "$root"; fi
  done
  libraries=$root/usr/lib/x86_64-linux-gnu
  options+=("-DCMAKE_PREFIX_PATH=$root/usr")
  export PATH=$PATH:$root/usr/bin LD_LIBRARY_PATH=$libraries:$root/lib/x86_64-linux-gnu:${LD_LIBRARY_PATH:-}
  export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$root/usr/share/pkgconfig
fi

# nvcc off the PATH; cuBLAS as a Python package rather than in the toolkit.
command -v nvcc >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
blas=$(python3 -c 'import glob, site; print(next(iter(glob.glob(site.getsitepackages()[0] + "/nvidia/cu*/include/cublasLt.h")), ""))')
if [ -n "$blas" ]; then
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$(dirname "$(dirname "$blas")")/lib
  export CMAKE_INCLUDE_PATH=$(dirname "$blas")
fi
if capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .); then
  [ "$capability" = 90 ] && capability=90a
  options+=("-DSASLM_CUDA_ARCHITECTURES=$capability-real")
fi

mkdir -p "$build"
started=$SECONDS
cmake -S . -B "$build" -G Ninja "${options[@]}" >"$build/build.log" || { cat "$build/build.log"; exit 1; }
grep CUDA "$build/build.log" || true
cmake --build "$build" --target saslm gpu_layout gpu_kernels gpu_backend >>"$build/build.log" 2>&1 || { tail -n 60 "$build/build.log"; exit 1; }
exec python3 scripts/gpu_check.py --build "$build" --build-seconds $((SECONDS - started)) ${deps:+--text "$deps/text"} "$@"
