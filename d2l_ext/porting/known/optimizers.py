"""What an optimiser's steps are made of, and in which of it two optimisers differ.

The steps of a parameter w with gradients g_1, g_2, ... are computed with options, each of them one
known difference. Learning rate and weight decay are no options: w_1 is linear in the rate, and in
its product with a decay that is taken from the weights themselves, so that both follow from the
first step. The others show whether all of it is right.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.porting.known.causes import CAUSES, Cause

Steps: TypeAlias = Sequence[np.ndarray]  # a parameter after each step
Choice: TypeAlias = dict[str, Any]

# The usual value first.
ADAM = {
    "adam_epsilon": (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-12, 1e-15),
    "root": ("outside the root", "inside the root", "outside the root, which is not corrected"),
    "correction": ("made", "missing"),
    "first_beta": (0.9, 0.0, 0.5, 0.8, 0.95, 0.99),
    "second_beta": (0.999, 0.99, 0.95, 0.98, 0.9, 0.9999),
    "coupled": (0.0, 1e-2, 1e-1, 1e-3, 1e-4, 5e-4),
}
MOMENTUM = {
    "momentum": (0.0, 0.9, 0.99, 0.95, 0.8, 0.5),
    "nesterov": ("no", "yes"),
    "dampening": ("none", "1 - momentum"),
    "coupled": (0.0, 1e-2, 1e-1, 1e-3, 1e-4, 5e-4),
}
CHANGES_A, CHANGES_B = 2, 2  # as in `explain`; rate and decay are free
FLOAT32 = 1e-6  # to which a rate is kept by a framework that keeps it in float32


def _adam(
    weights: np.ndarray,
    gradients: Steps,
    rate: float,
    decay: float,
    adam_epsilon: float,
    root: str,
    correction: str,
    first_beta: float,
    second_beta: float,
    coupled: float,
) -> Steps:
    """Adam: w <- (1 - rate decay) w - rate m' / (sqrt(v') + epsilon), m' being m / (1 - beta^t)."""
    w, m, v, found = weights, 0.0, 0.0, []
    for t, g in enumerate(gradients, start=1):
        g = g + coupled * w
        m = first_beta * m + (1 - first_beta) * g
        v = second_beta * v + (1 - second_beta) * g * g
        one, two = (
            (1 - beta**t if correction == "made" else 1.0) for beta in (first_beta, second_beta)
        )
        if root == "inside the root":
            divisor = np.sqrt(v / two + adam_epsilon)
        elif root == "outside the root":
            divisor = np.sqrt(v / two) + adam_epsilon
        else:
            divisor = (np.sqrt(v) + adam_epsilon) / math.sqrt(two)
        w = (1 - rate * decay) * w - rate * m / one / divisor
        found.append(w)
    return found


def _momentum(
    weights: np.ndarray,
    gradients: Steps,
    rate: float,
    decay: float,
    momentum: float,
    nesterov: str,
    dampening: str,
    coupled: float,
) -> Steps:
    """SGD: v <- momentum v + g, w <- (1 - rate decay) w - rate v."""
    w, v, found = weights, None, []
    for g in gradients:
        g = g + coupled * w
        new = (1 - momentum) * g if dampening != "none" else g
        v = new if v is None else momentum * v + new
        w = (1 - rate * decay) * w - rate * (g + momentum * v if nesterov == "yes" else v)
        found.append(w)
    return found


RULES = {"SGD": (_momentum, MOMENTUM), "Adam": (_adam, ADAM)}


@dataclasses.dataclass(frozen=True)
class Fit:
    """A rule with options, rate and decay that gives the steps; what is left of the error."""

    rule: str
    choice: Choice
    rate: float
    decay: float
    error: float


def explain_steps(
    weights: np.ndarray,
    gradients: Steps,
    a: Steps,
    b: Steps,
    budget: float,
    known: tuple[Fit, Fit] | None = None,
) -> tuple[Cause, tuple[Fit, Fit] | None] | None:
    """Find the known difference of two optimisers.

    Args:
        weights: a parameter before the first step.
        gradients: what it was given.
        a, b: the parameter after each step, on the two sides.
        budget: the largest error, relative to the way that it went, that counts as none.
        known: what fits the two sides at another parameter; nothing else is tried then.

    Returns:
        A `Cause` and what fits the two sides, or None.
    """
    for which, here, there in (("B", b, a), ("A", a, b)):
        if all((x == weights).all() for x in here) and any((x != weights).any() for x in there):
            title, sentence = CAUSES["not updated"]
            return Cause(title, f"{which} leaves it as it is. {sentence}", 1.0), None
    weights, gradients, a, b = _sample(weights, gradients, a, b)
    if known is not None:
        # A parameter whose numbers are all the same does not tell a rate from a decay.
        one, other = known
        return _judged(
            _kept(one, weights, gradients, a), _kept(other, weights, gradients, b), budget
        ) or _judged(
            _fit(one.rule, one.choice, weights, gradients, a),
            _fit(other.rule, other.choice, weights, gradients, b),
            budget,
        )
    for name, (_, options) in RULES.items():
        usual = {option: values[0] for option, values in options.items()}
        one = _closest(name, usual, CHANGES_A, weights, gradients, a, budget)
        if one is not None:
            other = _closest(name, one.choice, CHANGES_B, weights, gradients, b, budget)
            return None if other is None else _judged(one, other, budget)
    return None


