"""A formula with options, each of them one known difference."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula with options.

    Attributes:
        compute: ``compute(piece, **given, **choice)`` returns an array, or None where it can't be.
        givens: ``givens(piece)`` yields what both sides have in common, dictionaries.
        options: ``{name: values}``, the usual value first.
    """

    compute: Callable[..., np.ndarray | None]
    givens: Callable[..., Iterator[dict[str, Any]]]
    options: dict[str, tuple[Any, ...]]

    def choices(self, start: dict[str, Any], changes: int) -> Iterator[dict[str, Any]]:
        """Yield the choices that differ from a given one in so many options."""
        for names in itertools.combinations(self.options, changes):
            others = ([v for v in self.options[name] if v != start[name]] for name in names)
            for values in itertools.product(*others):
                yield start | dict(zip(names, values, strict=True))


def formula(
    givens: Callable[..., Iterator[dict[str, Any]]], **options: tuple[Any, ...]
) -> Callable[[Callable[..., np.ndarray | None]], Formula]:
    """Make a `Formula` of a function."""
    return lambda compute: Formula(compute, givens, options)
