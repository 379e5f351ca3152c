"""The calls of two models side by side, as they correspond, with how far each place is off."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from d2l_ext.porting.places import Row
from d2l_ext.porting.rails import Call, Place, Recorded

COMPUTED = "code between the layers"


@dataclasses.dataclass(frozen=True)
class Box:
    """A call of a layer, as it is shown.

    Attributes:
        path: the layer's name in its model.
        kind: of the layer.
        shapes: of what it gives.
        takes: which places gave its inputs, in order; found by their values.
    """

    path: str
    kind: str
    shapes: list[tuple[int, ...]]
    takes: list[str]

    def __str__(self) -> str:
        return self.path or "the model"

    def name(self, inside: "Box | None") -> str:
        """The layer's name inside of another one."""
        if inside is not None and inside.path and self.path.startswith(f"{inside.path}."):
            return self.path.removeprefix(f"{inside.path}.")
        return str(self)


@dataclasses.dataclass(frozen=True)
class Node:
    """Calls that correspond, or one that has no partner.

    Attributes:
        number: of the first model's call, or None.
        a, b: the two calls.
        before: what stands between this call and the place before it, or None.
        after: what the call gives, or None.
        inner: the calls inside.
    """

    number: int | None
    a: Box | None
    b: Box | None
    before: Row | None = None
    after: Row | None = None
    inner: Sequence["Node"] = ()

    @property
    def rows(self) -> list[Row]:
        """The places of the node itself."""
        return [row for row in (self.before, self.after) if row is not None]

    def walk(self) -> Iterator["Node"]:
        """Yield the node and those inside, in order."""
        yield self
        for node in self.inner:
            yield from node.walk()

    @property
    def agrees(self) -> bool:
        """Whether everything inside is within its budget."""
        return all(row.all_agrees for node in self.walk() for row in node.rows)

    @property
    def worst(self) -> tuple[float, float | None]:
        """The largest error over its budget inside: of values, and of gradients or None."""
        rows = [row for node in self.walk() for row in node.rows]
        gradients = [row.gradient_ratio for row in rows if row.gradient_ratio is not None]
        return max((row.ratio for row in rows), default=0.0), max(gradients, default=None)


def side_by_side(
    a: Recorded, b: Recorded, partner: Mapping[int, Call], rows: Mapping[Place, Row]
) -> Node:
    """Return both models as one graph.

    Args:
        a, b: the two.
        partner: ``{number of a's call: b's call}``, in the order of both, the models themselves
            with each other.
        rows: of the places, by the number of a's call and its side.
    """
    taken = _taken(a), _taken(b)

    def box(call: Call, side: int) -> Box:
        shapes = [x.shape for x in call.outputs]
        return Box(call.layer.path, call.layer.kind, shapes, taken[side][call.number])

    def node(x: Call, y: Call) -> Node:
        inner, j = [], y.number + 1
        i = x.number + 1
        while i < x.end:
            call = a.calls[i]
            if i not in partner:
                inner.append(Node(i, box(call, 0), None))
                i += 1
                continue
            other = partner[i]
            inner += [Node(None, None, box(one, 1)) for one in b.calls[j : other.number]]
            inner.append(node(call, other))
            i, j = call.end, other.end
        inner += [Node(None, None, box(one, 1)) for one in b.calls[j : y.end]]
        before, after = (rows.get((x.number, side)) for side in ("in", "out"))
        return Node(x.number, box(x, 0), box(y, 1), before, after, inner)

    return node(a.calls[0], partner[0])


def _taken(side: Recorded) -> list[list[str]]:
    """List of each call which places its inputs come from."""
    givers: dict[bytes, str] = {}
    taken: list[list[str]] = [[] for _ in side.calls]
    for call, which in side.record.events:
        for x in call.arrays(which):
            key = _key(x)
            if which == "in":
                given = "the model's inputs" if call.number == 0 else givers.get(key, COMPUTED)
                taken[call.number].append(given)
                givers.setdefault(key, given)
            else:
                givers[key] = str(call.layer)
    return [list(dict.fromkeys(places)) for places in taken]


def _key(x: np.ndarray) -> bytes:
    described = f"{x.dtype} {x.shape}".encode()
    return hashlib.blake2b(described + np.ascontiguousarray(x).tobytes(), digest_size=16).digest()
