"""How caches grow whose room is reserved, in the columns that fill them in place."""

from collections.abc import Sequence


def room(sizes: Sequence[int], wanted: int, least: int = 0) -> int | None:
    """Return how large caches must become that have to hold ``wanted`` steps; None if all are.

    One that must grow at least doubles, so that growing is rare, and gets the size ``least`` at
    least.
    """
    if all(wanted <= size for size in sizes):
        return None
    return max(wanted, least, *(2 * size for size in sizes))


def limit(size: int, window: int | None = None, num_sinks: int = 0) -> int:
    """Return how many of ``size`` steps are kept: with a window, the sinks and what it holds."""
    return size if window is None else min(size, num_sinks + window)
