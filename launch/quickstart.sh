#!/usr/bin/env bash
# From nothing to a moving scene: scenes → 2D GAN → inflation → 3D GAN → videos, in ./quickstart.
# Run again, it goes on where it was stopped. STEPS_2D and STEPS_3D set the lengths.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/environment.sh
source launch/environment.sh
install_package "tensorboard"

steps_2d=${STEPS_2D:-3000} steps_3d=${STEPS_3D:-150} out=${OUT:-quickstart}
begun=$SECONDS

say() { printf '\n== %s (%d s)\n' "$1" "$((SECONDS - begun))"; }

say "1/5 procedural nature scenes"
"$python" -m vidgan_jax.prepare scenes --out "$out/data" --num-videos 96 --clips-per-video 2 --size 40

say "2/5 a 2D GAN on their frames, $steps_2d steps"
"$python" -m vidgan_jax.main --config=configs/resnet2d.py:smoke --workdir="$out/2d" \
  --config.data.path="$out/data" --config.train.num_steps="$steps_2d"

say "3/5 inflation to 3D, with the proof that it is exact"
if ! grep -q "\"step\": $steps_2d,\?$" "$out/inflated/inflation.json" 2>/dev/null ||
  [[ ! -d $out/inflated/checkpoints/0 ]]; then
  rm -rf "$out/inflated"
  "$python" -m vidgan_jax.inflate --from "$out/2d" --config configs/resnet3d.py:smoke --out "$out/inflated"
fi

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
