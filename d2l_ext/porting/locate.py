"""Where two models that should be the same differ, and why.

Both models run with their layers in view (`probe`), and layers are paired by their parameters,
kinds and order. Then the second model runs on rails: before and after every paired layer it is put
back onto the values that the first one had there. So each layer's error, and the error of the code
between two layers, is its own; nothing is carried on, and the place that is named causes the
difference instead of merely showing it. At such a place the known differences (`known`) are tried
until one makes the two sides equal.

A piece's budget is 8 times the largest change that it shows when the first model's values are moved
by one rounding unit, 5 times, and not less than the harness's least budget.

Gradients are compared in the same way (`backward`), in those pieces whose values agree, and the
steps of optimisers on the same gradients (`stepping`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from d2l_ext import randomness
from d2l_ext.agreement.judging.budget import unit
from d2l_ext.interface import Arrays
from d2l_ext.porting.arrays import (
    corresponding,
    differs,
    largest_error,
    lowest_dtype,
    reshaped,
)
from d2l_ext.porting.backward import Backward, Item
from d2l_ext.porting.comparison import Comparison, allowed, place_between
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.gradients import UNSPECIFIC, Pulled, explain_gradient
from d2l_ext.porting.pairing import Transform
from d2l_ext.porting.places import Difference, Row
from d2l_ext.porting.rails import Call, Place, Rails, Side, noise_of
from d2l_ext.porting.reduced import Reduced
from d2l_ext.porting.result import Located
from d2l_ext.porting.stepping import compare_steps

DRAWS = 5
IN_FLOAT32 = unit("float32") / unit("float64")  # how much larger rounding is


def locate(
    a: Any,
    b: Any,
    *inputs: Any,
    inputs_b: Sequence[Any] | None = None,
    mapping: Mapping[str, str | tuple[str, Transform]] | None = None,
    options_a: dict[str, Any] | None = None,
    options_b: dict[str, Any] | None = None,
    backward: bool = True,
    trusted: Any = None,
    optimizers: tuple[Any, Any] | None = None,
) -> Located:
    """Find where a model and its port differ, and which known difference that is.

    A model is a `torch.nn.Module`, a Keras layer or model, a Gluon block, an NNX module, a Linen
    module as ``(module, variables)`` or bound to its variables, a Flax model of transformers, or
    one of `Backend.model`. The port's parameters have been copied already: a mistake in copying is
    one that is looked for. Use float64 if you can, for in float32 a small difference is hard to
    tell from rounding.

    A layer norm with PyTorch's epsilon, ported to Flax with Flax's:

    >>> import numpy as np, torch, jax, flax.linen
    >>> from d2l_ext.porting import locate
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
        options_a: keyword arguments of the first model's call; NumPy arrays among them are inputs.
        options_b: the same of the second model.
        backward: whether to compare gradients, by the inputs of each layer and by the parameters,
            where values agree.
        trusted: for a port in bfloat16 or float16: the first model in that precision, as
            ``copy.deepcopy(a).bfloat16()`` in PyTorch, with `a` in float64 and of the same
            parameters. Each piece of the port may be as far from `a` as the trusted one is
            (`reduced`); gradients are not compared.
        optimizers: of each model, whose first steps are compared, given the same gradients
            (`stepping`): a `torch.optim.Optimizer`, a Keras optimizer, a `gluon.Trainer`, one of
            Optax or an `nnx.Optimizer`. Nothing is trained.

    Returns:
        A `Located`.

    Raises:
        ValueError: `mapping` has a name that is no parameter's, or `trusted` another precision.
    """
    sides = (
        Side(a, inputs, options_a),
        Side(b, inputs if inputs_b is None else inputs_b, options_b),
    )
    if trusted is not None:
        return Reduced(sides[0], Side(trusted, inputs, options_a), sides[1], mapping).result()
    return _OnRails(*sides, mapping).result(backward, optimizers)


def parameters(model: Any, *inputs: Any, options: dict[str, Any] | None = None) -> Arrays:
    """Return ``{name: array}`` of a model's parameters, as `locate` names and reads them.

    Layers that all frameworks have are described as `torch.nn` has them, whatever the framework: a
    dense kernel is (outputs, inputs), and gates stand in PyTorch's order.
    """
    return Side(model, inputs, options).parameters


class _OnRails(Comparison[Side]):
    """Both sides on the first one's rails."""

    def __init__(self, a: Side, b: Side, mapping: Mapping[str, str | tuple[str, Transform]] | None):
        super().__init__(a, b, mapping)
        rails_a = {x.number: x for x, _ in self.pairs}
        rails_b = {y.number: x for x, y in self.pairs}
        self.rails = rails_a, rails_b
        self.on_b = b.run(Rails(rails_b)).seen
        again = a.run(Rails(rails_a)).seen, b.run(Rails(rails_b)).seen
        self.unsteady = {
            "A": lambda x, y, side: again[0][x.number, side],
            "B": lambda x, y, side: again[1][y.number, side],
        }
        rng = randomness.generator(0, "locate")
        self.noises = [noise_of(rng) for _ in range(DRAWS)]
        self.noisy = [a.run(Rails(rails_a, noise)).seen for noise in self.noises]

    def result(self, backward: bool, optimizers: tuple[Any, Any] | None) -> Located:
        rows, found, lower = {}, [], None
        for x, side, before in self.places():
            row = rows[x.number, side] = self._row(x, side, before)
            if not row.agrees and not self._known_already(x, side, row):
                found.append(self._difference(x, side, row))
            elif row.agrees and lower is None:
                lower = self._precision(x, side, row)
        backwards = self._backward(rows, found) if backward else []
        updates, stepped, step_limits = [], [], []
        if optimizers is not None:
            updates, stepped, step_limits = compare_steps((self.a, self.b), optimizers, self._same)
        limits = [one for one in found + backwards if one.cause == CAUSES["limit"][0]]
        differences = [one for one in found if one not in limits and not self._by_ids(one, found)]
        if not differences and lower is not None:
            differences.append(lower)
        differences += [one for one in backwards if one not in limits]
        return self.located(rows, differences + stepped, limits + step_limits, updates)

    def _by_ids(self, one: Difference, found: Sequence[Difference]) -> bool:
        """Whether a difference is that of ids with other meanings, whose rows are explained."""
        unknown = CAUSES["unknown"][0]
        if one.at is None or one.at[1] != "in" or one.cause != unknown:
            return False
        rows = [other for other in found if other.at == (one.at[0], "out")]
        is_table = self.a.calls[one.at[0]].layer.kind == "embedding"
        return is_table and any(other.cause != unknown for other in rows)

    @property
    def _same(self) -> dict[str, tuple[str, Transform]]:
        """The parameters that are equal; the two may have others: one bias for two, say."""
        return {
            name: target
            for name, target in self.mapping.items()
            if self.parameter_errors[name, target[0]] <= allowed("float32")
        }

    def _backward(self, rows: dict[Place, Row], found: Sequence[Difference]) -> list[Difference]:
        """Compare the gradients of the pieces that agree; enters their errors into the rows.

        Those that are exact in float32 only are among them, with what float32 explains.
        """
        coarse = {one.at for one in found if one.cause == CAUSES["limit"][0]}
        left_out = [
            (x.number, side)
            for x, side, _ in self.places()
            if not (rows[x.number, side].agrees or (x.number, side) in coarse)
            or any(self._unsteady(which, x, side) for which in "AB")
        ]
        backward = Backward(
            (self.a, self.b), self.rails, self._same, self.noises, allowed, left_out
        )
        for place, row in rows.items():
            here = [one for item, one in backward.measured.items() if item[:2] == place]
            if here:
                worst = max(here, key=lambda one: one.error / one.budget)
                rows[place] = dataclasses.replace(
                    row, gradient=worst.error, gradient_budget=worst.budget
                )
        found = []
        for place, several in backward.wrong(list(rows)):
            if place in coarse:
                several = [one for one in several if one.error > IN_FLOAT32 * one.budget]
                if not several:
                    continue
            pulled = several[0]
            if rows[place].dtype == "float64" and pulled.error <= allowed("float32"):
                cause = Cause(*CAUSES["limit"], pulled.error)
            else:
                # What a parameter's gradient shows, such as a part of it that is zero, may not be
                # seen in that of the inputs, to which other parts add.
                causes = [self._cause_of_gradient(one) for one in several]
                specific = [one for one in causes if one.name not in UNSPECIFIC]
                cause = next(iter(specific), causes[0])
            one = Difference(
                rows[place].place,
                pulled.error,
                pulled.budget,
                cause.name,
                cause.explanation,
                place,
                backward=True,
            )
            # One array that is cut off has no gradient in all code that uses it.
            if all(one.explanation != other.explanation for other in found):
                found.append(one)
        return found

    def _cause_of_gradient(self, pulled: Pulled) -> Cause:
        tied = isinstance(pulled.item, str) and self._uses(pulled.item) > 1
        return explain_gradient(pulled, self._words(pulled.item), tied)

    def _uses(self, name: str) -> int:
        """Return how many layers of the first model have a parameter, under whatever name."""
        value = self.a.parameters[name]
        return sum(
            any(
                x.shape == value.shape and (x == value).all()
                for x in call.layer.parameters.values()
            )
            for call in self.a.calls
        )

    def _words(self, item: Item) -> str:
        """Say what a gradient is by."""
        if isinstance(item, str):
            return item
        number, side, _ = item
        return f"the {'inputs' if side == 'in' else 'outputs'} of {self.a.calls[number].layer}"

    def _known_already(self, x: Call, side: str, row: Row) -> bool:
        given = self.on_b[self.partner[x.number].number, side]
        wanted = x.arrays(side)
        return self.met_before(
            [
                reshaped(given[j], wanted[i].shape) - wanted[i]
                for i, j in corresponding(wanted, given)
                if wanted[i].dtype.kind == "f" and differs(wanted[i], given[j], row.budget)
            ]
        )

    def _row(self, x: Call, side: str, left: Call | None) -> Row:
        y = self.partner[x.number]
        wanted, given = x.arrays(side), self.on_b[y.number, side]
        free = y.arrays(side)
        dtype = lowest_dtype([*wanted, *given])
        size = largest_error(wanted, given)
        return Row(
            place_between(x, side, left),
            str(y.layer),
            "" if side == "in" else x.layer.kind,
            size,
            self._budget(x, side, dtype),
            largest_error(wanted, free),
            dtype,
        )

    def _budget(self, x: Call, side: str, dtype: str | None) -> float:
        if dtype is None:  # whole numbers have no rounding
            return 0.0
        wanted = x.arrays(side)
        scale = unit(dtype) / unit(lowest_dtype(wanted) or dtype)
        moved = [largest_error(wanted, seen[x.number, side]) * scale for seen in self.noisy]
        if self._unsteady("A", x, side):
            moved = []
        return allowed(dtype, moved)

    def _unsteady(self, which: str, x: Call, side: str) -> bool:
        """Whether a side's own values are not the same in a second run on the same rails."""
        y = self.partner[x.number]
        first = x.arrays(side) if which == "A" else self.on_b[y.number, side]
        return largest_error(first, self.unsteady[which](x, y, side)) > 1e-3

    def _difference(self, x: Call, side: str, row: Row) -> Difference:
        cause = None
        for which in ("A", "B"):
            if self._unsteady(which, x, side):
                title, sentence = CAUSES["dropout"]
                cause = Cause(title, f"{which}: two calls differ. {sentence}", row.error)
        cause = cause or self.explained(x, side, row)
        at = x.number, side
        return Difference(row.place, row.error, row.budget, cause.name, cause.explanation, at)

    def _precision(self, x: Call, side: str, row: Row) -> Difference | None:
        """Return the difference that B computes in a lower precision than A, if it does."""
        wanted = x.arrays(side)
        if lowest_dtype(wanted) in (None, row.dtype):
            return None
        budget = self._budget(x, side, lowest_dtype(wanted))
        given = self.on_b[self.partner[x.number].number, side]
        title, sentence = CAUSES["precision"]
        return Difference(
            row.place,
            largest_error(wanted, given),
            budget,
            title,
            f"A computes in {lowest_dtype(wanted)}, B in {row.dtype}. {sentence}",
            (x.number, side),
        )
