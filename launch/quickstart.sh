#!/usr/bin/env bash
# From nothing to a moving scene, in ./quickstart. Run again, it goes on where it was stopped.
#   quickstart.sh        scenes → 2D GAN → inflation → 3D GAN → videos
#   quickstart.sh maps   the same for a model of label maps, which the studio draws with
# STEPS_2D and STEPS_3D set the lengths, OUT the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
if [[ $# -gt 1 || ($what != "" && $what != maps) ]]; then
  echo "error: unknown argument ${2:-$what}; there is \`maps\`, for a model of label maps" >&2
  exit 2
fi
# shellcheck source=launch/environment.sh
source launch/environment.sh

out=${OUT:-quickstart}
begun=$SECONDS

say() { printf '\n== %s (%d s)\n' "$1" "$((SECONDS - begun))"; }

# inflate FROM CONFIG OUT STEP: unless OUT is of FROM's step already.
inflate() {
  grep -q "\"step\": $4,\?$" "$3/inflation.json" 2>/dev/null && [[ -d $3/checkpoints/0 ]] && return
  rm -rf "$3"
  "$python" -m vidgan_jax.inflate --from "$1" --config "$2" --out "$3"
}

clips_of_scenes() {
  local steps_2d=${STEPS_2D:-3000} steps_3d=${STEPS_3D:-150}
  install_package "tensorboard"

  say "1/5 procedural nature scenes"
  "$python" -m vidgan_jax.prepare scenes --out "$out/data" --num-videos 96 --clips-per-video 2 --size 40

  say "2/5 a 2D GAN on their frames, $steps_2d steps"
  "$python" -m vidgan_jax.main --config=configs/resnet2d.py:smoke --workdir="$out/2d" \
    --config.data.path="$out/data" --config.train.num_steps="$steps_2d"

  say "3/5 inflation to 3D, with the proof that it is exact"
  inflate "$out/2d" configs/resnet3d.py:smoke "$out/inflated" "$steps_2d"

  say "4/5 finetuning on clips, $steps_3d steps"
  "$python" -m vidgan_jax.main --config=configs/resnet3d.py:smoke --workdir="$out/3d" \
    --config.data.path="$out/data" --config.init.path="$out/inflated" --config.train.num_steps="$steps_3d"

  say "5/5 videos"
  "$python" -m vidgan_jax.generate --checkpoint "$out/3d" --num 16 --seed 0 --out "$out/videos"
  "$python" -m vidgan_jax.generate --checkpoint "$out/3d" --num 4 --seed 1 --interpolate 24 --out "$out/interpolation"

  say "done"
  cat <<END
  video          $out/videos/contact_sheet.mp4   (single clips beside it)
  contact sheet  $out/videos/contact_sheet.png
  interpolation  $out/interpolation/interpolation.mp4
  2D samples     $out/2d/samples
  the data       $out/data/preview.png
  TensorBoard    $python -m tensorboard.main --logdir $out
END
}

# On the embedded scenes, which the first training renders, and the studio knows wherever it starts.
maps() {
  local steps_2d=${STEPS_2D:-400} steps_3d=${STEPS_3D:-150}
  install_package "studio"

  say "1/3 a 2D SPADE on nature scenes and their label maps, $steps_2d steps"
  "$python" -m vidgan_jax.main --config=configs/spade2d.py:smoke --workdir="$out/maps2d" \
    --config.train.num_steps="$steps_2d" --config.train.save_every_steps=100

  say "2/3 inflation to 3D, with the proof that it is exact"
  inflate "$out/maps2d" configs/spade3d.py:smoke "$out/maps-inflated" "$steps_2d"

  say "3/3 finetuning on clips, $steps_3d steps"
  "$python" -m vidgan_jax.main --config=configs/spade3d.py:smoke --workdir="$out/maps3d" \
    --config.init.path="$out/maps-inflated" --config.train.num_steps="$steps_3d" \
    --config.train.save_every_steps=50

  say "done"
  cat <<END
  draw           $python -m vidgan_jax.studio --checkpoint $out/maps3d
  2D samples     $out/maps2d/samples
  3D samples     $out/maps3d/samples
END
}

if [[ $what == maps ]]; then maps; else clips_of_scenes; fi
