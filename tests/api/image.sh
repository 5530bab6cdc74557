#!/usr/bin/env bash
# image.sh - the container image answers as non-root and stops on SIGTERM: image.sh IMAGE [MODEL]
#
# With MODEL also IMAGE-MODEL, which serves that one.
#
# With docker where an engine answers, else with buildah as deploy/image.sh. Loopback only.
set -uo pipefail
image=${1:?} model=${2-}
port=${PORT:-18480} admin=${ADMIN_PORT:-18490}
drain_seconds=30
passed=0 failed=0 pid='' container=''
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

check() { # check WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    passed=$((passed + 1))
    echo "ok    $what"
  else
    failed=$((failed + 1))
    echo "FAIL  $what"
  fi
}
remove() {
  if [ "$engine" = docker ]; then
    docker rm -f "$container" >/dev/null 2>&1
  else
    [ -n "$container" ] && buildah rm "$container" >/dev/null 2>&1
  fi
  container=''
}
finish() {
  [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
  remove
  rm -f "$log"
}

engine=buildah
command -v docker >/dev/null && docker info >/dev/null 2>&1 && engine=docker
log=$(mktemp)
trap finish EXIT

# config FIELD: of the image, as jq prints it.
config() {
  if [ "$engine" = docker ]; then
    docker image inspect "$image" | jq -rc ".[0].Config.$1"
  else
    buildah inspect --type image "$image" | jq -rc ".Docker.config.$1"
  fi
}

# The process of a name among the descendants of another.
descendant() {
  local child
  for child in $(ps -o pid= --ppid "$1"); do
    if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = "$2" ]; then echo "$child"; else descendant "$child" "$2"; fi
  done
}

start() {
  local options=(serve --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$admin"
    --cache-size 64MiB --shutdown-timeout "$drain_seconds")
  if [ "$engine" = docker ]; then
    container=$(docker run -d --read-only --cap-drop ALL --network host "$image" "${options[@]}")
    return
  fi
  container=$(buildah from "$image")
  # shellcheck disable=SC2046 # the words of the entry point
  buildah run --user "$(config User)" "$container" -- \
    $(config Entrypoint | jq -r '.[]') "${options[@]}" >"$log" 2>&1 &
  runner=$!
}
stop() { # ask it to stop; its exit code
  local started=$SECONDS status
  if [ "$engine" = docker ]; then
    docker stop -t $((drain_seconds + 10)) "$container" >/dev/null
    status=$(docker inspect -f '{{.State.ExitCode}}' "$container")
  else
    kill -TERM "$pid"
    wait "$runner"
    status=$?
    pid=''
  fi
  [ $((SECONDS - started)) -le "$drain_seconds" ] && [ "$status" = 0 ]
}
healthy() {
  for _ in $(seq 300); do
    curl -fsS --max-time 2 "http://127.0.0.1:$port/health" && return
    read -rt 0.1 <> <(:) || true
  done
  return 1
}
completes() {
  local text
  text=$(curl -fsS --max-time 60 "http://127.0.0.1:$port/v1/chat/completions" \
    -H 'Content-Type: application/json' \
    -d '{"messages":[{"role":"user","content":"Hello"}],"max_tokens":8,"temperature":0}' |
    jq -r '.choices[0].message.content')
  [ -n "$text" ] && [ "$text" != null ]
}
# The model that is served is the one that the variable names, from the folder of the image.
serves_model() {
  local file
  file=$(awk -F '\t' -v name="$model" '$1 == name {print $6}' models/catalog.tsv)
  [ -n "$file" ] && curl -fsS "http://127.0.0.1:$port/v1/models" |
    jq -e --arg id "${file%.gguf}" '.data[0].id == $id'
}
not_root() {
  [ "$engine" = docker ] || [ "$(stat -c %u "/proc/$pid")" = 10001 ]
}

check_image() {
  check 'its user is 10001:10001' test "$(config User)" = 10001:10001
  check 'its entry point is the program' test "$(config Entrypoint)" = '["/usr/bin/xquantd"]'
  check 'its stop signal is SIGTERM' test "$(config StopSignal)" = SIGTERM
  check 'it has a health check' test "$(config 'Healthcheck.Test[0]')" = CMD
  start
  check 'it becomes healthy' healthy
  [ "$engine" = buildah ] && pid=$(descendant "$runner" xquantd | head -n 1)
  check 'it runs as the user' not_root
  check 'it answers a completion' completes
}
check_image
check 'it stops on SIGTERM with exit code 0' stop
if [ -n "$model" ]; then
  remove
  image=$image-$model
  check_image
  check "it serves $model" serves_model
  check "its variable names $model" grep -qx "XQUANTD_MODEL=$model" <(config 'Env[]')
  check 'it stops on SIGTERM with exit code 0' stop
fi
[ "$failed" = 0 ] || tail -n 20 "$log"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
