#!/usr/bin/env bash
# A run of N processes on this machine, each with CPU devices of its own: a cluster's, tried out.
#   bash launch/local.sh 2 --config=configs/resnet2d.py:smoke --workdir=runs/two
# What stands behind N goes to vidgan_jax.main. Ctrl-C and SIGTERM save the run, as on a cluster.
# Once a process has failed the others end as well, and the exit status is the first one's.
# Environment variables:
#   DEVICES   of each process (default 1)
#   GRACE     seconds the others have to end by themselves (default 90; JAX misses a process after
#             --heartbeat-timeout-s, 60)
set -euo pipefail

if [[ ! ${1:-} =~ ^[1-9][0-9]*$ ]] || (($# == 1)); then
  echo "usage: launch/local.sh N ARGUMENT_OF_MAIN…" >&2
  exit 2
fi
num=$1
shift
[[ $1 != -- ]] || shift

cd "$(dirname "$0")/.."
# shellcheck source=launch/environment.sh
source launch/environment.sh
"$python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("jax"))' ||
  install_package "tensorboard"

export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=${DEVICES:-1} PYTHONUNBUFFERED=1
place=(--cluster=none)
if ((num > 1)); then
  port=$("$python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
  place=("--coordinator=127.0.0.1:$port" "--num-processes=$num")
fi

pids=()
forward() {
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
trap 'forward INT' INT
trap 'forward TERM' TERM
trap 'forward KILL' EXIT

# Job control gives each process a group of its own: a terminal's Ctrl-C comes here only, once.
set -m
for ((id = 0; id < num; id++)); do
  ((num == 1)) || place[2]="--process-id=$id"
  "$python" -m vidgan_jax.main "${place[@]}" "$@" \
    > >(trap '' INT && exec sed -u "s/^/[$id] /") 2> >(trap '' INT && exec sed -u "s/^/[$id] /" >&2) &
  pids[id]=$!
done

status=0
while ((${#pids[@]})); do
  sleep 0.2 || true # Ctrl-C ends it, too
  for id in "${!pids[@]}"; do
    kill -0 "${pids[id]}" 2>/dev/null && continue
    ended=0
    wait "${pids[id]}" || ended=$?
    unset "pids[id]"
    ((ended && !status)) || continue
    status=$ended
    ((${#pids[@]} == 0)) || echo "process $id has ended with status $status" >&2
    deadline=$((SECONDS + ${GRACE:-90}))
  done
  if ((status && SECONDS > deadline && ${#pids[@]})); then
    echo "process ${!pids[*]} did not end within ${GRACE:-90} s: killed" >&2
    forward KILL
  fi
done
exit "$status"
