"""What the unconditional networks share: resolutions from 4×4 up, some of which double time too.

A *stage* is a doubling of resolution, counted from the 4×4 end in generators and discriminators
alike; `time_stages` names those that double (generator) or halve (discriminator) time as well.
"""

from collections.abc import Sequence

import jax

BASE_SIZE = 4


def num_stages(size: int) -> int:
    """Doublings from 4×4 to `size`×`size`.

    Raises:
      ValueError: `size` is not 4·2ⁿ with n > 0.
    """
    stages = (size // BASE_SIZE).bit_length() - 1
    if stages < 1 or BASE_SIZE << stages != size:
        raise ValueError(f"size (={size}) must be 8, 16, 32, 64, 128, …")
    return stages


def base_frames(num_frames: int, stages: int, time_stages: Sequence[int]) -> int:
    """Frames at the small end of a network of clips; 0 for images.

    Raises:
      ValueError: a time stage that the network lacks or that is named twice, or frames that can't
        be halved that often.
    """
    if num_frames == 0:
        return 0
    if len(set(time_stages)) != len(time_stages) or not set(time_stages) <= set(range(stages)):
        raise ValueError(
            f"time_stages (={tuple(time_stages)}) must be different numbers from 0 to {stages - 1}"
            f": the resolution is doubled {stages} times"
        )
    base, rest = divmod(num_frames, 1 << len(time_stages))
    if rest or base == 0:
        raise ValueError(
            f"num_frames (={num_frames}) must be a multiple of {1 << len(time_stages)}, since "
            f"{len(time_stages)} time stages double it"
        )
    return base


def scales(rank: int, in_time: bool) -> tuple[int, ...]:
    """Factors of a stage, one for each axis."""
    return ((2 if in_time else 1),) * (rank - 2) + (2, 2)


def check_size(x: jax.Array, size: int) -> None:
    """Refuses frames of another size than a discriminator's."""
    if x.shape[-3:-1] != (size, size):
        raise ValueError(f"input {x.shape} must have frames of {size}×{size}")


def refuse_condition(cond: jax.Array | None) -> None:
    """For networks that take none."""
    if cond is not None:
        raise ValueError("this GAN is unconditional: it takes no label map")
