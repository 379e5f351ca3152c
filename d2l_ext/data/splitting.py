"""Training, validation and test parts that share no source sentence."""

import math
from collections.abc import Sequence

import numpy as np

from d2l_ext.data.text import preprocess


def split_by_source(
    pairs: Sequence[tuple[str, str]], fractions: Sequence[float], seed: int
) -> tuple[list[tuple[str, str]], ...]:
    """Split pairs into as many lists as there are fractions.

    All translations of one source sentence come into the same part; otherwise a model would be
    tested on sentences it was trained on. Two sources are the same if `preprocess` makes them so.
    In each part the pairs keep their order.

    Args:
        pairs: (source, target) strings.
        fractions: of the number of distinct sources; they sum to 1.
        seed: of the order in which the sources are dealt out.

    Raises:
        ValueError: a fraction is negative, or the sum is not 1.
    """
    if any(fraction < 0 for fraction in fractions) or not math.isclose(sum(fractions), 1):
        raise ValueError(f"fractions: got {fractions!r}, must be at least 0 and sum to 1")
    keys = [preprocess(source) for source, _ in pairs]
    sources = list(dict.fromkeys(keys))
    order = np.random.default_rng(seed).permutation(len(sources))
    ends = np.rint(np.cumsum(fractions) * len(sources)).astype(int)
    part_of_place = np.searchsorted(ends, np.arange(len(sources)), side="right")
    part_of = {sources[index]: int(part_of_place[place]) for place, index in enumerate(order)}

    parts = tuple([] for _ in fractions)
    for key, pair in zip(keys, pairs, strict=True):
        parts[part_of[key]].append(pair)
    return parts
