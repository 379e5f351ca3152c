"""Inputs of half precision: those of a case, or such as only sums in float32 can hold.

The largest number of float16 is 65,504, and it counts no further than 2,048 one by one.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from d2l_ext.agreement.cases.case import Case, normal
from d2l_ext.agreement.cases.drawing import ids

TABLES = ("padding_mask", "causal_mask", "permutation", "alibi")  # made in any precision


def in_half_precision(cases: Iterable[Case]) -> Iterator[Case]:
    """Let the first case of every class and function look at half precision, too.

    And the first in which dropout acts, with the inputs that it has.
    """
    seen: set[Any] = set(TABLES)
    for case in cases:
        what = (case.subject, "training") if case.training else case.subject
        large = None if case.training else LARGE.get(case.subject)
        half = None if what in seen else large or case.draw_inputs
        yield dataclasses.replace(case, half=half)
        seen.add(what)


def _near_zero(rng: Generator, *shape: int) -> np.ndarray:
    """Draw numbers whose exponentials are all about 1."""
    return normal(rng, *shape) / 1_000


def _all_routed_alike(rng: Generator) -> tuple[Any, ...]:
    probabilities = rng.dirichlet(100 * np.arange(1, 5), (2, 3_000)).astype(np.float32)
    return probabilities, np.argsort(-probabilities, axis=-1)[..., :3]


# Of the reference only the value is asked, or such sizes would take it hours.
LARGE: dict[str, Callable[[Generator], tuple[Any, ...]]] = {
    "masked_softmax": lambda rng: (_near_zero(rng, 1, 2, 66_000),),
    "masked_loss": lambda rng: (20 * normal(rng, 2, 3_000, 5), ids(rng, 5, 2, 3_000)),
    "load_balancing_loss": _all_routed_alike,
    "blockwise_attention": lambda rng: (
        *(_near_zero(rng, n, 4) for n in (3, 2_500)),
        normal(rng, 2_500, 2) + 1,
    ),
    "LayerNorm": lambda rng: (1_000 * normal(rng, 2, 3, 5),),
    "RMSNorm": lambda rng: (1_000 * normal(rng, 2, 3, 5),),
    "CosineAttention": lambda rng: tuple(100 * normal(rng, 2, n, 300) for n in (3, 5, 5)),
    "LinearAttention": lambda rng: (30 * normal(rng, 1, 300, 6),),
}
