"""Fingerprints: the same on any devices and in NumPy, other when a bit is."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vidgan_jax.train import fingerprint
from vidgan_jax.train.sharding import DATA_AXIS, FSDP_AXIS, make_mesh


def leaves(seed: int = 0) -> dict[str, np.ndarray]:
    """One leaf of each kind that a state may have; first axes divide by 8."""
    rng = np.random.default_rng(seed)
    return {
        "float32": rng.normal(size=(8, 5, 3)).astype(np.float32),
        "bfloat16": rng.normal(size=(16, 3)).astype(ml_dtypes.bfloat16),
        "int32": rng.integers(-9, 9, (8, 2), np.int32),
        "uint8": rng.integers(0, 255, (24,), np.uint8),
        "bool": rng.integers(0, 2, (8, 3)).astype(np.bool_),
        "scalar": np.array(-5, np.int32),
        "empty": np.zeros((0, 8), np.float32),
    }


def by_definition(array: np.ndarray) -> int:
    """Σ wₚ·(2p + 1) mod 2³², in Python's own whole numbers."""
    size = min(array.dtype.itemsize, 4)
    data = array.tobytes()
    words = [int.from_bytes(data[k : k + size], "little") for k in range(0, len(data), size)]
    return sum(word * (2 * place + 1) for place, word in enumerate(words)) % 2**32


def test_numpy_s_is_the_definition() -> None:
    tree = leaves() | {
        "float64": np.random.default_rng(1).normal(size=(3, 5)),
        "uint64": np.array([2**63 + 7, 5], np.uint64),
        "transposed": np.arange(12, dtype=np.int16).reshape(3, 4).T,
        "long": np.arange(2**20 + 3, dtype=np.uint8),
    }
    assert fingerprint.numpy_by_name(tree) == {k: by_definition(v) for k, v in tree.items()}


@pytest.mark.parametrize(
    "spec",
    [PartitionSpec(), PartitionSpec(FSDP_AXIS), PartitionSpec((DATA_AXIS, FSDP_AXIS))],
)
def test_shardings_make_no_difference(spec: PartitionSpec) -> None:
    mesh = make_mesh(fsdp=4)
    whole = PartitionSpec()
    tree = {
        name: jax.device_put(x, NamedSharding(mesh, spec if x.ndim and x.size else whole))
        for name, x in leaves().items()
    }
    assert fingerprint.by_name(tree) == fingerprint.numpy_by_name(leaves())


def test_nothing_is_gathered() -> None:
    """What each device holds is added up where it is."""
    sharding = NamedSharding(make_mesh(fsdp=8), PartitionSpec(None, FSDP_AXIS))
    shape = jax.ShapeDtypeStruct((6, 16, 4), jnp.float32, sharding=sharding)
    text = jax.jit(fingerprint.fingerprint).lower([shape]).compile().as_text() or ""
    assert "all-reduce" in text
    assert "all-gather" not in text


def test_keys_and_numbers_of_eight_bytes() -> None:
    key = jax.random.key(3)
    data = np.asarray(jax.random.key_data(key))
    assert fingerprint.by_name([key]) == fingerprint.numpy_by_name([data])
    with jax.enable_x64(True):
        wide = {"f": np.array([[1.5, -2.25]]), "i": np.array([-3, 2**40])}
        found = fingerprint.by_name(jax.tree.map(jnp.asarray, wide))
    assert found == fingerprint.numpy_by_name(wide)


def test_any_changed_bit_shows() -> None:
    before = fingerprint.numpy_by_name(leaves())
    rng = np.random.default_rng(2)
    for name, array in leaves().items():
        for _ in range(50 if array.size and array.dtype != np.bool_ else 0):
            changed = np.atleast_1d(array.copy())
            flat = changed.reshape(-1).view(np.uint8)
            flat[rng.integers(flat.size)] ^= np.uint8(1 << rng.integers(8))
            assert fingerprint.numpy_by_name({name: changed})[name] != before[name]


def test_exchanged_numbers_show() -> None:
    forward, backward = np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32)[::-1]
    assert fingerprint.numpy_by_name([forward]) != fingerprint.numpy_by_name([backward])


def test_names_are_those_of_nested_dicts_and_lists() -> None:
    """As Orbax gives a tree back."""
    state: Any = {"opt": ({"mu": np.ones(2)}, [np.zeros(3)])}
    as_read = {"opt": [{"mu": np.ones(2)}, {"0": np.zeros(3)}]}
    assert fingerprint.names(state) == ["opt/0/mu", "opt/1/0"] == fingerprint.names(as_read)


@pytest.mark.parametrize("of", [fingerprint.fingerprint, fingerprint.numpy_fingerprint])
def test_complex_numbers_are_refused(of: Any) -> None:
    with pytest.raises(TypeError, match="complex64 has no fingerprint"):
        of([jnp.ones(2, jnp.complex64)])
