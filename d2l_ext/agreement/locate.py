"""Where two models that should be the same differ, and why.

Both models run with their layers in view (`probe`), and layers are paired by their parameters,
kinds and order. Then the second model runs on rails: before and after every paired layer it is put
back onto the values that the first one had there. So each layer's error, and the error of the code
between two layers, is its own; nothing is carried on, and the place that is named causes the
difference instead of merely showing it. At such a place the known differences (`known`) are tried
until one makes the two sides equal.

A piece's budget is 8 times the largest change that it shows when the first model's values are moved
by one rounding unit, 5 times, and not less than the harness's least budget.
"""

import dataclasses
import importlib
import math
from collections import Counter

import numpy as np
from rich.console import Console
from rich.table import Table

from d2l_ext import randomness
from d2l_ext.agreement.errors import error
from d2l_ext.agreement.known import CAUSES, Cause, Piece, distinct, explain
from d2l_ext.interface import Model
from d2l_ext.probe import KNOWN, Visitor

DRAWS = 5
NEARBY = 8  # arrays of earlier layers that a piece may be computed from


def locate(a, b, *inputs, inputs_b=None, mapping=None, options_a=None, options_b=None):
    """Find where a model and its port differ, and which known difference that is.

    A model is a `torch.nn.Module`, a Keras layer or model, a Gluon block, an NNX module, a Linen
    module as ``(module, variables)`` or bound to its variables, or one of `Backend.model`. The
    port's parameters have been copied already: a mistake in copying is one that is looked for. Use
    float64 if you can, for in float32 a small difference is hard to tell from rounding.

    A layer norm with PyTorch's epsilon, ported to Flax with Flax's:

    >>> import numpy as np, torch, jax, flax.linen
    >>> from d2l_ext.agreement import locate
    >>> a = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    >>> b = flax.linen.Sequential([flax.linen.Dense(4), flax.linen.LayerNorm()])
    >>> dense = {"kernel": a[0].weight.detach().numpy().T, "bias": a[0].bias.detach().numpy()}
    >>> norm = {"scale": np.ones(4, "float32"), "bias": np.zeros(4, "float32")}
    >>> found = locate(a, (b, {"params": {"layers_0": dense, "layers_1": norm}}), np.eye(3) / 10)
    >>> found.place, found.cause
    ('1', 'layer-norm epsilon')
    >>> print(found.explanation)
    epsilon: A 1e-05, B 1e-06. The default is 1e-5 in PyTorch and MXNet, 1e-6 in Flax and 1e-3 in \
Keras; BERT's is 1e-12.

    Args:
        a: the model that is right.
        b: the model to be judged.
        *inputs: NumPy arrays, the same for both.
        inputs_b: the second model's inputs where they are not the same, such as batch first.
        mapping: ``{parameter of a: parameter of b}`` by the names that `parameters` lists; a value
            may also be ``(name, transform)``, where transform turns a's array into b's
            (`numpy.transpose`, say). By default `propose` makes one.
        options_a: keyword arguments of the first model's call.
        options_b: keyword arguments of the second model's call.

    Returns:
        A `Located`.
    """
    sides = (
        _Side(a, inputs, options_a),
        _Side(b, inputs if inputs_b is None else inputs_b, options_b),
    )
    return _Comparison(*sides, mapping).result()


def parameters(model, *inputs, options=None):
    """Return ``{name: array}`` of a model's parameters, as `locate` names and reads them.

    Layers that all frameworks have are described as `torch.nn` has them, whatever the framework: a
    dense kernel is (outputs, inputs), and gates stand in PyTorch's order.
    """
    return _Side(model, inputs, options).parameters


