"""Which runs a comparison is of: their names, and what their configs differ in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vidgan_jax.reports.compared import (
    Place,
    count_params,
    differences,
    find_places,
    names_of,
)


def place(path: str) -> Place:
    """Of a workdir, or of `WORKDIR@STEP`."""
    workdir, _, step = path.partition("@")
    return Place(path, Path(workdir) / "checkpoints" / (step or "9"), is_workdir=not step)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/runs/a"], ["a"]),
        (["/x/a", "/x/b"], ["a", "b"]),
        (["/x/dcgan/seed0/2d", "/x/spade/seed0/2d"], ["dcgan", "spade"]),
        (["/x/dcgan/seed0/2d", "/y/dcgan/seed1/2d"], ["seed0", "seed1"]),
        (["/x/p/0/a", "/x/p/1/a", "/x/q/0/a"], ["p/0", "p/1", "q/0"]),
        (["/x/a", "/x/a/b"], ["a", "b"]),
        (["/x/a/a", "/x/a"], ["a", "x"]),
        (["/a", "/a/a"], ["a", "a/a"]),
        (["/x/a@5", "/x/a@7"], ["a, step 5", "a, step 7"]),
        (["/x/a@5", "/x/b@5"], ["a", "b"]),
        (["/x/a@5", "/x/a", "/x/b"], ["a, step 5", "a, step 9", "b"]),
        (["/x/a\n\tb", "/x/c"], ["a b", "c"]),
        (["/x/a\udcff", "/x/a\udcfe"], ["a\ufffd (0)", "a\ufffd (1)"]),
    ],
)
def test_names_are_the_shortest_part_that_tells_paths_apart(
    paths: Sequence[str], names: Sequence[str]
) -> None:
    assert names_of([place(path) for path in paths], None) == names
    # Whatever their order.
    assert names_of([place(path) for path in paths[::-1]], None) == (
        [*names][::-1] if "\ufffd" not in names[0] else names
    )


def test_names_may_be_given() -> None:
    places = [place("/x/a"), place("/x/b")]
    assert names_of(places, [" first  one ", "b"]) == ["first one", "b"]
    with pytest.raises(ValueError, match="--names gives 1 names for 2 runs"):
        names_of(places, ["a"])
    with pytest.raises(ValueError, match="a name is empty"):
        names_of(places, ["a", " "])
    with pytest.raises(ValueError, match="'a' is given twice"):
        names_of(places, ["a", "a "])


def make_checkpoint(workdir: Path, step: int) -> Path:
    """As far as finding goes."""
    folder = workdir / "checkpoints" / str(step)
    for item in ("state", "meta"):
        (folder / item).mkdir(parents=True)
    return folder


def test_places(tmp_path: Path) -> None:
    old, new = (make_checkpoint(tmp_path / "a", step) for step in (3, 12))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    newest, third = find_places([str(tmp_path / "a"), str(old)])
    assert (newest.checkpoint, newest.step, newest.is_workdir) == (new, 12, True)
    assert (third.checkpoint, third.step, third.is_workdir) == (old, 3, False)
    assert newest.workdir == third.workdir == tmp_path / "a"
    for same in (tmp_path / "a", new, new.parent, link, link / "checkpoints" / "12"):
        with pytest.raises(ValueError, match="are the same checkpoint; give it once"):
            find_places([str(tmp_path / "a"), str(same)])
    with pytest.raises(ValueError, match="does not exist"):
        find_places([str(tmp_path / "none")])


def test_differences_are_told_by_field() -> None:
    one = {"name": "a", "model": {"size": 8, "time": (0, 1)}, "data": {"path": ""}, "seed": 0}
    other = {"name": "b", "model": {"size": 8, "time": (0,), "new": None}, "data": {"path": "d"}}
    assert differences([one, other]) == {
        "name": ["a", "b"],
        "model.time": ["[0, 1]", "[0]"],
        "data.path": ['""', "d"],
        "seed": ["0", "–"],
        "model.new": ["–", "null"],
    }
    assert differences([one, one]) == differences([one]) == {}


def test_parameters_are_counted() -> None:
    assert count_params({"a": {"kernel": np.zeros((3, 4)), "bias": np.zeros(4)}, "b": 1.0}) == 17
