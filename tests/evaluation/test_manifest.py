"""The manifest tells apart whatever makes other scores."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.datasets import make_dataset
from vidgan_jax.data.records import ClipSource
from vidgan_jax.evaluation import manifest
from vidgan_jax.evaluation.manifest import tree_digest
from vidgan_jax.types import ClipSpec

SPEC = ClipSpec(num_frames=3, stride=2, size=12, resize=16, label_maps=True, num_labels=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    folder: Path = tmp_path_factory.mktemp("data")
    return ClipSource(make_dataset(folder, size=16, label_maps=True), "train")


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 2},
        {"stride": 1},
        {"size": 8},
        {"resize": 14},
        {"flip": False},
        {"start_frames": 1},
        {"label_maps": False},
        {"num_labels": 5},
        {"dont_care": 3},
    ],
)
def test_every_field_of_the_cut_is_in_it(source: ClipSource, change: dict[str, Any]) -> None:
    assert len({f.name for f in dataclasses.fields(ClipSpec)}) == 9  # all of them are above
    told = manifest.of_data(source, SPEC)
    other = manifest.of_data(source, dataclasses.replace(SPEC, **change))
    assert told != other
    assert json.loads(json.dumps(told)) == told


def test_what_is_enlarged_is_told(source: ClipSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manifest.of_data(source, SPEC)["enlarged"] is False
    larger = dataclasses.replace(SPEC, resize=17)
    assert manifest.of_data(source, larger)["enlarged"] is True
    monkeypatch.setattr(source, "info", dataclasses.replace(source.info, height=None))
    assert manifest.of_data(source, larger)["enlarged"] is None


def test_the_digest_is_of_names_types_shapes_and_values() -> None:
    tree: dict[str, Any] = {"a": np.arange(6.0, dtype=np.float32), "b": {"c": jnp.ones((2, 3))}}
    assert tree_digest(tree) == tree_digest({"b": dict(tree["b"]), "a": jnp.arange(6.0)})
    others: list[Any] = [
        {**tree, "a": np.arange(6.0, dtype=np.float64)},
        {**tree, "a": np.arange(6.0, dtype=np.float32).reshape(2, 3)},
        {**tree, "a": np.nextafter(tree["a"], 9)},
        {"x": tree["a"], "b": tree["b"]},
        {"a": tree["a"]},
    ]
    assert len({tree_digest(t) for t in (tree, *others)}) == 6


def test_code_is_told_apart_by_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed checkout has the version of the unchanged one."""
    told = manifest.of_code()
    assert told == manifest.of_code()
    assert len(told["sources_sha256"]) == 64
    assert told["num_devices"] == 1
    monkeypatch.setattr(manifest, "_modules", lambda *_: iter([("one.py", b"changed")]))
    manifest._sources_digest.cache_clear()
    try:
        assert manifest.of_code()["sources_sha256"] != told["sources_sha256"]
    finally:
        manifest._sources_digest.cache_clear()