def propose(a, b):
    """Propose a mapping of parameters by names and shapes.

    Equal names come first. The rest is mapped in order, each to the next that has the same last
    part of its name and the same shape, or else the same shape.

    Args:
        a: ``{name: array}``, as from `parameters`.
        b: the same of the other model.

    Returns:
        ``{name in a: name in b}``; what fits nothing is left out.
    """
    mapping = {name: name for name in a if name in b and _shapes_fit(a[name], b[name])}
    for same in (lambda x, y: x.rpartition(".")[2] == y.rpartition(".")[2], lambda x, y: True):
        for name in a:
            taken = set(mapping.values())
            fits = (n for n in b if n not in taken and same(name, n) and _shapes_fit(a[name], b[n]))
            if name not in mapping and (fit := next(fits, None)) is not None:
                mapping[name] = fit
    return mapping


def _shapes_fit(x, y):
    return x.shape == y.shape or x.shape == y.shape[::-1]


@dataclasses.dataclass(frozen=True)
class Row:
    """One piece of the two models.

    Attributes:
        place: the layer's name in the first model, or "x → y" for what stands between two layers.
        counterpart: the layer's name in the second model.
        kind: of the layer in the first model.
        error: of this piece alone; infinite where the two can't be compared.
        budget: the largest error that rounding explains.
        free: the error at this place when nothing is put back: what it adds up to.
        dtype: the lower of the two models' precisions there.
    """

    place: str
    counterpart: str
    kind: str
    error: float
    budget: float
    free: float
    dtype: str

    @property
    def agrees(self):
        """Whether the error is within the budget."""
        return self.error <= self.budget


@dataclasses.dataclass(frozen=True)
class Difference:
    """A place where the two models differ.

    Attributes:
        place, error, budget: as in `Row`.
        cause: the name of the known difference that makes the two equal, or "unknown".
        explanation: what each side does.
    """

    place: str
    error: float
    budget: float
    cause: str
    explanation: str

    def __str__(self):
        return (
            f"{self.place}: {self.cause} (error {self.error:.1e}, budget {self.budget:.1e})\n"
            f"  {self.explanation}"
        )


class Located:
    """What `locate` found.

    Attributes:
        rows: a `Row` for each piece, in the order of computation.
        differences: a `Difference` for each piece beyond its budget. Each has its own cause, as
            later pieces were computed from the first model's values; a deviation that is met again
            because an array is used twice is listed once.
        limits: a `Difference` for each piece that is exact in float32 only, because an operator of
            the framework is float32 inside: nothing that a port could do about.
        parameters: ``{(name in a, name in b): error}`` of the parameters as they were mapped.
        unmapped: names of parameters that have no counterpart, of a and of b.
        place, error, budget, cause, explanation: of the first difference; None if there is none.
    """

    def __init__(self, rows, differences, limits, parameters, unmapped):
        self.rows, self.differences, self.limits = rows, differences, limits
        self.parameters, self.unmapped = parameters, unmapped
        first = differences[0] if differences else None
        for name in ("place", "error", "budget", "cause", "explanation"):
            setattr(self, name, getattr(first, name, None))

    def __str__(self):
        lines = list(map(str, self.differences or [f"no difference in {len(self.rows)} places"]))
        if self.limits:
            places = ", ".join(f"{one.place} ({one.error:.1e})" for one in self.limits)
            lines.append(f"{CAUSES['limit'][0]}: {places}")
        return "\n".join(lines)

    def __rich__(self):
        table = Table("place", "in B", "kind", "error", "budget", "adds up to", title=str(self))
        for row in self.rows:
            style = None if row.agrees else "bold red"
            numbers = (f"{x:.1e}" for x in (row.error, row.budget, row.free))
            table.add_row(row.place, row.counterpart, row.kind, *numbers, style=style)
        return table

    def table(self):
        """Print all places with their errors and budgets."""
        Console().print(self)


# ---- running ------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Call:
    """One call of a layer: what went in and came out, and the calls inside (up to ``end``)."""

    layer: object
    number: int
    inputs: list
    outputs: list = None
    end: int = None

    def contains(self, other):
        return self.number <= other.number < self.end


