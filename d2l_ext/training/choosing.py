"""How the next token is chosen: the most likely one, or one that is drawn.

It happens in NumPy, from the log-probabilities that a framework has computed, and with NumPy's
random numbers: so all frameworks choose the same.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from d2l_ext import checks, randomness


@dataclasses.dataclass(frozen=True)
class Choice:
    """A way to choose tokens.

    Attributes:
        k: of how many of the most likely tokens it chooses; None for all.
        choose: takes the step and these tokens' log-probabilities, in descending order, and ids,
            (rows, k); returns the places of the chosen ones (rows,), and margins (rows,): how much
            was missing for another choice.
    """

    k: int | None
    choose: Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _first(
    step: int, log_probs: Float[np.ndarray, "rows k"], ids: Int[np.ndarray, "rows k"]
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Choose the first; the margin is how much more likely it is than the second."""
    second = log_probs[:, 1] if log_probs.shape[1] > 1 else -np.inf
    return np.zeros(len(ids), int), log_probs[:, 0] - second


MOST_LIKELY = Choice(2, _first)


def drawn(
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    rows: Sequence[int] = (0,),
) -> Choice:
    """Choose by chance, with probabilities softmax(logits / temperature).

    One uniform random number is drawn for each (seed, row, step), whatever the framework and
    whatever the other rows.

    Args:
        temperature: below 1 sharpens the distribution, above 1 flattens it.
        top_k: draw from the k most likely tokens only; None for all.
        top_p: draw from the fewest most likely tokens that have this probability together, of those
            that ``top_k`` leaves (Holtzman et al., 2020); None for all.
        seed: an integer.
        rows: the rows' numbers.
    """
    checks.positive("temperature", temperature)
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: got {top_k}, must be at least 1 or None")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: got {top_p}, must be above 0 and at most 1, or None")

    def choose(step, log_probs, ids):
        uniform = [randomness.generator(seed, "sample", row, step).random() for row in rows]
        p = probabilities(log_probs / temperature)
        if top_p is None:
            return draw(p, ids, np.array(uniform))
        kept, by = nucleus(p, top_p)
        place, margins = draw(p * kept, ids, np.array(uniform))
        return place, np.minimum(margins, by)

    return Choice(top_k, choose)


def probabilities(scores: Float[np.ndarray, "*rows k"]) -> Float[np.ndarray, "*rows k"]:
    """Return the softmax over the last axis, in float64."""
    p = np.exp(scores - scores.max(axis=-1, keepdims=True), dtype=np.float64)
    return p / p.sum(axis=-1, keepdims=True)


def nucleus(
    p: Float[np.ndarray, "rows k"], top_p: float
) -> tuple[Bool[np.ndarray, "rows k"], Float[np.ndarray, " rows"]]:
    """Say which of descending probabilities are kept: the fewest that reach ``top_p`` together.

    Returns:
        Whether each is kept, and by how much of probability (rows,) another number of them is
        missed.
    """
    before = np.cumsum(p, axis=1) - p
    kept = before < top_p
    return kept, np.abs(before[:, 1:] - top_p).min(axis=1, initial=1)


def draw(
    p: Float[np.ndarray, "rows k"],
    ids: Int[np.ndarray, "rows k"],
    uniform: Float[np.ndarray, " rows"],
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Return the place (rows,) of the tokens drawn, and by how much each was drawn.

    Probabilities, which need not sum to 1, are added up by id, not by size: so two that are nearly
    equal do not change places with the rounding.
    """
    by_id = np.argsort(ids, axis=1)
    cumulative = np.take_along_axis(p, by_id, axis=1).cumsum(axis=1)
    cumulative /= cumulative[:, -1:]
    drawn = (uniform[:, None] >= cumulative[:, :-1]).sum(axis=1)
    margins = np.abs(cumulative[:, :-1] - uniform[:, None]).min(axis=1, initial=1)
    return by_id[np.arange(len(ids)), drawn], margins
