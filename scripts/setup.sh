#!/usr/bin/env bash
# Installs the packages that saslm needs from the distribution (Debian 12 or newer, Ubuntu 22.04 or newer).
#   scripts/setup.sh [--program]      --program: without the packages for tests and for ranks under mpirun
set -euo pipefail
cd "$(dirname "$0")"

mapfile -t libraries <libraries.txt
packages=(
  g++ cmake ninja-build pkg-config
  "${libraries[@]}"
  python3 python3-matplotlib bible-kjv bible-kjv-text
)
if [ "${1:-}" != --program ]; then
  packages+=(
    libgtest-dev libgmock-dev
    clang clang-format  # the race build of the kernels; the layout of lines
    libopenmpi-dev openmpi-bin  # CPU ranks; the program builds without
  )
fi
. /etc/os-release
[ "$ID" = debian ] && [ "${1:-}" != --program ] && packages+=(libclang-rt-dev)  # the fuzzers' runtime; elsewhere it comes with clang, or they rest

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=''
[ "$(id -u)" -eq 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