class _Recorder(Visitor):
    """Keeps every call of every layer, and all arrays in the order in which they came up."""

    def __init__(self):
        self.calls, self.events, self._open = [], [], []

    def enter(self, layer, arrays):
        call = _Call(layer, len(self.calls), arrays)
        self.calls.append(call)
        self._open.append(call)
        self.events.append((call, "in"))

    def leave(self, layer, arrays):
        call = self._open.pop()
        call.outputs, call.end = arrays, len(self.calls)
        self.events.append((call, "out"))


class _Rails(Visitor):
    """Puts a model onto given values at every call in ``rails``, and notes what it had computed.

    Args:
        rails: ``{number of the call: the other model's call}``.
        noise: a function that is applied to what is put in.
    """

    def __init__(self, rails, noise=lambda x: x):
        self.rails, self.noise, self.seen = rails, noise, {}
        self._count, self._open = 0, []

    def enter(self, layer, arrays):
        number, self._count = self._count, self._count + 1
        self._open.append(number)
        return self._meet(number, "in", arrays)

    def leave(self, layer, arrays):
        return self._meet(self._open.pop(), "out", arrays)

    def _meet(self, number, side, arrays):
        if number not in self.rails:
            return None
        self.seen[number, side] = arrays
        call = self.rails[number]
        wanted, new = call.inputs if side == "in" else call.outputs, list(arrays)
        for i, j in _matches(wanted, arrays):
            if arrays[j].dtype.kind != "b":  # which sense a mask has is each model's own choice
                new[j] = _reshaped(self.noise(wanted[i]), arrays[j].shape)
        return new


class _Side:
    """A model, its inputs and what its calls were."""

    def __init__(self, model, inputs, options):
        hooks = importlib.import_module(f"d2l_ext.{_framework(model)}.hooks")
        self.probe, self.inputs = hooks.PROBE(model, inputs, options), inputs
        self.record = self.run(_Recorder())
        self.calls = self.record.calls

    def run(self, visitor):
        self.probe.run(visitor, self.inputs)
        return visitor

    @property
    def parameters(self):
        return {name: x for call in self.calls for name, x in call.layer.named.items()}

    def owned(self, call):
        """List the names of the parameters of a call's layer and of the layers called inside."""
        return [name for x in self.calls[call.number : call.end] for name in x.layer.named]


def _framework(model):
    """Return the column that a model belongs to, without importing a framework."""
    if isinstance(model, Model):
        return model.backend.name
    module = model[0] if isinstance(model, tuple) else model
    columns = {"torch": "torch", "mxnet": "mxnet", "flax": "jax", "keras": "tensorflow"}
    for cls in type(module).__mro__:
        name = cls.__module__
        column = columns.get(name.partition(".")[0])
        column = "reference" if name == "d2l_ext.reference.layers" else column
        if column is not None:
            return column
    raise TypeError(
        f"model: got {type(module).__name__}, must be a torch.nn.Module, a Keras layer, a Gluon"
        " block, an NNX module, a Linen module with its variables, or one of Backend.model"
    )


# ---- arrays that correspond ---------------------------------------------------------------------


def _reshaped(x, shape):
    """Return x in another layout (first two axes exchanged, axes of size 1), or None."""
    if x.shape == shape:
        return x
    if x.ndim >= (2 if _whole(x) else 3) and x.swapaxes(0, 1).shape == shape:
        return x.swapaxes(0, 1)
    if [n for n in x.shape if n > 1] == [n for n in shape if n > 1]:
        return x.reshape(shape)
    return None


def _whole(x):
    """Whether an array may hold token ids; Keras makes floats of them."""
    return x.dtype.kind != "f" or bool((x == np.round(x)).all())


def _matches(one, other):
    """Pair arrays that hold the same thing: ``[(index in one, index in other)]``, in order."""
    found, used = [], set()
    for j, y in enumerate(other):
        for i, x in enumerate(one):
            same = (x.dtype.kind == "b") == (y.dtype.kind == "b") and (
                x.dtype.kind == y.dtype.kind or (_whole(x) and _whole(y))
            )
            if i not in used and same and _reshaped(x, y.shape) is not None:
                found.append((i, j))
                used.add(i)
                break
    return found


