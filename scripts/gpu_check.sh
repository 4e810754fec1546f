#!/usr/bin/env bash
# Builds saslm for this machine's GPU and tests it there; see scripts/gpu_check.py for the tests and options. Builds
# only what the parts named by --only need, for at most 8 minutes; the same command continues from there. Needs CUDA
# (nvcc, cuBLASLt), CMake and Python. The other libraries come from the system (scripts/setup.sh) or, if nothing can be
# installed, from a folder made by scripts/stage_deps.sh on another machine:
#   scripts/gpu_check.sh [--deps FOLDER] [--build FOLDER] [options of gpu_check.py]
set -euo pipefail
cd "$(dirname "$0")/.."

deps='' build=build_gpu
case " $* " in *' --list '* | *' --help '* | *' -h '*) exec python3 scripts/gpu_check.py "$@" ;; esac
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
  libraries=$root/usr/lib/$(uname -m)-linux-gnu
  options+=("-DCMAKE_PREFIX_PATH=$root/usr")
  export PATH=$PATH:$root/usr/bin LD_LIBRARY_PATH=$libraries:$root/lib/$(uname -m)-linux-gnu:${LD_LIBRARY_PATH:-}
  export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$libraries/pkgconfig:$root/usr/share/pkgconfig
fi

# nvcc off the PATH; cuBLAS and NCCL as Python packages rather than in the toolkit, as PyTorch brings them.
command -v nvcc >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
for header in 'cu*/include/cublasLt.h' nccl/include/nccl.h; do
  found=$(python3 -c 'import glob, site, sys; print(next(iter(glob.glob(site.getsitepackages()[0] + "/nvidia/" + sys.argv[1])), ""))' "$header")
  if [ -n "$found" ]; then
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$(dirname "$(dirname "$found")")/lib
    export CMAKE_INCLUDE_PATH=${CMAKE_INCLUDE_PATH:+$CMAKE_INCLUDE_PATH:}$(dirname "$found")
  fi
done
if capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .); then
  [ "$capability" = 90 ] && capability=90a
  options+=("-DSASLM_CUDA_ARCHITECTURES=$capability-real")
fi

programs=$(python3 scripts/gpu_check.py --programs "$@")
[ -e "$build/CMakeCache.txt" ] || options+=(-DSASLM_UNITY=ON)
mkdir -p "$build"
started=$SECONDS
cmake -S . -B "$build" -G Ninja "${options[@]}" >"$build/build.log" || { cat "$build/build.log"; exit 1; }
grep -E 'CUDA|NCCL' "$build/build.log" || true
targets=(saslm)
for program in $programs; do
  [ "$program" = gpu_ranks ] && ! grep -q 'NCCL: training' "$build/build.log" || targets+=("$program")
done
# A part that does not build fails; the others still run.
code=0
timeout --kill-after=5 480 cmake --build "$build" --target "${targets[@]}" -- -k 0 >>"$build/build.log" 2>&1 || code=$?
[ $code -eq 0 ] || tail -n 60 "$build/build.log"
[ $code -ne 124 ] && [ $code -ne 137 ] ||
  { echo "not built within 8 minutes; nothing was checked; the same command continues from here"; exit 1; }
exec python3 scripts/gpu_check.py --build "$build" --build-seconds $((SECONDS - started)) ${deps:+--text "$deps/text"} "$@"
