#!/usr/bin/env bash
# image.sh - builds the container image: IMAGE=name VERSION= REVISION= deploy/image.sh
#
# With MODEL=name of the catalogue and PROGRAM= also $IMAGE-$MODEL, which serves that model without
# network: the program fetches it here, where there is some.
#
# With docker where an engine answers. Otherwise with buildah, which needs none, on a base
# that debootstrap makes from the apt mirror this machine is set up with and that is kept in
# the user's cache folder; apt's configuration is lent to the build and not left in the image.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${IMAGE:-localhost/xquantd:latest}
suite=bookworm
base=localhost/debian:$suite-slim
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/xquantd
arguments=(--build-arg "VERSION=${VERSION:-}" --build-arg "REVISION=${REVISION:-}"
  --build-arg "CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ)")

# with_model BUILDER...: the image with $MODEL inside. Its context holds the one file, by a link
# where it can, for a model may be larger than what is left of the disk.
with_model() {
  local file context licence
  file=$("${PROGRAM:?}" pull "$MODEL")
  licence=$("$PROGRAM" models --json | jq -r --arg name "$MODEL" '.[] | select(.name == $name).licence')
  context=$(mktemp -d -p "$(dirname "$file")" 2>/dev/null || mktemp -d)
  ln "$file" "$context/" 2>/dev/null || cp "$file" "$context/"
  local status=0
  "$@" --file deploy/model.Dockerfile --build-arg "BASE=$image" --build-arg "NAME=$MODEL" \
    --build-arg "FILE=$(basename "$file")" --build-arg "LICENCES=$licence" \
    --tag "$image-$MODEL" "$context" || status=$?
  rm -rf "$context"
  return $status
}

if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
  docker build "${arguments[@]}" --tag "$image" .
  [ -z "${MODEL:-}" ] || with_model docker build
  exit
fi
if [ "$(id -u)" != 0 ]; then
  echo 'image.sh: no docker engine answers, and buildah here needs root' >&2
  exit 1
fi
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

# The first mirror of apt's own sources that has the suite.
mirror() {
  [ -n "$(ls /var/lib/apt/lists/*_Packages* 2>/dev/null)" ] || apt-get -qq update
  # shellcheck disable=SC2016 # a format of apt's
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Codename: $suite" | head -n 1
}

make_base() {
  local tree=$cache/$suite.tar work
  mkdir -p "$cache"
  if [ ! -s "$tree" ]; then
    echo "  BASE  $tree"
    work=$(mktemp -d)
    # ca-certificates: the mirror may be reached over TLS
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" "$(mirror)" \
      >"$cache/debootstrap.log" 2>&1 || { tail -n 5 "$cache/debootstrap.log" >&2; exit 1; }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* \
      "$work/root/etc/apt/sources.list"
    tar -C "$work/root" -cf "$tree.new" .
    mv "$tree.new" "$tree"
    rm -rf "$work"
  fi
  local container
  container=$(buildah from scratch)
  buildah add -q "$container" "$tree" / >/dev/null
  buildah config --cmd bash "$container"
  buildah commit -q "$container" "$base" >/dev/null
  buildah rm "$container" >/dev/null
}

buildah inspect --type image "$base" >/dev/null 2>&1 || make_base
# The docker format keeps HEALTHCHECK; volumes are seen by RUN alone.
buildah bud --quiet --layers --format docker --build-arg "BASE=$base" "${arguments[@]}" \
  --volume /etc/apt:/etc/apt:ro --tag "$image" . >/dev/null
echo "$image"
[ -n "${MODEL:-}" ] || exit 0
with_model buildah bud --quiet --format docker >/dev/null
echo "$image-$MODEL"