# ---- layers that correspond ---------------------------------------------------------------------


def _pairs(a, b, mapping):
    """Pair the calls of two sides: the best alignment of the two sequences that keeps their order.

    A pair of calls is kept only if the pairs inside the one are inside the other.
    """
    score = np.array([[_likeness(a, b, x, y, mapping) for y in b.calls] for x in a.calls])
    n, m = score.shape
    best = np.zeros((n + 1, m + 1))
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            together = score[i, j] + best[i + 1, j + 1] if score[i, j] else 0
            best[i, j] = max(together, best[i + 1, j], best[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if score[i, j] and best[i, j] == score[i, j] + best[i + 1, j + 1]:
            pairs.append((a.calls[i], b.calls[j]))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    while True:
        kept = [(x, y) for x, y in pairs if all(x.contains(u) == y.contains(v) for u, v in pairs)]
        if len(kept) == len(pairs):
            return pairs
        pairs = kept


def _likeness(a, b, x, y, mapping):
    """Return how much two calls look like calls of one layer; 0 means that they can't be."""
    if (x.number == 0) != (y.number == 0):
        return 0
    if x.number == y.number == 0:
        return 100
    owned_a, owned_b = a.owned(x), b.owned(y)
    known = {x.layer.kind, y.layer.kind}.intersection(KNOWN)
    if bool(owned_a) != bool(owned_b) or len(known) > 1:
        return 0
    alike = 0.5 * (x.layer.kind == y.layer.kind) + 0.25 * (x.layer.path == y.layer.path)
    if not owned_a:
        return alike + bool(_matches(x.outputs, y.outputs)) * (
            len(x.inputs) == len(y.inputs) > 1 or alike > 0
        )
    counted = Counter(mapping.get(name) for name in owned_a)
    common = sum((counted & Counter(owned_b)).values())
    # A bias may be missing, but not most of the layer.
    if 2 * common <= max(len(owned_a), len(owned_b)) - 1 or not common:
        return 0
    return alike + 4 * common / max(len(owned_a), len(owned_b))


# ---- comparing ----------------------------------------------------------------------------------


class _Comparison:
    """Both sides on the first one's rails."""

    def __init__(self, a, b, mapping):
        self.a, self.b, self.deviations = a, b, []
        own_a, own_b = a.parameters, b.parameters
        self.mapping = _mapping(propose(own_a, own_b) if mapping is None else mapping, own_a, own_b)
        self.parameter_errors = {
            (name, target): error(own_b[target], transform(own_a[name]))[0]
            for name, (target, transform) in self.mapping.items()
        }
        self.names = {name: target for name, (target, _) in self.mapping.items()}
        self.pairs = _pairs(a, b, self.names)
        self.partner = {x.number: y for x, y in self.pairs}
        rails_a = {x.number: x for x, _ in self.pairs}
        rails_b = {y.number: x for x, y in self.pairs}
        self.on_b = b.run(_Rails(rails_b)).seen
        again = a.run(_Rails(rails_a)).seen, b.run(_Rails(rails_b)).seen
        self.unsteady = {
            "A": lambda x, y, side: again[0][x.number, side],
            "B": lambda x, y, side: again[1][y.number, side],
        }
        rng = randomness.generator(0, "locate")
        self.noisy = [a.run(_Rails(rails_a, _noise(rng))).seen for _ in range(DRAWS)]

    def result(self):
        rows, found, lower = [], [], None
        for x, side, before in self._places():
            row = self._row(x, side, before)
            rows.append(row)
            if not row.agrees and not self._known_already(x, side, row):
                found.append(self._difference(x, side, row))
            elif row.agrees and lower is None:
                lower = self._precision(x, side, row)
        limits = [one for one in found if one.cause == CAUSES["limit"][0]]
        differences = [one for one in found if one not in limits] or [lower] * bool(lower)
        unmapped = (
            [name for name in self.a.parameters if name not in self.names],
            [name for name in self.b.parameters if name not in self.names.values()],
        )
        return Located(rows, differences, limits, self.parameter_errors, unmapped)

    def _known_already(self, x, side, row):
        """Whether the same deviation showed before: code between layers uses an array again."""
        given = self.on_b[self.partner[x.number].number, side]
        wanted = _sides(x, side)
        deviations = [
            _reshaped(given[j], wanted[i].shape) - wanted[i]
            for i, j in _matches(wanted, given)
            if wanted[i].dtype.kind == "f" and _differs(wanted[i], given[j], row.budget)
        ]
        known = bool(deviations) and all(
            any(new.shape == old.shape and _size(old, new) < 1e-6 for old in self.deviations)
            for new in deviations
        )
        self.deviations += deviations
        return known

    def _places(self):
        """Yield the paired calls' inputs and outputs in order, and the array that came before."""
        before = None
        for call, side in self.a.record.events:
            if call.number in self.partner:
                yield call, side, before
                before = call

    def _row(self, x, side, left):
        y = self.partner[x.number]
        wanted, given = _sides(x, side), self.on_b[y.number, side]
        free = _sides(y, side)
        dtype = _dtype([*wanted, *given])
        size = _worst(wanted, given)
        place, counterpart = str(x.layer), str(y.layer)
        if side == "in" and left is not None:
            place = f"{left.layer} → {x.layer}"
        return Row(
            place,
            counterpart,
            "" if side == "in" else x.layer.kind,
            size,
            self._budget(x, side, dtype),
            _worst(wanted, free),
            dtype,
        )

    def _budget(self, x, side, dtype):
        if dtype is None:  # whole numbers have no rounding
            return 0.0
        wanted = _sides(x, side)
        scale = np.finfo(dtype).eps / np.finfo(_dtype(wanted) or dtype).eps
        moved = [_worst(wanted, seen[x.number, side]) * scale for seen in self.noisy]
        if self._unsteady("A", x, side):
            moved = []
        return _allowed(dtype, moved)

    def _unsteady(self, which, x, side):
        """Whether a side's own values are not the same in a second run on the same rails."""
        y = self.partner[x.number]
        first = _sides(x, side) if which == "A" else self.on_b[y.number, side]
        return _worst(first, self.unsteady[which](x, y, side)) > 1e-3

    def _difference(self, x, side, row):
        cause = None
        for which in ("A", "B"):
            if self._unsteady(which, x, side):
                title, sentence = CAUSES["dropout"]
                cause = Cause(title, f"{which}: two calls differ. {sentence}", row.error)
        cause = cause or self._explained(x, side, row)
        return Difference(row.place, row.error, row.budget, cause.name, cause.explanation)

    def _explained(self, x, side, row):
        y = self.partner[x.number]
        wanted, given = _sides(x, side), self.on_b[y.number, side]
        matches = _matches(wanted, given)
        if not matches:
            shapes = [[array.shape for array in arrays] for arrays in (wanted, given)]
            return Cause(
                "unknown", f"A has arrays of shapes {shapes[0]}, B {shapes[1]}.", row.error
            )
        i, j = next(m for m in matches if _differs(wanted[m[0]], given[m[1]], row.budget))
        kind = x.layer.kind if side == "out" else ""
        context = [array for call in self._around(x) for array in call.inputs]
        own = [x.layer.parameters, y.layer.parameters]
        if side == "in":
            own = [call.layer.parameters for call in self._around(x)[1:]]
        piece = Piece(
            kind,
            x.inputs if side == "out" and x.end == x.number + 1 else self._nearby(x, side),
            context,
            own,
            wanted[i],
            _reshaped(given[j], wanted[i].shape),
        )
        coarse = _allowed("float32")
        cause = explain(piece, _size, row.budget) or self._other_parameters(x, side, row)
        if cause is None and row.dtype == "float64":
            if row.error <= coarse:
                return Cause(*CAUSES["limit"], row.error)
            cause = explain(piece, _size, coarse)
        return cause or Cause(
            "unknown", "None of the known differences makes the two sides equal here.", row.error
        )

    def _other_parameters(self, x, side, row):
        """Return the cause that the layer's parameters are not the same, or None."""
        owners = [x] if side == "out" else self._around(x)[1:]
        own = {name for call in owners for name in call.layer.named}
        least = _allowed(row.dtype) if row.dtype else 0
        wrong = [
            f"{name} (error {size:.1e})"
            for (name, _), size in self.parameter_errors.items()
            if name in own and size > least
        ]
        if not wrong:
            return None
        title, sentence = CAUSES["parameters"]
        return Cause(title, f"{', '.join(wrong)}. {sentence}", row.error)

    def _around(self, x):
        """List a call and those that it is inside of, the innermost first."""
        return [call for call in reversed(self.a.calls) if call.contains(x)]

    def _nearby(self, x, side):
        """List the arrays that came up before a place, the latest first."""
        events = self.a.record.events
        end = events.index((x, side))
        found = []
        for call, s in reversed(events[:end]):
            if call.number in self.partner:
                found += _sides(call, s)
        return distinct(found)[:NEARBY]

    def _precision(self, x, side, row):
        """Return the difference that B computes in a lower precision than A, if it does."""
        wanted = _sides(x, side)
        if _dtype(wanted) in (None, row.dtype):
            return None
        budget = self._budget(x, side, _dtype(wanted))
        given = self.on_b[self.partner[x.number].number, side]
        title, sentence = CAUSES["precision"]
        return Difference(
            row.place,
            _worst(wanted, given),
            budget,
            title,
            f"A computes in {_dtype(wanted)}, B in {row.dtype}. {sentence}",
        )


def _allowed(dtype, moved=()):
    """Return the budget of a precision, given how far rounding moves the result."""
    # Not at the top: that module is run as a program too, which imports this package first.
    from d2l_ext.agreement.budget import FACTOR, LEAST, unit

    return max([LEAST[dtype] * unit(dtype), *(FACTOR * size for size in moved)])


def _mapping(mapping, own_a, own_b):
    """Return ``{name: (name, transform)}``; unknown names are a ValueError."""
    full = {
        name: target if isinstance(target, tuple) else (target, None)
        for name, target in mapping.items()
    }
    wrong = [name for name in full if name not in own_a]
    wrong += [name for name, _ in full.values() if name not in own_b]
    if wrong:
        raise ValueError(f"mapping: no parameter is called {', '.join(wrong)}")

    def turned(x, shape):
        return x if x.shape == shape else x.T

    return {
        name: (target, transform or (lambda x, shape=own_b[target].shape: turned(x, shape)))
        for name, (target, transform) in full.items()
    }


def _noise(rng):
    """Return a function that moves floats by up to one rounding unit."""

    def move(x):
        if x.dtype.kind != "f":
            return x
        return x * (1 + rng.uniform(-1, 1, x.shape) * np.finfo(x.dtype).eps).astype(x.dtype)

    return move


def _sides(call, side):
    return call.inputs if side == "in" else call.outputs


def _dtype(arrays):
    """Return the lowest precision among floats, "float32" or "float64", or None."""
    sizes = [x.dtype.itemsize for x in arrays if x.dtype.kind == "f"]
    return ("float64" if min(sizes) >= 8 else "float32") if sizes else None


def _size(a, b):
    """Return the error of b, relative to the size of a; symmetric where it matters."""
    return error(b, a)[0]


def _differs(x, y, budget):
    return x.dtype.kind != "b" and _size(x, _reshaped(y, x.shape)) > budget


def _worst(wanted, given):
    """Return the largest error of the arrays that correspond; infinite if none does."""
    matches = _matches(wanted, given)
    if not matches and wanted and given:
        return math.inf
    sizes = [
        _size(wanted[i], _reshaped(given[j], wanted[i].shape))
        for i, j in matches
        if wanted[i].dtype.kind != "b"
    ]
    return max(sizes, default=0.0)
