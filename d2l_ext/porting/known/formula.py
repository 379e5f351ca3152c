"""A formula with options, each of them one known difference."""

import dataclasses
import itertools
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula with options.

    Attributes:
        compute: ``compute(piece, **given, **choice)`` returns an array, or None where it can't be.
        givens: ``givens(piece)`` yields what both sides have in common, dictionaries.
        options: ``{name: values}``, the usual value first.
    """

    compute: Callable
    givens: Callable
    options: dict

    def choices(self, start, changes):
        """Yield the choices that differ from a given one in so many options."""
        for names in itertools.combinations(self.options, changes):
            others = ([v for v in self.options[name] if v != start[name]] for name in names)
            for values in itertools.product(*others):
                yield start | dict(zip(names, values, strict=True))


def formula(givens, **options):
    """Make a `Formula` of a function."""
    return lambda compute: Formula(compute, givens, options)
