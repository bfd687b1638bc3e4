#!/usr/bin/env bash
# What is inflation worth? Trains 2D GANs, then 3D ones from scratch and from differently inflated
# starts, equal budgets and seeds, and writes a report to ./inflation_study/report.
# Run again, it goes on where it was stopped. Environment variables:
#   FAMILIES  "dcgan resnet"   SEEDS  "0 1 2"   OUT  inflation_study
#   VARIANT   of the configs: study (default) is for two CPU cores, VARIANT= the full recipe for a GPU
#   SIZE      of the scenes' frames, pixels: 40, or 160 with VARIANT=
#   STEPS_2D, STEPS_3D  lengths of training (default: the configs')
#   NUM       clips that each checkpoint is scored by (default 256)
#   JOBS      chains of runs at once (default 1), the cores shared out among them
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/environment.sh
source launch/environment.sh
install_package "study"

families=${FAMILIES:-dcgan resnet} seeds=${SEEDS:-0 1 2} jobs=${JOBS:-1}
export python out=${OUT:-inflation_study} variant=${VARIANT-study}
export steps_2d=${STEPS_2D:-} steps_3d=${STEPS_3D:-}
size=${SIZE:-$([[ $variant ]] && echo 40 || echo 160)}
begun=$(date +%s)
export begun
# Runs differ in seed and start only: what one has compiled the next one finds.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$out/programs}
((jobs == 1)) || export PJRT_NPROC=$(($(nproc) > jobs ? $(nproc) / jobs : 1))

say() { printf '\n== %s (%d s)\n' "$1" "$(($(date +%s) - begun))"; }

# train WORKDIR CONFIG STEPS [ARGUMENT…]: goes on, or returns at once where the same was finished.
# A run whose losses are not finite any more is a result: the report names it.
train() {
  local workdir=$1 config=configs/$2.py${variant:+:$variant} steps=$3 status=0
  shift 3
  local arguments=(--config="$config" --config.data.path="$out/data" "$@")
  [[ -z $steps ]] || arguments+=(--config.train.num_steps="$steps" --config.train.num_epochs=0.0)
  [[ $(cat "$workdir/finished" 2>/dev/null) != "${arguments[*]}" ]] || return 0
  say "$workdir"
  mkdir -p "$workdir"
  "$python" -m vidgan_jax.main --workdir="$workdir" "${arguments[@]}" 2>&1 |
    tee -i "$workdir/log.txt" || status=$?
  if ((status == 2)) && grep -q "not finite" "$workdir/log.txt"; then
    echo "$workdir diverged; the study goes on without its later steps"
  elif ((status)) || ! grep -q "^done: " "$workdir/log.txt"; then
    return "$((status ? status : 130))"
  fi
  echo "${arguments[*]}" >"$workdir/finished"
}

# inflate FOLDER CONFIG START PROFILE MODE NOISE: FOLDER/2d → FOLDER/start_START, unless that is there.
inflate() {
  local target=$1/start_$3
  if [[ -d $target/checkpoints/0 ]]; then
    [[ $1/2d/finished -nt $target/checkpoints/0 ]] || return 0
    echo "error: $1/2d was trained on after it had been inflated; give another OUT" >&2
    return 2
  fi
  say "$target"
  rm -rf "$target"
  "$python" -m vidgan_jax.inflate --from "$1/2d" --config "configs/$2.py${variant:+:$variant}" \
    --config.init.profile="$4" --config.init.mode="$5" --config.init.temporal_noise="$6" --out "$target"
}

# chain FAMILY SEED: the 2D run, and all 3D runs of this seed.
chain() {
  local folder=$out/$1/seed$2 start
  train "$folder/2d" "${1}2d" "$steps_2d" --config.train.seed="$2"
  train "$folder/scratch" "${1}3d" "$steps_3d" --config.train.seed="$2" --config.init.path=
  # Without spectral norm, as in the ResNet, the thesis's formula is the exact one.
  for start in $([[ $1 == resnet ]] || echo thesis) average central noise; do
    case $start in
      thesis) inflate "$folder" "${1}3d" "$start" average thesis 0.0 ;;
      noise) inflate "$folder" "${1}3d" "$start" average exact 1.0 ;;
      *) inflate "$folder" "${1}3d" "$start" "$start" exact 0.0 ;;
    esac
    train "$folder/$start" "${1}3d" "$steps_3d" --config.train.seed="$2" \
      --config.init.path="$folder/start_$start"
  done
}
export -f say train inflate chain

say "procedural nature scenes"
"$python" -m vidgan_jax.prepare scenes --out "$out/data" --num-videos 96 --clips-per-video 2 --size "$size"

for seed in $seeds; do
  for family in $families; do echo "$family $seed"; done
done | xargs -P "$jobs" -L 1 bash -Eeuo pipefail -c 'trap "exit 255" ERR; chain "$@"' chain

say "scores of all checkpoints, figures, report"
"$python" -m vidgan_jax.study --runs "$out" --out "$out/report" --num "${NUM:-256}"

say "done"
cat <<END
  report         $out/report/report.md
  losses         $out/report/losses_FAMILY.png
  scores         $out/report/scores_FAMILY.png
  samples        $out/report/contact_sheet_FAMILY_START.png and .mp4
  TensorBoard    $python -m tensorboard.main --logdir $out
END
