#!/usr/bin/env bash
# deps.sh - the Debian packages that xquantd needs, by purpose, and their installation.
#
#   deploy/deps.sh build test image   install what is missing of these groups
#   deploy/deps.sh --list runtime     print a group's packages, one a line
#
# Asks dpkg first, so that it costs milliseconds where nothing is missing. Installs as root
# or through sudo without a password; otherwise names the packages and exits 1. On systems
# without dpkg it does nothing: the compiler will name what it misses.
set -euo pipefail
cd "$(dirname "$0")/.."

# package, or package=command where any origin of the command will do.
packages() {
  case $1 in
    build) echo gcc=gcc make=make pkg-config=pkg-config libc6-dev libmicrohttpd-dev \
      libcjson-dev libuv1-dev libopenblas-dev libpcre2-dev libxxhash-dev libinih-dev \
      libcurl4-openssl-dev libssl-dev libgnutls28-dev libutf8proc-dev ;;
    test) echo libcmocka-dev clang=clang clang-format=clang-format curl=curl jq=jq git=git \
      python3=python3 python3-pip=pip3 python3-jinja2 nodejs=node npm=npm ;;
    fuzz) echo libclang-rt-14-dev ;;
    figures) echo gnuplot-nox=gnuplot jq=jq ;;
    arm64) echo gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc libc6-dev-arm64-cross clang=clang \
      qemu-user=qemu-aarch64 ;;
    haswell) echo qemu-user=qemu-x86_64 ;;
    image) echo buildah=buildah debootstrap=debootstrap curl=curl jq=jq ;;
    runtime) echo libmicrohttpd12 libcjson1 libuv1 libopenblas0-pthread libpcre2-8-0 \
      libxxhash0 libinih1 libcurl4 libssl3 libgnutls30 libutf8proc2 ca-certificates ;;
    *) echo "deps.sh: there is no group '$1'" >&2; exit 2 ;;
  esac
}

missing() {
  local wanted=() entry
  for entry in $(for group; do packages "$group"; done); do
    case $entry in
      *=*) PATH=$PATH:/usr/sbin:/sbin command -v "${entry#*=}" >/dev/null || echo "${entry%%=*}" ;;
      *) wanted+=("$entry") ;;
    esac
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/ installed$//p' || true)
  printf '%s\n' "${wanted[@]}" | grep -vxF "${installed:-/}" || true
}

# The metrics test wants promtool alone, not the server that its package starts.
fetch_promtool() {
  command -v promtool >/dev/null || [ -x build/tools/promtool ] && return
  local dir
  dir=$(mktemp -d)
  (cd "$dir" && apt-get -qq download prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb .) ||
    (as_root apt-get -qq update && cd "$dir" && apt-get -qq download prometheus >/dev/null &&
      dpkg-deb -x prometheus_*.deb .)
  mkdir -p build/tools
  cp "$dir/usr/bin/promtool" build/tools/promtool
  rm -rf "$dir"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if [ "${1-}" = --list ]; then
  shift
  for group; do packages "$group"; done | tr ' ' '\n' | sed 's/=.*//'
  exit
fi
command -v dpkg-query >/dev/null || exit 0
names=$(missing "$@" | sort -u | tr '\n' ' ')
if [ -n "${names// /}" ]; then
  if ! as_root true 2>/dev/null; then
    echo "xquantd needs these Debian packages, please install them: ${names% }" >&2
    exit 1
  fi
  echo "installing ${names% }" >&2
  as_root apt-get -qq update
  # shellcheck disable=SC2086 # a list of names
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends $names >/dev/null
fi
case " $* " in
  *' test '*) fetch_promtool || echo 'deps.sh: promtool could not be fetched' >&2 ;;
esac
