"""What is read out of XLA's text: every way to write a collective, and what a ring sends."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidgan_jax.benchmarks.collectives import collectives

HEADER = """HloModule m, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

"""


def module(*lines: str, before: str = "") -> str:
    """A module that runs these lines, of parameters p (4 kB) and q (bf16, 64 bytes)."""
    parameters = "  %p = f32[8,128]{1,0:T(8,128)} parameter(0)\n  %q = bf16[32]{0} parameter(1)\n"
    body = "".join(f"  {line}\n" for line in lines)
    entry = "ENTRY %main (p: f32[8,128], q: bf16[32]) -> f32[8,128] {\n"
    return f"{HEADER}{before}{entry}{parameters}{body}}}\n"


@pytest.mark.parametrize(
    ("groups", "first"),
    [
        ("replica_groups={{0,1,2,3},{4,5,6,7}}", (0, 1, 2, 3)),
        ("replica_groups={{0,4},{1,5}, {2,6},{3,7}}", (0, 4)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("replica_groups=mesh['a'=8,'b'=1] {'a'}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(3,1,2,0) {'b'}", (3, 1)),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", (0, 2)),
    ],
)
def test_groups(groups: str, first: tuple[int, ...]) -> None:
    text = f"ROOT %r = f32[8,128]{{1,0}} all-reduce(%p), channel_id=1, {groups}, to_apply=%add"
    (found,) = collectives(module(text))
    assert found.group == first
    assert found.kind == "all-reduce"
    assert found.payload_bytes == 4096
    assert found.sent_bytes == 2 * 4096 * (len(first) - 1) / len(first)


@pytest.mark.parametrize(
    ("line", "payload", "sent"),
    [
        ("f32[32,128]{1,0} all-gather(%p), G, dimensions={0}", 4 * 4096, 3 * 4096),
        ("f32[2,128]{1,0} reduce-scatter(%p), G, to_apply=%add", 4096, 3072),
        ("(f32[8,128]{1,0}, bf16[32]{0}) all-reduce(%p, /*index=1*/%q), G", 4160, 6240),
        ("f32[8,128]{1,0} all-to-all(%p), G", 4096, 3072),
        ("f32[8,128] collective-permute(%p), source_target_pairs={{0,1},{1,0}}", 4096, 4096),
        ("f32[8,128] collective-permute(%p), source_target_pairs={{0,2},{2,4}}", 4096, 4096),
    ],
)
def test_payloads(line: str, payload: int, sent: float) -> None:
    groups = "replica_groups={{0,1,2,3}}"
    (found,) = collectives(module(f"%r = {line.replace('G', groups)}"))
    assert found.payload_bytes == payload
    assert found.sent_bytes == sent


def test_starts_count_and_ends_do_not() -> None:
    """Whether one instruction starts it, or a computation of its own."""
    wrapped = (
        "%wrapped (w: f32[8,128]) -> f32[2,128] {\n"
        "  %w = f32[8,128]{1,0} parameter(0)\n"
        "  ROOT %s = f32[2,128]{1,0} reduce-scatter(%w), replica_groups=[1,4]<=[4]\n}\n\n"
    )
    found = collectives(
        module(
            "%g = (f32[8,128]{1,0}, f32[32,128]{1,0}) all-gather-start(%p), "
            "replica_groups=[1,4]<=[4], dimensions={0}",
            "%h = f32[32,128]{1,0} all-gather-done(%g)",
            "%s = ((f32[8,128]), f32[2,128], s32[]) async-start(%p), calls=%wrapped",
            "%t = f32[2,128] async-done(%s), calls=%wrapped",
            before=wrapped,
        )
    )
    assert [(c.kind, c.payload_bytes) for c in found] == [
        ("all-gather", 4 * 4096),
        ("reduce-scatter", 4096),
    ]


LOOP = """%body (c: f32[8,128]) -> f32[8,128] {
  %c = f32[8,128]{1,0} parameter(0)
  ROOT %r = f32[8,128]{1,0} all-reduce(%c), replica_groups={{0,1}}, to_apply=%add
}

"""


def test_loops() -> None:
    loop = "%w = f32[8,128]{1,0} while(%p), condition=%add, body=%body"
    length = ', backend_config={"known_trip_count":{"n":"5"}}'
    (found,) = collectives(module(loop + length, before=LOOP))
    assert (found.runs, found.payload_bytes) == (5, 5 * 4096)
    with pytest.raises(ValueError, match="all-reduce in a loop of unknown length, body"):
        collectives(module(loop, before=LOOP))


def test_devices_alone_send_nothing() -> None:
    assert not collectives(module("%r = f32[8,128] all-reduce(%p), replica_groups={{0},{1}}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HloModule nothing", "it has no ENTRY computation"),
        (module("%r = f32[8,128] all-reduce(%p), channel_id=1"), "without groups of devices"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collectives(text)


def test_a_program_of_this_xla() -> None:
    """Each collective that JAX has a name for, with its bytes, three times in a loop."""
    mesh = Mesh(jax.make_mesh((4, 2), ("data", "fsdp")).devices, ("data", "fsdp"))
    place = NamedSharding(mesh, P("data", "fsdp"))

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=P("data", "fsdp"), out_specs=P("data", "fsdp")
    )
    def exchange(x: jax.Array) -> jax.Array:  # [8, 32] on each device: 1 kB
        def body(carried: jax.Array, _: None) -> tuple[jax.Array, None]:
            total = jax.lax.psum(carried, "data")
            gathered = jax.lax.all_gather(jnp.sin(total), "fsdp", tiled=True)  # [16, 32]
            part = jax.lax.psum_scatter(jnp.cos(gathered), "fsdp", tiled=True)  # [8, 32]
            ring = [(i, (i + 1) % 4) for i in range(4)]
            return jax.lax.ppermute(jnp.sin(part), "data", ring), None

        varying = jax.lax.scan(body, x, length=3)[0]
        return jax.lax.all_to_all(varying, "data", 0, 1, tiled=True).reshape(x.shape)

    shape = jax.ShapeDtypeStruct((32, 64), jnp.float32, sharding=place)
    text = jax.jit(exchange).lower(shape).compile().as_text() or ""
    found = {c.kind: (c.payload_bytes, c.group, c.runs) for c in collectives(text)}
    assert found == {
        "all-reduce": (3 * 1024, (0, 2, 4, 6), 3),
        "all-gather": (3 * 2048, (0, 1), 3),
        "reduce-scatter": (3 * 2048, (0, 1), 3),
        "collective-permute": (3 * 1024, (0, 2, 4, 6), 3),
        "all-to-all": (1024, (0, 2, 4, 6), 1),
    }
