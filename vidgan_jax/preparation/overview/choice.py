"""Chooses clips to look at: by lot, and from as many videos as there are."""

from collections.abc import Sequence

import numpy as np

from vidgan_jax.data import records


def choose(
    sources: Sequence[records.ClipSource], num: int, seed: int, *, with_maps: bool = False
) -> list[tuple[records.ClipSource, int]]:
    """Draws clips: no video gives a second one before every video has given one.

    A smaller `num` with the same seed gives the beginning of the same list.

    Args:
      sources: splits of a data set.
      num: clips wanted.
      seed: of the lots.
      with_maps: only clips with a label map.

    Returns:
      Source and number of each clip, in the order of the lots; fewer than `num` where there are no
      more.

    Raises:
      ValueError: `num` is below 1, or `seed` below 0.
    """
    if num < 1 or seed < 0:
        raise ValueError(f"num (={num}) must be at least 1, and seed (={seed}) at least 0")
    rng = np.random.default_rng(seed)
    found = []
    for place, source in enumerate(sources):
        clips = np.flatnonzero(source.has_label_map) if with_maps else np.arange(len(source))
        clips = rng.permutation(clips)
        lots = rng.random(len(source.video_ids))
        turns = [0] * len(source.video_ids)
        for clip in clips.tolist():
            video = int(source.video[clip])
            found.append((turns[video], lots[video], place, clip))
            turns[video] += 1
    return [(sources[place], clip) for _, _, place, clip in sorted(found)[:num]]