def _judged(a: Fit, b: Fit, budget: float) -> tuple[Cause, tuple[Fit, Fit]] | None:
    if max(a.error, b.error) > budget or (cause := _cause(a, b, budget)) is None:
        return None
    return cause, (a, b)


def _closest(
    name: str,
    start: Choice,
    changes: int,
    weights: np.ndarray,
    gradients: Steps,
    wanted: Steps,
    budget: float,
) -> Fit | None:
    """Return what fits with the fewest changes, the best of them."""
    for count in range(changes + 1):
        fits = [
            fit
            for choice in _choices(RULES[name][1], start, count)
            if (fit := _fit(name, choice, weights, gradients, wanted)).error <= budget
        ]
        if fits:
            return min(fits, key=lambda fit: fit.error)
    return None


def _choices(
    options: Mapping[str, tuple[Any, ...]], start: Choice, changes: int
) -> Iterator[Choice]:
    """Yield the choices that differ from a given one in so many options."""
    for names in itertools.combinations(options, changes):
        others = ([v for v in options[name] if v != start[name]] for name in names)
        for values in itertools.product(*others):
            yield start | dict(zip(names, values, strict=True))


def _fit(name: str, choice: Choice, weights: np.ndarray, gradients: Steps, wanted: Steps) -> Fit:
    """Find rate and decay by the first step, and see whether the others follow."""
    compute, _ = RULES[name]
    direction = weights - compute(weights, gradients[:1], 1.0, 0.0, **choice)[0]
    way = weights - wanted[0]
    columns = np.stack([direction.ravel(), weights.ravel()], axis=1)
    if choice["coupled"]:
        columns = columns[:, :1]  # nobody does both
    found, *_ = np.linalg.lstsq(columns, way.ravel(), rcond=None)
    rate = float(found[0])
    decay = float(found[1] / rate) if len(found) > 1 and rate else 0.0
    return _kept(Fit(name, choice, rate, decay, math.inf), weights, gradients, wanted)


def _kept(fit: Fit, weights: np.ndarray, gradients: Steps, wanted: Steps) -> Fit:
    """Return a fit with its error at a parameter, everything else being as it is."""
    compute, _ = RULES[fit.rule]
    given = compute(weights, gradients, fit.rate, fit.decay, **fit.choice)
    return dataclasses.replace(fit, error=way_error(weights, given, wanted))


def way_error(weights: np.ndarray, given: Steps, wanted: Steps) -> float:
    """Return the largest error after a step, relative to the longest way that was to be gone."""
    longest = max(float(np.abs(x - weights).max(initial=0)) for x in wanted)
    off = max(float(np.abs(x - y).max(initial=0)) for x, y in zip(given, wanted, strict=True))
    return off / longest if longest else (math.inf if off else 0.0)


def _sample(
    weights: np.ndarray, gradients: Steps, a: Steps, b: Steps
) -> tuple[np.ndarray, Steps, Steps, Steps]:
    """Take some numbers of each array, those where the two differ most among them."""
    off = sum(np.abs(x - y) for x, y in zip(a, b, strict=True))
    at = np.argsort(np.ravel(off))
    at = np.concatenate([at[-100:], at[:: max(1, len(at) // 100)]])

    def taken(x):
        return np.ravel(x)[at].astype(np.float64)

    return taken(weights), list(map(taken, gradients)), list(map(taken, a)), list(map(taken, b))


def _cause(a: Fit, b: Fit, budget: float) -> Cause | None:
    details = {
        name: f"A {a.choice[name]}, B {b.choice[name]}"
        for name in a.choice
        if a.choice[name] != b.choice[name]
    }
    reach = max(10 * budget, FLOAT32)  # to which a rate and a decay are known
    if not math.isclose(a.rate, b.rate, rel_tol=reach):
        details["rate"] = f"A {a.rate:.4g}, B {b.rate:.4g}"
    if "coupled" in details or not math.isclose(a.decay, b.decay, abs_tol=reach):
        details["coupled"] = f"A {_decay(a)}, B {_decay(b)}"
    if not details:
        return None
    names = list(dict.fromkeys(CAUSES[name][0] for name in details))
    sentences = list(dict.fromkeys(CAUSES[name][1] for name in details))
    said = "; ".join(f"{CAUSES[name][0]}: {text}" for name, text in details.items())
    return Cause(" and ".join(names), f"{said}. {' '.join(sentences)}", b.error)


def _decay(fit: Fit) -> str:
    if fit.choice["coupled"]:
        return f"{fit.choice['coupled']:g} in the gradient"
    decay = float(f"{fit.decay:.3g}")
    return f"{decay:g} of the weights" if abs(decay) > 1e-6 else "none"
