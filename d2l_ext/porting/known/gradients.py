"""The known ways in which a gradient is wrong although the values are right."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from d2l_ext.porting.known.causes import CAUSES, Cause

# Causes that say no more than that a gradient is wrong.
UNSPECIFIC = tuple(CAUSES[name][0] for name in ("unknown", "custom gradient"))


@dataclasses.dataclass(frozen=True)
class Pulled:
    """A gradient that two sides compute differently.

    Attributes:
        item: what it is by: (number of a call, side, which array), or the name of a parameter.
        a, b: the two.
        cotangents: what it was computed from: the gradients by what the piece gave.
        honest: of each side, whether the gradient is that of the values it computes.
        error, budget: as of a `Row`.
    """

    item: tuple[int, str, int] | str
    a: np.ndarray
    b: np.ndarray
    cotangents: list[np.ndarray]
    honest: list[bool]
    error: float
    budget: float


def explain_gradient(pulled: Pulled, by: str, used_elsewhere: bool) -> Cause:
    """Find the known cause that fits.

    Args:
        pulled: a `Pulled`.
        by: what the gradient is by, in words.
        used_elsewhere: whether it is by a parameter that other pieces use rightly.

    Returns:
        A `Cause`, "unknown" at worst.
    """
    for key, side in _fitting(pulled, used_elsewhere):
        title, sentence = CAUSES[key]
        return Cause(title, f"{side}, by {by}. {sentence}", pulled.error)
    return Cause("unknown", f"None of the known causes fits the gradient by {by}.", pulled.error)


def _fitting(pulled: Pulled, used_elsewhere: bool) -> Iterator[tuple[str, str]]:
    """Yield the keys of the causes that fit, and the side that does it."""
    a, b = pulled.a, pulled.b
    for which, x, y, honest in (("B", b, a, pulled.honest[1]), ("A", a, b, pulled.honest[0])):
        if not np.isfinite(x).all() and np.isfinite(y).all():
            yield "not finite", which
        if not x.any() and y.any() and (not honest or isinstance(pulled.item, str)):
            yield ("tied" if used_elsewhere else "stopped"), which
        if (not honest or isinstance(pulled.item, str)) and _partly_stopped(x, y):
            yield "stopped", f"{which}, in a part of the numbers"
        if not honest and any(_same(x, c) for c in pulled.cotangents):
            yield "straight through", which
        if not honest and _masks(x, y, pulled.cotangents):
            yield "dropout mask", which
        if (factor := _factor(x, y)) is not None and factor:
            yield "gradient scale", f"{which}: {factor:.3g} times the other's"
        if not honest:
            yield "custom gradient", which


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape == y.shape and np.allclose(x, y, rtol=1e-5, atol=0)


def _partly_stopped(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a gradient is zero where another isn't, and the same elsewhere.

    The keys in an array that has queries, keys and values side by side, for instance.
    """
    stopped = (x == 0) & (y != 0)
    near = 1e-4 * np.abs(y).max(initial=0)
    return bool(stopped.any() and np.allclose(x[~stopped], y[~stopped], rtol=1e-4, atol=near))


def _factor(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return the number that x is y times, or None."""
    square = float((y * y).sum())
    factor = float((x * y).sum()) / square if square else 0.0
    return factor if np.allclose(x, factor * y, rtol=1e-4, atol=1e-4 * np.abs(x).max()) else None


def _masks(x: np.ndarray, y: np.ndarray, cotangents: list[np.ndarray]) -> bool:
    """Whether each is a cotangent with numbers left out and the rest times one factor."""

    def kept(gradient, c):
        if gradient.shape != c.shape or gradient.all() or not gradient.any():
            return None
        alive = gradient != 0
        return alive if _factor(gradient[alive], c[alive]) is not None else None

    return any(
        kept(x, c) is not None and kept(y, c) is not None and (kept(x, c) != kept(y, c)).any()
        for c in cotangents
    )
