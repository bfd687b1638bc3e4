"""Runs the recipe "nature": its stages, then the shards; goes on where it was stopped."""

import contextlib
import dataclasses
import time
from collections.abc import Callable

from vidgan_jax.preparation import dataset
from vidgan_jax.preparation.nature import accounts, recipe
from vidgan_jax.preparation.nature.accounts import Accounts
from vidgan_jax.preparation.nature.recipe import CLIPS, SHARDS, Outcomes, Preparation
from vidgan_jax.preparation.parts import said_clearly
from vidgan_jax.preparation.stages import opened, run_stages

# Runs stages for all videos, see `run_stages`.
RunStages = Callable[..., Outcomes]


@dataclasses.dataclass(frozen=True)
class Made:
    """What a run has made.

    Attributes:
      accounts: what became of everything; None where the data set was there.
      result: the data set; None where the run was to end before it.
    """

    accounts: Accounts | None
    result: dataset.Result | None


def prepare_nature(
    preparation: Preparation,
    *,
    layout: dataset.Layout,
    until: str = SHARDS,
    redo: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    run: RunStages = run_stages,
    tell: Callable[[Accounts], None] | None = None,
) -> Made:
    """Makes a data set, or goes on with one, or finds that it is there.

    Args:
      preparation: of what, and where.
      layout: splits and shards.
      until: the last stage to run.
      redo: make this stage again, and those after it.
      workers: processes; None for one a core, 0 for none.
      overwrite: replace a data set of other settings or sources. Of its stages, those whose
        settings are the same are kept.
      progress: report on stderr.
      run: runs the stages.
      tell: called with what became of everything, before the shards are written.

    Returns:
      What was made. The tables of a data set that is there stay as they are where `until` ends
      before the shards.

    Raises:
      OutputError: `out` cannot be written, or the disk is full; finished videos are kept.
      BusyError: another run is at work there.
      ValueError: `out` holds something else, or no clip was kept.
    """
    out = preparation.out
    layout.check(video.video_id for video in preparation.videos)
    empty = preparation.recipe({}, {})
    stages = preparation.stages(until)
    _check_redo(redo, until, preparation)
    found_set = dataset.find(empty, out, layout, overwrite) if until == SHARDS else None
    if found_set is not None and redo is None:
        return Made(None, dataset.prepare(empty, out, layout=layout, progress=progress))
    started = time.monotonic()
    with opened(stages, overwrite=overwrite):
        if redo is not None:
            for name in recipe.STAGES[recipe.STAGES.index(redo) :]:
                if name in preparation.parts:
                    preparation.parts[name].clear()
        outcomes = run(stages, preparation.videos, workers=workers, progress=progress)
    if CLIPS in outcomes:
        preparation.remember_shots(outcomes[CLIPS])
    fates = recipe.all_fates(outcomes, preparation.nature)
    found = accounts.account(outcomes, fates, len(preparation.videos))
    if tell is not None:
        tell(found)
    if until == SHARDS or not (out / dataset.INFO_NAME).exists():
        with said_clearly(out):
            accounts.write_tables(out, outcomes, fates, preparation.nature.cutting, found)
    if until != SHARDS:
        return Made(found, None)
    result = dataset.prepare(
        preparation.recipe(outcomes, fates),
        out,
        layout=layout,
        workers=workers,
        overwrite=overwrite or redo is not None,
        progress=progress,
    )
    return Made(found, dataclasses.replace(result, seconds=time.monotonic() - started))


def _check_redo(redo: str | None, until: str, preparation: Preparation) -> None:
    if redo is None:
        return
    if redo == recipe.SEGMENTATION and preparation.nature.segmentation is None:
        raise ValueError(f"redo (={redo!r}): there is no such stage where there is no segmenter")
    if recipe.STAGES.index(redo) > recipe.STAGES.index(until):
        raise ValueError(f"redo (={redo!r}) must not come after until (={until!r})")


def discard_stages(preparation: Preparation) -> None:
    """Removes what the stages have made: the data set does not need it."""
    for parts in preparation.parts.values():
        parts.remove()
    with contextlib.suppress(OSError):
        next(iter(preparation.parts.values())).directory.parent.rmdir()
