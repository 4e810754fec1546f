#!/usr/bin/env bash
# Collects what a GPU machine without network or package manager needs to build and test saslm: the libraries as the
# distribution's packages (30 MB, 20 of them ICU), and text to train on. Run here, copy FOLDER along, and there
# scripts/gpu_check.sh --deps FOLDER unpacks and uses it. That machine's C library must be at least as new as this
# one's. NCCL is not included (218 MB, 189 MB compressed): where CUDA or PyTorch brings it, gpu_check.sh finds it.
#   scripts/stage_deps.sh [FOLDER]    default: build_deps
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-build_deps}")

scripts/setup.sh
mkdir -p "$folder/packages"
scripts/sample_text.sh "$folder/text"

# The libraries, and what they need, but for what every compiler brings and for other libraries' tests and sources.
brought='^(libc6.*|libc-dev|libgcc-s1|libstdc\+\+6|libgomp1|gcc-.*|debconf|catch2|googletest|dpkg|python3.*|<.*)$'
mapfile -t wanted <scripts/libraries.txt
wanted+=(libgtest-dev libgmock-dev ninja-build pkg-config)
declare -A seen=()
while [ ${#wanted[@]} -gt 0 ]; do
  package=${wanted[0]}
  wanted=("${wanted[@]:1}")
  [[ -n "${seen[$package]:-}" || $package =~ $brought ]] && continue
  seen[$package]=1
  mapfile -t needs < <(apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$package" | sed -n 's/^ *|\?\(Pre\)\?Depends: //p')
  wanted+=("${needs[@]}")
done

rm -f "$folder"/packages/*.deb
(cd "$folder/packages" && apt-get download -qq -o APT::Sandbox::User=root "${!seen[@]}")
echo "$(ls "$folder/packages" | wc -l) packages and text in $folder: $(du -sh "$folder" | cut -f1)"
