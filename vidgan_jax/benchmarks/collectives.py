"""What devices send one another in one run of a compiled program, read out of XLA's text of it."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
# Attributes that name the computations an instruction runs; reductions' bodies send nothing.
_CALLED = re.compile(
    r"\b(?:calls|body|condition|to_apply|true_computation|false_computation|branch_computations)="
    r"(\{[^}]*\}|%[\w.\-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_LISTED = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})\}")
_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^)]*(?:\([\d,]*\))?)\))?")
_AXIS = re.compile(r"'(\w+)'=(\d+)")
_CHOSEN = re.compile(r"'(\w+)'(?::\((\d+)\)(\d+))?")
_IDS = re.compile(r"\[([\d,]+)\](?:T\(([\d,]+)\))?")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One instruction by which devices exchange arrays.

    Attributes:
      kind: one of `KINDS`.
      operand_bytes: that each device puts in.
      group: partition numbers of the devices that take part together; the first of such groups.
      runs: times that it is run: those of the loops around it.
    """

    kind: str
    operand_bytes: int
    group: tuple[int, ...]
    runs: int

    @property
    def payload_bytes(self) -> int:
        """Bytes of the arrays that are reduced, gathered or moved, whole, in all runs."""
        whole = len(self.group) if self.kind == "all-gather" else 1
        return self.operand_bytes * whole * self.runs

    @property
    def sent_bytes(self) -> float:
        """Bytes that each device sends in all runs, where the group is a ring.

        Of n devices and a payload of B bytes: 2·B·(n-1)/n for an all-reduce, which is a
        reduce-scatter and an all-gather of B·(n-1)/n each; B for a permutation or a broadcast.

        Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
        workstations", section 3.
        """
        n = len(self.group)
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.payload_bytes
        rounds = 2 if self.kind == "all-reduce" else 1
        return self.payload_bytes * rounds * (n - 1) / n


def collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program, those of one device alone left out.

    Where a program branches, all branches are counted.

    Args:
      text: of the optimised module, `compiled.as_text()`.

    Raises:
      ValueError: the text is of another kind, or a loop with collectives says not how often it is
        run.
    """
    computations, entry = _parse(text)
    return list(_within(entry, 1, computations))


@dataclasses.dataclass(frozen=True)
class _Instruction:
    opcode: str
    result_bytes: int
    operands: tuple[str, ...]
    attributes: str


_Computation = Mapping[str, _Instruction]


def _within(
    name: str, runs: int | None, computations: Mapping[str, _Computation]
) -> Iterator[Collective]:
    """Collectives of a computation that is run so often; None where nobody knows."""
    instructions = computations.get(name, {})
    for instruction in instructions.values():
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            if runs is None:
                raise ValueError(f"the program has {kind} in a loop of unknown length, {name}")
            group = _group(instruction.attributes)
            operands = [instructions[o].result_bytes for o in instruction.operands]
            if len(group) > 1:
                yield Collective(kind, sum(operands), group, runs)
        if instruction.opcode.endswith(("-done", "-update")):
            continue  # of what was counted at its start
        inner = runs
        if instruction.opcode == "while":
            trips = _TRIPS.search(instruction.attributes)
            inner = runs * int(trips[1]) if trips and runs is not None else None
        for called in _CALLED.findall(instruction.attributes):
            for callee in _NAME.findall(called):
                yield from _within(callee, inner, computations)


def _parse(text: str) -> tuple[Mapping[str, _Computation], str]:
    """Computations by name, and the name of the one that is run."""
    computations: dict[str, dict[str, _Instruction]] = {}
    current: dict[str, _Instruction] = {}
    entry = ""
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            current[instruction[1]] = _instruction(instruction[2])
    if not entry:
        raise ValueError("the text is not XLA's of a module: it has no ENTRY computation")
    return computations, entry


def _instruction(text: str) -> _Instruction:
    """Of what stands behind the equals sign: type, opcode, operands in parentheses, attributes."""
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    opcode = _OPCODE.match(text, end)
    if opcode is None:
        raise ValueError(f"not an instruction of XLA's: {text[:100]}")
    close = _closing(text, opcode.end() - 1)
    operands = tuple(_NAME.findall(text[opcode.end() : close]))
    return _Instruction(opcode[1], _bytes(text[:end]), operands, text[close:])


def _closing(text: str, start: int) -> int:
    """Position behind the parenthesis that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError(f"a parenthesis stays open: {text[:100]}")


def _bytes(type_text: str) -> int:
    """Of an array's type, or of a tuple's with all its arrays; layouts add nothing."""
    total = 0
    for dtype, dims in _ARRAY.findall(type_text):
        bits = 8 if dtype == "pred" else int((re.findall(r"\d+", dtype) or ["0"])[0])
        total += math.ceil(bits * math.prod(_ints(dims)) / 8)
    return total


def _group(attributes: str) -> tuple[int, ...]:
    """The first group of devices, in each of the forms that XLA writes."""
    if listed := _LISTED.search(attributes):
        return tuple(_ints(listed[1].split("}")[0].strip("{ ")))
    if pairs := re.search(r"source_target_pairs=\{(\{.*?\})\}", attributes):
        return _cycle(_ints(re.sub(r"[{} ]", "", pairs[1])))
    if mesh := _MESH.search(attributes):
        return _group_of_mesh(mesh[1], mesh[2], attributes[mesh.end() :])
    if iota := _IOTA.search(attributes):
        shape, dims, order = map(_ints, iota.groups(default=""))
        ids = np.arange(math.prod(dims)).reshape(dims)
        return tuple(ids.transpose(order or None).reshape(shape)[0].tolist())
    raise ValueError(f"a collective without groups of devices: {attributes[:200]}")


def _group_of_mesh(axes_text: str, ids_text: str | None, rest: str) -> tuple[int, ...]:
    """Of `mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}`: those that differ along a."""
    axes = [(name, int(size)) for name, size in _AXIS.findall(axes_text)]
    sizes = [size for _, size in axes]
    ids = np.arange(math.prod(sizes))
    if ids_text and (iota := _IDS.match(ids_text)):
        dims, order = map(_ints, iota.groups(default=""))
        ids = ids.reshape(dims).transpose(order or None)
    elif ids_text:
        ids = np.array(_ints(ids_text))
    # An axis may be used in part: 'a':(2)4 is the 4 that lie within every 2nd of it.
    split: list[int] = []
    chosen: list[int] = []
    wanted = {name: (before, size) for name, before, size in _CHOSEN.findall(rest.split("}")[0])}
    for name, size in axes:
        before, used = (int(n) if n else 0 for n in wanted.get(name, ("", "")))
        parts = [before, used, size // (before * used)] if used else [size]
        if name in wanted:
            chosen.append(len(split) + (1 if used else 0))
        split += parts
    grid = np.moveaxis(ids.reshape(split), chosen, range(len(chosen)))
    members = math.prod(split[axis] for axis in chosen)
    return tuple(grid.reshape(members, -1)[:, 0].tolist())


def _cycle(ends: Sequence[int]) -> tuple[int, ...]:
    """The devices that pass something on to one another, from the first one of the pairs on."""
    following = dict(zip(ends[::2], ends[1::2], strict=True))
    found = [ends[0]]
    while (step := following.get(found[-1])) is not None and step not in found:
        found.append(step)
    return tuple(found)


def _ints(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number.strip()]
