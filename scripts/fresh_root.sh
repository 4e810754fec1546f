#!/usr/bin/env bash
# Runs a command in a fresh root of this machine's distribution (debootstrap, minbase), on a copy of this repo: anything
# the command needs that no script installs is missing there, as on a new user's machine.
#   scripts/fresh_root.sh COMMAND        exit code: COMMAND's; 77, and a line with the reason, if no root can be made
#   SASLM_MIRROR=URL scripts/fresh_root.sh --release jammy COMMAND    in a root of that release of Debian or Ubuntu
#                                                    instead, from that mirror of its distribution
#   scripts/fresh_root.sh --without-cuda COMMAND     CUDA's toolkit is not mounted; goes with --release, too
# Mounts and processes are in their own namespaces, so none outlives the command; the root is removed. A CUDA toolkit is
# mounted read-only, if there is one: setup.sh cannot install it. Needs root, debootstrap (installed if missing) and 10
# GB in ${TMPDIR:-/var/tmp}.
set -euo pipefail

none() { echo "no fresh root: $*"; exit 77; }

# debootstrap's script for the release; for one that it is too old to know (Debian 12's knows no noble), that of jammy,
# whose layout Ubuntu has kept.
layout() {
  local scripts=/usr/share/debootstrap/scripts
  [ -e "$scripts/$release" ] && echo "$scripts/$release" || echo "$scripts/jammy"
}

# The mirrors as lines of a sources.list. For this machine's release: those of the distribution that apt uses here;
# third-party mirrors are omitted. For another release: SASLM_MIRROR.
sources() {
  if [ "$release" != "$VERSION_CODENAME" ]; then
    if grep -q ubuntu-archive-keyring "$(layout)"; then
      printf "deb $SASLM_MIRROR %s main universe\n" "$release" "$release"-{updates,security}
    else  # whose security updates lie on a mirror of their own
      printf "deb $SASLM_MIRROR %s main\n" "$release" "$release-updates"
    fi
    return
  fi
  apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/^\(Debian\|Ubuntu\)|//p' | sort -u |
    grep -E "^deb [^ ]+ $release(-updates|-security)? "
}

make_root() {
  local root=$1 log=$2 mirror
  mirror=$(sources | awk -v release="$release" '$3 == release && !found++ { print $2 }')
  local with=()
  [[ $mirror != https:* ]] || with=(--include=ca-certificates)
  debootstrap --variant=minbase "${with[@]}" "$release" "$root" "$mirror" "$(layout)" >"$log" 2>&1 ||
    { tail -n 20 "$log"; none "debootstrap failed"; }
  sources >"$root/etc/apt/sources.list"
  apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-)' >"$root/etc/apt/apt.conf.d/90host" || true
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
}

mount_in() {
  local root=$1 nvcc toolkit
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" ||
    none "proc, dev and sys cannot be mounted"
  [ "$cuda" = yes ] || { echo "fresh root: without CUDA, as asked"; return; }
  nvcc=$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc) || { echo "fresh root: without CUDA, as this machine"; return; }
  # Where nvcc itself says that its toolkit is: the nvcc that PATH names may be a script in another folder.
  toolkit=$({ "$nvcc" --dryrun -E -x cu /dev/null 2>&1 || true; } | sed -n 's/^#\$ TOP=//p')
  toolkit=$(realpath -e "$toolkit" 2>/dev/null) && [ -x "$toolkit/bin/nvcc" ] ||
    { echo "fresh root: without CUDA: $nvcc does not say where its toolkit is"; return; }
  [[ $toolkit != /usr && $toolkit != /usr/lib/* ]] || { echo "fresh root: without CUDA, which is part of /usr here"; return; }
  mkdir -p "$root$toolkit"
  mount --bind "$toolkit" "$root$toolkit"
  mount -o remount,bind,ro "$root$toolkit"
  [ "$toolkit" = /usr/local/cuda ] || ln -sT "$toolkit" "$root/usr/local/cuda"
  echo "fresh root: with CUDA of $toolkit"
}

# The committed files if this is a git checkout, so that a file that was not added is missing; else everything except
# builds.
copy_repo() {
  local to=$1
  mkdir -p "$to"
  git -c safe.directory='*' archive HEAD 2>/dev/null | tar -x -C "$to" 2>/dev/null ||
    tar -c --exclude='./build*' --exclude=./.git . | tar -x -C "$to"
}

# In namespaces of its own, as their first process.
inside() {
  local folder=$1 command=$2 root=$1/root proxies
  mknod "$folder/null" c 1 3 2>/dev/null && (: >"$folder/null") 2>/dev/null || none "no device files in $folder"
  mkdir "$root"
  mount --bind "$root" "$root" 2>/dev/null || none "nothing can be mounted"  # as a mount, which tests may make private
  local started=$SECONDS
  make_root "$root" "$folder/debootstrap.log"
  mount_in "$root"
  copy_repo "$root/root/saslm"
  echo "fresh root: $(. "$root/etc/os-release" && echo "$PRETTY_NAME"), made in $((SECONDS - started)) s"
  mapfile -t proxies < <(env | grep -iE '^(http|https|no)_proxy=')
  local code=0
  chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "${proxies[@]}" bash -c "cd /root/saslm && $command" || code=$?
  [ $code -ne 77 ] || code=1  # which says something else here
  exit $code
}

. /etc/os-release
if [ "${1:-}" = --inside ]; then
  release=$2 cuda=$3
  inside "$4" "$5"
fi

release=${VERSION_CODENAME:-} cuda=yes
while [[ ${1:-} == --* ]]; do
  case $1 in
    --release) release=${2:?--release: wanted the codename of a release, such as jammy}; shift ;;
    --without-cuda) cuda=no ;;
    *) echo "$1: there is no such option" >&2; exit 2 ;;
  esac
  shift
done
[ "$release" = "${VERSION_CODENAME:-}" ] || [ -n "${SASLM_MIRROR:-}" ] ||
  { echo "--release $release: set SASLM_MIRROR to the URL of a mirror of its distribution" >&2; exit 2; }
command=${1:?usage: scripts/fresh_root.sh [--release CODENAME] [--without-cuda] COMMAND}
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || none "only root may make one"
[[ $ID =~ ^(debian|ubuntu)$ ]] || none "this is neither Debian nor Ubuntu"
update() { apt-get update -qq >/dev/null 2>&1; }
command -v debootstrap >/dev/null || { update && apt-get install -y -qq --no-install-recommends debootstrap >/dev/null 2>&1; } ||
  none "debootstrap is missing and cannot be installed"
[ -n "$(sources)" ] || update || true
[ -n "$(sources)" ] || none "apt knows no mirror of $release"
spaces=(unshare --mount --pid --fork --kill-child)
"${spaces[@]}" true 2>/dev/null || none "this machine permits no namespaces of mounts and processes"

folder=$(mktemp -d "${TMPDIR:-/var/tmp}/saslm_fresh_root_XXXXXX")
work=''
clean_up() {
  [ -z "$work" ] || { kill -KILL "$work" 2>/dev/null && wait "$work" 2>/dev/null || true; }
  rm -rf "$folder" || { sleep 2; rm -rf "$folder"; }  # the second time, where something was still dying
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
"${spaces[@]}" bash scripts/fresh_root.sh --inside "$release" "$cuda" "$folder" "$command" </dev/null &
work=$!
code=0
wait "$work" || code=$?
work=''
exit $code
