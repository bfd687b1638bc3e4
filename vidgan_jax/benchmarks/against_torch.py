"""Our training step against PyTorch's: two processes that step in turns.

So slow changes of the machine's speed meet both alike. What other programs take does not, see
`measuring.OtherWork`: a warning says when they took much. Both sides have as many cores, the same
batch size, shapes of weights, losses and optimisers; PyTorch's step is `tests/reference_torch`,
which a checkout has and an installed package has not.
"""

import contextlib
import dataclasses
import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from vidgan_jax.benchmarks import sides
from vidgan_jax.benchmarks.measuring import OtherWork, Row, quartiles, spread, usable_cores
from vidgan_jax.benchmarks.processes import ask, started

_NO_VGG = "--config.loss.vgg_weight=0"
# Configs and what is changed of them, where none is asked for.
CPU_SET: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("configs/resnet2d.py:smoke", ()),
    ("configs/resnet3d.py:smoke", ()),
    ("configs/dcgan2d.py:smoke", ()),
    ("configs/dcgan3d.py:smoke", ()),
    ("configs/spade2d.py:small", (_NO_VGG, "--config.train.batch_size=2")),
    # Of one example PyTorch's convolution of few channels takes ten times as long as of two.
    ("configs/spade3d.py:small", (_NO_VGG, "--config.train.batch_size=2")),
)
GPU_SET: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("configs/resnet2d.py", ()),
    ("configs/resnet3d.py", ()),
    ("configs/dcgan2d.py", ()),
    ("configs/dcgan3d.py", ()),
    ("configs/spade2d.py:small", (_NO_VGG,)),
    ("configs/spade3d.py:small", (_NO_VGG,)),
)

_QUIET = 0.05

# Framework → step number → seconds, one for each turn.
Seconds = dict[str, dict[int, list[float]]]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to compare, and how.

    Attributes:
      configs: `FILE.py:VARIANT` each; the platform's set where there are none.
      overrides: of fields of all of them.
      repeats: turns.
      compiled: `torch.compile`; None for "on GPUs".
      bf16: PyTorch's autocast to bfloat16; None for "on GPUs".
      cores: that each side may use; 0 for all.
    """

    configs: Sequence[str]
    overrides: Sequence[str]
    repeats: int
    compiled: bool | None = None
    bf16: bool | None = None
    cores: int = 0


def bench_against_torch(request: Request) -> list[Row]:
    """Rows of every config: seconds of both frameworks, and PyTorch's over ours, turn by turn.

    A config with lazy terms has three rows: steps with all terms, steps without the lazy ones, and
    their mean as training mixes them. `peak_mib` is what a process took beyond its imports from its
    first weight on, compilation included; `steps_mib` the same while it was stepping;
    `others_cpu_share` how much of the machine other programs used meanwhile.

    Raises:
      ValueError: PyTorch or its training step is not there, or a side refused.
    """
    check_torch()
    # Or this process, and ours, would take most of a GPU's memory from the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    chosen: Sequence[tuple[str, tuple[str, ...]]] = [(path, ()) for path in request.configs]
    if not chosen:
        chosen = GPU_SET if jax.default_backend() == "gpu" else CPU_SET
    rows: list[Row] = []
    for path, changes in chosen:
        rows += _compare(path, [*changes, *request.overrides], request)
    return rows


def check_torch() -> None:
    """Refuses to go on without PyTorch, or outside of a checkout.

    Raises:
      ValueError: what is missing, and what to do.
    """
    missing = ""
    if importlib.util.find_spec("torch") is None:
        missing = "PyTorch is not installed"
    elif not _is_importable("tests.reference_torch.measured_step"):
        missing = "tests/reference_torch, PyTorch's side, can't be imported"
    if missing:
        raise ValueError(
            f'--against torch: {missing}; run it from the checkout, after pip install -e ".[test]"'
        )


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _compare(path: str, overrides: Sequence[str], request: Request) -> list[Row]:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(started(sides.serve_ours, path, overrides, request.cores))
        said = ask(ours)
        config, numbers, on_gpu = said["config"], said["numbers"], said["on_gpu"]
        how = {
            "device": "cuda" if on_gpu else "cpu",
            "compiled": on_gpu if request.compiled is None else request.compiled,
            "bf16": on_gpu if request.bf16 is None else request.bf16,
        }
        wanted = (config, [*numbers.values()], how, request.cores)
        theirs = stack.enter_context(started(sides.serve_torch, *wanted))
        ask(theirs)  # Is ready before ours begins: neither prepares while the other does.
        compile_s = ask(ours, "begin")
        pipes = {"ours": ours, "torch": theirs}
        print(f"{path}: both are ready, {request.repeats} turns", file=sys.stderr)
        others, begun = OtherWork(), time.process_time()
        seconds: Seconds = {name: {n: [] for n in numbers.values()} for name in pipes}
        for _ in range(request.repeats):
            for number in numbers.values():
                for name, pipe in pipes.items():
                    seconds[name][number].append(ask(pipe, number))
        memory: Row = {}
        own_s = 0.0
        for name, pipe in pipes.items():
            busy_s, figures = ask(pipe, sides.END)
            own_s += busy_s
            memory |= {f"{name}_{figure}": mib for figure, mib in figures.items()}
        share = others.share(own_s + time.process_time() - begun)
    _warn(path, share, request.cores)
    facts = {**memory, "others_cpu_share": share, "batch_size": config.train.batch_size}
    facts["cores"] = request.cores or len(usable_cores())
    facts |= {f"torch_{name}": value for name, value in how.items()}
    label = path.removeprefix("configs/")
    return _rows(label, seconds, numbers, compile_s, config.loss.r1_every_steps, facts)


def _warn(path: str, share: float | None, cores: int) -> None:
    if share is not None and share > _QUIET:
        otherwise = "" if cores == 1 else ", or with --cores 1"
        print(
            f"warning: {path}: other programs took {share:.0%} of the processors meanwhile, which "
            "costs PyTorch far more than JAX: this ratio says nothing; repeat it on a quiet machine"
            f"{otherwise}",
            file=sys.stderr,
        )


def _rows(
    label: str,
    seconds: Seconds,
    numbers: Mapping[str, int],
    compile_s: Mapping[int, float],
    every: int,
    facts: Mapping[str, Any],
) -> list[Row]:
    """One row for each kind of step, and their mean where there are two."""
    rows: list[Row] = []
    for kind, number in numbers.items():
        times = _figures(seconds["ours"][number], seconds["torch"][number])
        what = f"{label}, {kind}" if len(numbers) > 1 else label
        rows.append({"what": what, **times, "compile_s": compile_s[number], **facts})
    if len(numbers) > 1:
        mean = {name: _mixed([*taken.values()], every) for name, taken in seconds.items()}
        times = _figures(mean["ours"], mean["torch"])
        what = f"{label}, mean of {every} steps"
        rows.append({"what": what, **times, "compile_s": sum(compile_s.values()), **facts})
    return rows


def _mixed(kinds: Sequence[Sequence[float]], every: int) -> list[float]:
    """Mean seconds of `every` steps, the first of which has all terms; one for each turn."""
    return [(a + (every - 1) * b) / every for a, b in zip(*kinds, strict=True)]


def _figures(ours: Sequence[float], theirs: Sequence[float]) -> Row:
    low, middle, high = quartiles([b / a for a, b in zip(ours, theirs, strict=True)])
    return {
        **spread(ours, "ours_"),
        **spread(theirs, "torch_"),
        "ratio": middle,
        "ratio_lower_quartile": low,
        "ratio_upper_quartile": high,
        "ratio_of_fastest": min(theirs) / min(ours),
    }
