#!/usr/bin/env bash
# Builds and runs what concerns one part of the program, for the loop of editing and trying.
#   scripts/check.sh NAME...         each a kernel (kernels/NAME.h), a room (src/NAME), or a test of tests/app (test_NAME.py)
#   scripts/check.sh fast            every unit test and every check of the sources: under a minute once it is built
#   scripts/check.sh --whole NAME... of a kernel also the sanitized and the race build, and its mutants
# A kernel: its unit tests (CPU twin, formula, slopes) and its CUDA source on the SIMT layer. Builds in build/; in a new
# folder each file is compiled for itself, so that a change costs one file, and without nvcc: SASLM_BUILD=FOLDER for another.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${SASLM_BUILD:-build}
whole=''
[ "${1:-}" != --whole ] || { whole=yes; shift; }
[ $# -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
[ -e "$folder/CMakeCache.txt" ] || cmake -S . -B "$folder" -G Ninja -DSASLM_CUDA=OFF >/dev/null
jobs=$(nproc)

targets=() entries=() programs=() scripts=()
suites_of() {  # of a GoogleTest file, as a filter
  sed -nE 's/^(TEST|TEST_F|TEST_P|TYPED_TEST)\((\w+),.*/\2/p' "$1" | sort -u | sed 's/.*/*&*.*/' | paste -sd:
}
filtered() {  # a test program, of one file alone
  programs+=("$1 --gtest_brief=1 --gtest_filter=$(suites_of "$2")")
}

for name in "$@"; do
  found=''
  if [ "$name" = fast ]; then
    found=yes
    mapfile -t rooms < <(sed -nE 's/^ *saslm_tests\((\w+) .*/test_\1/p' tests/CMakeLists.txt)
    targets+=("${rooms[@]}")
    entries+=(-L fast)
  fi
  if [ -e "kernels/$name.h" ] || [ -e "tests/kernels/test_$name.cpp" ]; then
    found=yes
    targets+=(test_kernels)
    [ ! -e "tests/kernels/test_$name.cpp" ] || filtered test_kernels "tests/kernels/test_$name.cpp"
    if [ -e "tests/simt/test_$name.cpp" ]; then
      builds=(plain)
      [ -z "$whole" ] || builds=(plain asan race)
      for build in "${builds[@]}"; do targets+=("simt_${name}_$build"); done
      if [ -n "$whole" ]; then
        entries+=(-R "^simt_${name}_")
      else
        programs+=("simt/simt_${name}_plain --gtest_brief=1")
      fi
    fi
  fi
  if [ -d "src/$name" ] && [ -d "tests/$name" ] && [ "$name" != app ]; then
    found=yes
    targets+=("test_$name")
    programs+=("test_$name --gtest_brief=1")
  fi
  if [ -e "tests/app/test_$name.py" ]; then
    found=yes
    targets+=(saslm saslm_interpose)
    scripts+=("tests/app/test_$name.py")
  fi
  [ -n "$found" ] || { echo "$name: wanted a kernel (kernels/NAME.h), a room (src/NAME), a test of tests/app, or fast" >&2; exit 2; }
done

cmake --build "$folder" --target "${targets[@]}"
failed=()
try() { echo "== $*"; "$@" || failed+=("$*"); }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
for program in "${programs[@]}"; do
  read -ra words <<<"$program"
  try "$folder/tests/${words[0]}" "${words[@]:1}"
done
for script in "${scripts[@]}"; do
  SASLM_INTERPOSED=$(find "$PWD/$folder" -name 'libsaslm_interpose.so') try python3 "$script" "$folder/saslm"
done
[ ${#entries[@]} -eq 0 ] || try ctest --test-dir "$folder" --parallel $((jobs + 1)) --output-on-failure --no-tests=error "${entries[@]}"
[ "$*" = fast ] || try scripts/check_layers.py
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
